"""The same numbers as torchmetrics gives, where it works without torchvision."""

from __future__ import annotations

import pytest
import torch

from vitascope.evaluate.metrics.frechet import distance_of_rows
from vitascope.evaluate.metrics.kernel import KVD, kernel_distances
from vitascope.evaluate.metrics.paired import psnr, ssim
from vitascope.types import generator_for

torchmetrics = pytest.importorskip("torchmetrics")


class Rows(torch.nn.Module):
    """Features that are the pictures themselves."""

    num_features = 12

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.flatten(1)


def pictures(num: int, *purpose: str) -> torch.Tensor:
    return torch.rand(num, 3, 2, 2, generator=generator_for(0, *purpose))


def frames(*purpose: str) -> torch.Tensor:
    return torch.rand(3, 3, 20, 24, generator=generator_for(0, *purpose)).double()


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
@pytest.mark.parametrize("metric", ["frechet", "kernel"])
def test_distances_of_sets(metric: str):
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    real, made = pictures(60, "real"), pictures(50, "made") ** 1.2
    if metric == "frechet":
        other = FrechetInceptionDistance(feature=Rows(), normalize=False, input_img_size=(3, 2, 2)).set_dtype(
            torch.float64
        )
        ours = distance_of_rows(real.flatten(1), made.flatten(1), 1)
    else:
        other = KernelInceptionDistance(feature=Rows(), subsets=1, subset_size=50)
        real = real[:50]
        ones = torch.ones(1, len(real)), torch.ones(1, len(made))
        ours = kernel_distances(real.flatten(1), made.flatten(1), KVD, *ones).item()
    other.update(real, real=True)
    other.update(made, real=False)
    theirs = other.compute()
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    assert ours == pytest.approx(theirs.item(), rel=1e-4, abs=1e-6)


def test_psnr_and_ssim():
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    one = frames("one")
    other = (one + 0.1 * frames("other")).clamp(0, 1)
    theirs = peak_signal_noise_ratio(one, other, data_range=1.0, reduction="none", dim=(1, 2, 3))
    assert torch.allclose(psnr(one, other), theirs)
    # Theirs counts a mirrored border: without it the window fits everywhere, as in the paper.
    _, each = structural_similarity_index_measure(one, other, data_range=1.0, reduction="none", return_full_image=True)
    assert torch.allclose(ssim(one, other), each[..., 5:-5, 5:-5].mean((1, 2, 3)), atol=1e-9)


def test_the_known_answers_of_black_and_white():
    black, white = torch.zeros(1, 3, 16, 16).double(), torch.ones(1, 3, 16, 16).double()
    assert ssim(black, white).item() == pytest.approx(9.9990e-5, rel=1e-4)
    assert psnr(black, white).item() == 0
    assert psnr(black, black).item() == 100
