"""Laws of the per-frame autoencoder."""

from __future__ import annotations

import pytest
import torch

from vitascope.objectives.reconstruction import ReconstructionConfig
from vitascope.protocols import Tokenizer
from vitascope.tokenizers.frame_vae import FrameVae, FrameVaeConfig
from vitascope.types import generator_for


def small(channels: int = 8) -> FrameVae:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = FrameVaeConfig(channels=channels, widths=(16, 32)).build()
    with torch.no_grad():
        for name, parameter in vae.named_parameters():  # residual blocks begin as nothing: here they should not
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator_for(0, name))
    return vae


def pixels(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator_for(0, "pixels", *shape))


@pytest.mark.parametrize("channels", [4, 8])
@pytest.mark.parametrize("t, h, w", [(1, 8, 8), (3, 16, 32), (5, 64, 64)])
def test_latents_are_the_stride_smaller_and_pixels_come_back_as_they_were(channels, t, h, w):
    vae = small(channels)
    assert isinstance(vae, Tokenizer)
    in_time, down, across = vae.stride
    assert (in_time, down, across) == (1, 8, 8)
    latents = vae.encode(pixels(2, t, 3, h, w))
    assert latents.shape == (2, t // in_time, channels, h // down, w // across)
    back = vae.decode(latents)
    assert back.shape == (2, t, 3, h, w)
    assert 0 <= back.min() <= back.max() <= 1


def test_encoding_twice_gives_the_same_latents():
    vae, clip = small(), pixels(1, 2, 3, 16, 16)
    assert torch.equal(vae.encode(clip), vae.encode(clip))


def test_frames_and_clips_do_not_see_each_other():
    vae, clips = small(), pixels(2, 4, 3, 16, 16)
    latents = vae.encode(clips)
    torch.testing.assert_close(vae.encode(clips[1:, 2:3]), latents[1:, 2:3])
    torch.testing.assert_close(vae.decode(latents[1:, 2:3]), vae.decode(latents)[1:, 2:3])


@pytest.mark.parametrize("h, w", [(12, 16), (16, 20)])
def test_sizes_that_the_stride_does_not_divide_are_refused(h, w):
    with pytest.raises(ValueError, match=rf"8 divides, got \({h}, {w}\)"):
        small().encode(pixels(1, 1, 3, h, w))


def test_measured_latents_have_mean_zero_and_variance_one_per_channel():
    vae, pictures = small(), pixels(12, 3, 16, 16)
    vae.standardise([pictures[:5], pictures[5:]])
    by_channel = vae.encode(pictures[None]).transpose(1, 2).flatten(2)
    torch.testing.assert_close(by_channel.mean(-1), torch.zeros(1, 8), atol=1e-4, rtol=0)
    torch.testing.assert_close(by_channel.var(-1, correction=0), torch.ones(1, 8), atol=1e-3, rtol=0)


def test_what_was_measured_does_not_depend_on_the_batches():
    one, other, pictures = small(), small(), pixels(12, 3, 16, 16)
    one.standardise([pictures])
    other.standardise(pictures.split(5))
    torch.testing.assert_close(one.mean, other.mean)
    torch.testing.assert_close(one.std, other.std)


def test_measuring_changes_latents_and_not_what_they_decode_to():
    vae, clip = small(), pixels(1, 2, 3, 16, 16)
    before = vae.decode(vae.encode(clip))
    vae.standardise([3 * pixels(4, 3, 16, 16) - 1])
    torch.testing.assert_close(vae.decode(vae.encode(clip)), before, atol=1e-4, rtol=1e-3)


def test_what_was_measured_is_kept_with_the_weights():
    vae, other = small(), small()
    vae.standardise([pixels(4, 3, 16, 16)])
    other.load_state_dict(vae.state_dict())
    clip = pixels(1, 1, 3, 16, 16)
    assert torch.equal(other.encode(clip), vae.encode(clip))
    assert torch.equal(other.mean, vae.mean)


def test_a_few_steps_of_training_lower_the_loss():
    vae, reconstruction = small(), ReconstructionConfig().build()
    optimizer = torch.optim.Adam(vae.parameters(), 3e-3)
    colours = torch.rand(8, 3, 1, 1, generator=generator_for(0, "colours")).expand(8, 3, 16, 16)
    losses = []
    for step in range(30):
        loss = reconstruction.loss(vae, colours, generator_for(0, "step", step)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
