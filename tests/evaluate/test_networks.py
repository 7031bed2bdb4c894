"""What networks are given, and that the shapes of their files are known; tiny parts stand for the field's weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from PIL import Image
from torch import nn

from beside import SHARED, needs
from vitascope.evaluate.catalogue import FID_CLEAN, FID_LEGACY, METRICS, Networks, metrics_named
from vitascope.evaluate.metrics.metric import SetMetric
from vitascope.evaluate.networks.features import (
    SOURCES,
    ClipReader,
    FrameReader,
    RandomNetwork,
    checked,
    load_state,
    load_weights,
)
from vitascope.evaluate.networks.i3d import I3d
from vitascope.evaluate.networks.inception_v3 import InceptionV3
from vitascope.evaluate.networks.lpips import Lpips
from vitascope.evaluate.prepare import at_resolution, prepared, resized, tf1_bilinear
from vitascope.evaluate.protocol import PROTOCOLS, Prepare, protocol_named
from vitascope.types import UserError, generator_for

LINEAR = SHARED / "weights" / "lpips_linear" / "v0.1" / "alex.pth"


def bytes_of(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=generator_for(0, "bytes", *shape), dtype=torch.uint8)


class Logits(nn.Module):
    """Answers like the TorchScript I3D: `rescale` takes bytes, `resize` any size."""

    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        if rescale:
            x = 2 * x / 255 - 1
        if resize:
            x = nn.functional.interpolate(x, [x.shape[2], 224, 224], mode="trilinear", align_corners=False)
        return x.mean([2, 3, 4]) if return_features else x[:, :, 0, 0, 0]


def scripted(network: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(network), str(path))
    return path


@pytest.fixture
def i3d(tmp_path: Path) -> Path:
    return scripted(Logits(), tmp_path / "own_i3d.pt")


pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def test_a_squash_and_a_cut_show_the_same_middle_of_a_square_and_differ_elsewhere():
    square, wide = bytes_of(2, 3, 40, 40), bytes_of(2, 3, 40, 80)
    for frames, alike in ((square, True), (wide, False)):
        squashed, cut = (resized(frames.float(), Prepare(resize=how, size=20)) for how in ("squash", "cut"))
        assert squashed.shape == cut.shape == (2, 3, 20, 20)
        assert torch.allclose(squashed, cut) == alike


def test_the_ends_of_the_range_are_met_exactly():
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    out = prepared(ends, Prepare(size=8, range=(-1.0, 1.0)))
    assert out[0].unique().tolist() == [-1.0] and out[1].unique().tolist() == [1.0]


def test_the_bilinear_filter_of_tensorflow_1_has_no_half_pixel_centres():
    row = torch.tensor([[0.0, 10.0, 20.0, 30.0]])
    assert tf1_bilinear(row, -1, 8).tolist() == [[0, 5, 10, 15, 20, 25, 30, 30]]
    assert tf1_bilinear(row, -1, 2).tolist() == [[0, 20]]


def test_the_clean_filter_is_that_of_pillow():
    frame = bytes_of(1, 3, 50, 70)
    ours = resized(frame.float(), Prepare(size=29, filter="pillow"))
    truth = np.asarray(
        Image.fromarray(frame[0, 1].numpy().astype(np.float32)).resize((29, 29), Image.Resampling.BICUBIC)
    )
    assert np.array_equal(ours[0, 1].numpy(), truth)
    legacy = resized(frame.float(), Prepare(size=29))
    assert (ours - legacy).abs().mean() > 5  # without antialias, noise stays noise


def test_a_data_set_of_squares_is_bytes():
    small = at_resolution(bytes_of(2, 3, 30, 50), 16)
    assert small.shape == (2, 3, 16, 16) and small.dtype == torch.uint8


def test_features_do_not_depend_on_company():
    clips = [bytes_of(4, 3, 20, 24), bytes_of(4, 3, 32, 16), bytes_of(4, 3, 20, 25)]
    readers = [ClipReader(RandomNetwork(0), {}, Prepare(size=16), batch=batch) for batch in (1, 2, 3)]
    alone = torch.cat([readers[0]([clip]) for clip in clips])
    for reader in readers:
        assert torch.allclose(reader(clips), alone, rtol=1e-4, atol=1e-5)
    unresized = ClipReader(RandomNetwork(0), {}, Prepare(resize="none"), batch=3)
    assert unresized(clips).shape == alone.shape  # of three sizes


def test_the_random_network_is_its_seed_and_sees_motion():
    clip = bytes_of(8, 3, 32, 32)
    still = clip[:1].expand(8, 3, 32, 32)
    ready = [prepared(one, Prepare(size=32))[None] for one in (clip, still)]
    same, other = RandomNetwork(0), RandomNetwork(1)
    assert torch.equal(same(ready[0]), RandomNetwork(0)(ready[0]))
    assert not torch.allclose(same(ready[0]), other(ready[0]))
    assert not torch.allclose(same(ready[0]), same(ready[1]), atol=1e-2)


def test_one_frame_is_drawn_by_content():
    clips = [bytes_of(6, 3, 9, 9), bytes_of(6, 3, 10, 10)]
    network = lambda frames: frames.mean((2, 3))  # noqa: E731
    one = FrameReader(network, {}, Prepare(size=8), one=True)
    every = FrameReader(network, {}, Prepare(size=8))
    assert one(clips).shape == (2, 3) and every(clips).shape == (12, 3)
    assert torch.equal(one(clips), torch.cat([one(clips[:1]), one(clips[1:])]))
    assert one.identity != every.identity


@pytest.mark.parametrize("protocol", ["styleganv", "videogpt", "tats", "tfhub"])
def test_every_protocol_hands_the_torchscript_file_what_it_expects(i3d: Path, protocol: str):
    reader = Networks({"i3d": i3d}, PROTOCOLS[protocol]).i3d
    clip = bytes_of(16, 3, 30, 60)
    (row,) = reader([clip])
    seen = clip[..., 15:45] if protocol == "videogpt" else clip
    assert torch.allclose(row, (2 * seen.float() / 255 - 1).mean((0, 2, 3)), atol=0.02)
    assert reader.identity["file"] == "own_i3d.pt" and len(reader.identity["sha256"]) == 64


def test_i3d_has_the_parameters_of_the_paper_s_network_and_reads_clips():
    network = I3d().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_697_264
    names = set(network.state_dict())
    assert {"Conv3d_1a_7x7.conv3d.weight", "Mixed_4e.b2b.bn.running_var", "logits.conv3d.bias"} <= names
    with torch.inference_mode():
        assert network(torch.zeros(1, 9, 3, 224, 224)).shape == (1, 400)


def test_inception_has_the_parameters_of_its_file_and_reads_pictures(tmp_path: Path):
    network = InceptionV3().eval()
    count = sum(parameter.numel() for name, parameter in network.named_parameters() if not name.startswith("fc"))
    assert count == 21_785_568
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    loaded = load_weights(tmp_path / "inception.pth", InceptionV3)
    picture = torch.rand(1, 3, 80, 80, generator=generator_for(0))
    with torch.inference_mode():
        assert loaded(picture).shape == (1, 2048)
        assert torch.equal(loaded(picture), network(picture))
    protocol = protocol_named("styleganv")  # whose FVD divides by n
    for metric in metrics_named(["fid", "fid-legacy"], Networks({"inception": tmp_path / "inception.pth"}, protocol)):
        assert isinstance(metric, SetMetric) and metric.distance.record()["divisor"] == "n-1"


def alexnet() -> dict[str, torch.Tensor]:
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    rng, state = generator_for(0, "alexnet"), {}
    for number, (out, channels, side) in shapes.items():
        spread = (channels * side * side) ** -0.5
        state[f"features.{number}.weight"] = torch.randn(out, channels, side, side, generator=rng) * spread
        state[f"features.{number}.bias"] = torch.zeros(out)
    return {**state, "classifier.1.weight": torch.zeros(1)}


@needs(LINEAR)
def test_lpips_is_zero_only_for_equal_frames_and_grows_with_the_damage():
    network = Lpips(alexnet(), load_state(LINEAR))
    frames = torch.rand(2, 3, 64, 64, generator=generator_for(1))
    noise = torch.randn(frames.shape, generator=generator_for(2))
    assert network(frames, frames).tolist() == [0, 0]
    little, much = (network(frames, frames + strength * noise) for strength in (0.05, 0.3))
    assert (little > 0).all() and (little < much).all()
    assert torch.allclose(network(frames, frames + noise), network(frames + noise, frames), rtol=1e-4)


def test_a_missing_file_gives_its_row_and_how_to_fetch_it():
    for name, part in (("fvd", "i3d_torchscript.pt"), ("fid", "pt_inception"), ("clipsim", "hf download openai/clip")):
        with pytest.raises(UserError, match="fetch it with") as error:
            metrics_named([name], Networks({}, PROTOCOLS["vitascope"]))
        assert part in str(error.value)
    for row in SOURCES.values():
        assert row.file and row.source and row.licence and row.fetch


def test_weights_that_are_not_the_stated_ones_are_refused(i3d: Path):
    beside = i3d.with_name(i3d.name + ".sha256")
    beside.write_text("0123abcd  own_i3d.pt\n")
    with pytest.raises(UserError, match="must begin with 0123abcd"):
        metrics_named(["fvd"], Networks({"i3d": i3d}, PROTOCOLS["styleganv"]))


@needs(LINEAR)
def test_a_file_whose_digest_is_known_is_checked_by_it(tmp_path: Path):
    assert checked("lpips", LINEAR)["sha256"] == SOURCES["lpips"].sha256["alex.pth"]
    (tmp_path / "alex.pth").write_bytes(LINEAR.read_bytes()[:-1])
    with pytest.raises(UserError, match="is not the file it should be"):
        checked("lpips", tmp_path / "alex.pth")
    for name, released in (
        ("i3d", "i3d_torchscript.pt"), ("inception", "pt_inception-2015-12-05-6726825d.pth"),
        ("alexnet", "alexnet-owt-7be5be79.pth"),
    ):  # fmt: skip
        shutil.copy(LINEAR, tmp_path / released)
        with pytest.raises(UserError, match="is not the file it should be"):
            checked(name, tmp_path / released)


def test_files_that_are_no_network_say_so(tmp_path: Path):
    (tmp_path / "text.pt").write_text("no weights")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    torch.save(I3d().state_dict(), tmp_path / "state.pt")
    for file, protocol, part in (
        ("text.pt", "tats", "holds no weights"),
        ("other.pt", "tats", "cannot be loaded"),
        ("state.pt", "styleganv", "is a state dict"),
    ):
        with pytest.raises(UserError, match=part):
            metrics_named(["fvd"], Networks({"i3d": tmp_path / file}, PROTOCOLS[protocol]))
    with pytest.raises(UserError, match="did you mean 'i3d'"):
        Networks({"i3": tmp_path}, PROTOCOLS["tats"])
    with pytest.raises(UserError, match="did you mean 'fvd'"):
        metrics_named(["fvdd"], Networks({}, PROTOCOLS["tats"]))


def test_inception_as_torchscript_would_be_fed_wrongly_and_is_refused(tmp_path: Path):
    path = scripted(nn.Flatten(), tmp_path / "inception.pt")
    with pytest.raises(UserError, match="TorchScript"):
        metrics_named(["fid"], Networks({"inception": path}, PROTOCOLS["vitascope"]))


def test_black_and_white_reach_inception_as_in_clean_fid_and_in_pytorch_fid():
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 299, 299)
    for how, white in ((FID_CLEAN, 127 / 128), (FID_LEGACY, 1.0)):
        out = prepared(ends, how)
        assert out[0].unique().tolist() == [-1.0] and out[1].unique().tolist() == [pytest.approx(white, abs=1e-6)]


@needs(LINEAR)
def test_an_alexnet_that_is_none_is_told(tmp_path: Path):
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "alexnet.pth")
    paths = {"alexnet": tmp_path / "alexnet.pth", "lpips": LINEAR}
    with pytest.raises(UserError, match="torchvision's AlexNet"):
        metrics_named(["lpips"], Networks(paths, PROTOCOLS["vitascope"]))


def test_no_untrained_network_is_called_fvd():
    assert METRICS["frechet-random"] is not METRICS["fvd"]
    (metric,) = metrics_named(["frechet-random"], Networks({}, PROTOCOLS["vitascope"]))
    assert "random" in metric.name and "untrained" in metric.reader.identity["network"]
    with pytest.raises(TypeCheckError):
        ClipReader(RandomNetwork(0), {}, Prepare())([torch.zeros(4, 3, 8, 8)])  # not bytes
