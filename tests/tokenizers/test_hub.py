"""Laws of a public autoencoder: it computes what diffusers does, and its latents are never taken for another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tiny import tiny_model, tiny_run
from vitascope.card import load_model
from vitascope.data.cache import cache_key
from vitascope.protocols import Tokenizer
from vitascope.sample.loading import load
from vitascope.tokenizers.hub import HubVae, HubVaeConfig
from vitascope.train.loop import fit
from vitascope.train.stages import VideoStage
from vitascope.types import UserError, generator_for

diffusers = pytest.importorskip("diffusers")


def saved(folder: Path, seed: int = 0, **changes: Any) -> HubVaeConfig:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        settings = {"block_out_channels": (8, 8, 8), "norm_num_groups": 4, "latent_channels": 4, **changes}
        kinds = {
            "down_block_types": ("DownEncoderBlock2D",) * len(settings["block_out_channels"]),
            "up_block_types": ("UpDecoderBlock2D",) * len(settings["block_out_channels"]),
        }
        diffusers.AutoencoderKL(**settings, **kinds).save_pretrained(folder)
    return HubVaeConfig(source=str(folder), frames_at_once=2)


def pixels() -> torch.Tensor:
    return torch.rand(2, 3, 3, 16, 24, generator=generator_for(0, "pixels"))


@pytest.mark.parametrize("changes", [{}, {"shift_factor": 0.3, "scaling_factor": 1.5}])
def test_it_computes_what_diffusers_does_at_the_stated_scale(tmp_path: Path, changes: dict[str, float]) -> None:
    vae = saved(tmp_path, **changes).build()
    assert isinstance(vae, Tokenizer)
    assert (vae.channels, vae.stride) == (4, (1, 4, 4))
    theirs = diffusers.AutoencoderKL.from_pretrained(tmp_path)
    with torch.no_grad():
        raw = theirs.encode(2 * pixels().flatten(0, 1) - 1).latent_dist.mode()
        made = (theirs.decode(raw).sample / 2 + 0.5).clamp(0, 1)
    scale, shift = changes.get("scaling_factor", 0.18215), changes.get("shift_factor", 0.0)
    latents = vae.encode(pixels())
    torch.testing.assert_close(latents, ((raw - shift) * scale).view_as(latents), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vae.decode(latents), made.view(2, 3, 3, 16, 24), rtol=1e-4, atol=1e-4)


def test_its_weights_stay_in_their_own_files_and_their_fingerprint_with_the_model(tmp_path: Path) -> None:
    vae = saved(tmp_path / "one").build()
    assert list(vae.state_dict()) == ["fingerprint"]
    assert not list(vae.parameters())
    again, other = HubVaeConfig(source=str(tmp_path / "one")).build(), saved(tmp_path / "other", seed=1).build()
    again.load_state_dict(vae.state_dict())
    with pytest.raises(UserError, match="trained with another autoencoder"):
        other.load_state_dict(vae.state_dict())
    louder = saved(tmp_path / "louder", scaling_factor=0.5).build()  # the same weights: other latents all the same
    with pytest.raises(UserError, match="trained with another autoencoder"):
        louder.load_state_dict(vae.state_dict())


def test_caches_of_two_autoencoders_are_never_the_same(tmp_path: Path) -> None:
    source = tiny_run().data.build()  # type: ignore[attr-defined]
    one, again, other = (saved(tmp_path / str(n), seed=n % 2).build() for n in (0, 2, 1))
    moved = saved(tmp_path / "moved", shift_factor=0.1).build()
    assert cache_key(source, one) == cache_key(source, again) != cache_key(source, other)
    assert cache_key(source, one) != cache_key(source, moved)


def test_a_model_learns_from_its_latents_is_saved_and_samples(tmp_path: Path) -> None:
    config = tiny_model().model_copy(update={"tokenizer": saved(tmp_path / "vae", block_out_channels=(8, 8, 8, 8))})
    stage = VideoStage(name="videos", steps=2, batch=2, num_clips=8)
    fit(tiny_run(stage, preview_steps=100).model_copy(update={"model": config}), tmp_path / "run")
    assert isinstance(load_model(tmp_path / "run" / "model").tokenizer, HubVae)
    clip = load(tmp_path / "run" / "model").generate("stripes", steps=1)
    assert clip.pixels.isfinite().all()
    saved(tmp_path / "vae", seed=5, block_out_channels=(8, 8, 8, 8))
    with pytest.raises(UserError, match="trained with another autoencoder"):
        load_model(tmp_path / "run" / "model")


def test_what_is_missing_or_no_autoencoder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hf download nobody/nothing"):
        HubVaeConfig(source="nobody/nothing").build()
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(UserError, match="no AutoencoderKL"):
        HubVaeConfig(source=str(tmp_path)).build()


def test_sizes_that_it_cannot_halve_often_enough_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="that 4 divides"):
        saved(tmp_path).build().encode(torch.zeros(1, 1, 3, 10, 16))
