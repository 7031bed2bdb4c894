"""Laws of the beginning: what would end a run later is one line before it begins, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tiny import Stripes, StripesConfig, tiny_run
from vitascope.config import Config, override
from vitascope.noise import Estimate
from vitascope.objectives.flow import FlowConfig, FlowMatching
from vitascope.text.tiny import TinyTextConfig
from vitascope.tokenizers.frame_vae import FrameVae, FrameVaeConfig
from vitascope.train.check import around, refuse_what_does_not_fit
from vitascope.train.initialise import initialised
from vitascope.train.loop import fit
from vitascope.types import Clip, UserError


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (
            "model.backbone.patch",
            "[2, 3]",
            "the clips have 16x16 pixels .* blocks of 24x24 .* make the clips 24x24, or",
        ),
        (
            "model.backbone.patch",
            "[3, 1]",
            "stage videos: the clips have 4 frames .* cubes 3; make the clips 3 or 6 frames",
        ),
        ("model.defaults.keyframe_stride", "2", r"stage videos: .* has 3 frames, .* set it to 3 or 0 \(no keyframes\)"),
        ("model.defaults.keyframe_stride", "9", r"stage videos: .* no more than the 4 of a window; set it to 3 or 0"),
        ("model.backbone.channels", "5", r"set backbone\.channels to 4"),
        (
            "model.defaults.num_frames",
            "8",
            r"the data show 16x16 pixels and 4 frames, .* 16x16 and 8",
        ),
        ("model.defaults.size", "[32, 16]", r"set model\.defaults\.size to \[16, 16\]"),
        ("model.text.heads", "32", "stage videos: these settings do not fit together"),
        ("model.defaults.solver", "huen", "there is no solver 'huen'; did you mean 'heun'"),
        ("stages.videos.lesson.mask_share", "0.5", r"stage videos: .*set backbone\.tail_blocks"),
        ("stages.videos.lesson.tasks.text", "0", "stage videos: no task has a weight above zero"),
        ("stages.videos.fresh", '["backbone.layers.*"]', "stage videos: .*'backbone.layers.*' matches no weight"),
        ("stages.videos.frozen", '["*"]', r"stage videos: `frozen` \(\*\) leaves no weight to learn"),
        ("stages.videos.frozen", '["backbone.layers.*"]', "stage videos: .*'backbone.layers.*' matches no weight"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_folder_is_made(
    tmp_path: Path, path: str, text: str, said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        fit(override(tiny_run(), path, text), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_stage_may_say_that_its_last_cubes_are_not_full() -> None:
    run = override(tiny_run(), "model.backbone.patch", "[3, 1]")
    refuse_what_does_not_fit(override(run, "stages.videos.part_cubes", "true"), "cpu")


def test_keyframes_that_meet_the_ends_of_a_window_fit() -> None:
    refuse_what_does_not_fit(override(tiny_run(), "model.defaults.keyframe_stride", "3"), "cpu")


@pytest.mark.parametrize(("number", "step", "legal"), [(20, 16, [16, 32]), (32, 16, [32]), (5, 16, [16])])
def test_the_nearest_multiples_lie_around_a_number(number: int, step: int, legal: list[int]) -> None:
    assert around(number, step) == legal


class HoldsPath(StripesConfig):
    """JSON has no paths."""

    place: Path = Path("here")


def local() -> Config:
    class Local(StripesConfig):
        """No file can name it."""

    return Local()


@pytest.mark.parametrize("data", [HoldsPath(), local()])
def test_settings_that_no_file_gives_back_are_refused_before_the_folder_is_made(tmp_path: Path, data: Config) -> None:
    with pytest.raises(UserError, match=r"cannot be read back .* at the top of a module") as caught:
        fit(tiny_run().model_copy(update={"data": data}), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


class OtherClipsConfig(StripesConfig):
    """Stripes that are not what clips must be."""

    scale: float = 1.0
    words: tuple[str, ...] | str = ("stripes",)

    def build(self) -> OtherClips:
        return OtherClips(self)


class OtherClips(Stripes):
    def clip(self, index: int) -> Clip:
        clip = super().clip(index)
        return replace(clip, pixels=self.config.scale * clip.pixels)

    def captions(self, index: int) -> tuple[str, ...]:
        return self.config.words


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TinyTextConfig(), r"data: a TinyText is no ClipSource .* lacks identity, clip, captions"),
        (
            OtherClipsConfig(scale=255.0),
            r"numbers from 0 to 1, and those of the data's clip 0 are 4x3x16x16 numbers from .* to 2\d\d",
        ),
        (OtherClipsConfig(words="a red circle"), "one or more texts, and those of clip 0 are 'a red circle'"),
        (OtherClipsConfig(words=()), r"one or more texts, and those of clip 0 are \(\)"),
    ],
)
def test_data_that_are_no_clips_are_refused_before_the_folder_is_made(tmp_path: Path, data: Config, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        fit(tiny_run().model_copy(update={"data": data}), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


class EnlargingConfig(FrameVaeConfig):
    """Decodes to twice the size: its lessons fit, and its videos do not."""

    def build(self) -> Enlarging:
        return Enlarging(self)


class Enlarging(FrameVae):
    def decode(self, latents: Tensor) -> Tensor:
        return super().decode(latents).repeat_interleave(2, -1)


class DumbConfig(FlowConfig):
    """Learns and cannot be asked."""

    def build(self) -> Dumb:
        return Dumb(self)


class Dumb(FlowMatching):
    def estimate(self, *told: object) -> Estimate:
        raise ValueError("this one only learns")


class FinishedConfig(FrameVaeConfig):
    """An autoencoder that is used and not trained."""

    def build(self) -> Finished:
        return Finished(self)


class Finished(nn.Module):
    def __init__(self, config: FrameVaeConfig) -> None:
        super().__init__()
        self.vae, self.channels, self.stride = FrameVae(config), config.channels, (1, 8, 8)

    def encode(self, pixels: Tensor) -> Tensor:
        return self.vae.encode(pixels)

    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents)


def test_a_tokenizer_that_cannot_be_trained_is_not_and_serves_a_stage_of_videos(tmp_path: Path) -> None:
    run = tiny_run()
    model = run.model.model_copy(update={"tokenizer": FinishedConfig(channels=4, widths=(8, 8))})
    run = run.model_copy(update={"model": model})
    with pytest.raises(
        UserError, match=r"stage autoencoder: model\.tokenizer: a Finished is no Autoencoder .* posterior"
    ):
        refuse_what_does_not_fit(run, "cpu")
    refuse_what_does_not_fit(run.model_copy(update={"stages": run.stages[1:]}), "cpu")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"tokenizer": EnlargingConfig(channels=4, widths=(8, 8))}, r"makes \(1, 1, 3, 16, 32\) of the latents of"),
        ({"objective": DumbConfig()}, "do not fit together: this one only learns"),
    ],
)
def test_a_model_that_learns_and_cannot_sample_is_refused_before_it_learns(
    tmp_path: Path, part: dict[str, Config], said: str
) -> None:
    run = tiny_run()
    with pytest.raises(UserError, match=f"stage videos: .*{said}"):
        fit(run.model_copy(update={"model": run.model.model_copy(update=part)}), tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("device", "way"),
    [
        ("cpu", r"install a C\+\+ compiler .*, or set compile=false"),
        ("meta", "set compile=false"),  # stands for all that torch may know
        pytest.param(
            "cuda",
            "install Triton .*, or set compile=false",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
        ),
    ],
)
def test_what_cannot_compile_is_told_of_the_device_that_trains(
    monkeypatch: pytest.MonkeyPatch, device: str, way: str
) -> None:
    tried: list[str] = []

    def compiled(function: object) -> Callable[[Tensor], Tensor]:
        def fails(x: Tensor) -> Tensor:
            tried.append(x.device.type)
            raise RuntimeError("nothing to compile with\nand a long trace")

        return fails

    monkeypatch.setattr(torch, "compile", compiled)
    said = rf"cannot compile for {device} \(nothing to compile with\); {way}$"
    with pytest.raises(UserError, match=said):
        refuse_what_does_not_fit(tiny_run(compile=True), device)
    assert tried == [device]


def test_a_rehearsal_changes_nothing() -> None:
    run = tiny_run()
    model = initialised(run.model, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.random.get_rng_state()
    refuse_what_does_not_fit(run, "cpu")
    with torch.no_grad():
        for stage in run.stages:
            stage.rehearse(run, model)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
