"""Each family as its users meet it: typed at the real command line, from the first video to the last error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from families import FAMILIES, Folder, Load
from safetensors.torch import save_file
from torch import Tensor, nn

from shell import Shell
from vitascope import media
from vitascope.sample.hub.traits import denoiser_of
from vitascope.types import Clip

PICTURE, LAST, VIDEO = ("--image", "first.png"), ("--last", "last.png"), ("--video", "in.mp4")


@dataclass(frozen=True)
class Family:
    """What a family is given, and what comes out of it."""

    num_frames: int
    given: tuple[str, ...] = ()
    words: tuple[str, ...] = ("a red circle",)
    size: tuple[int, int] = (32, 32)
    hears_negative: bool = True


TYPED = {
    "wan": Family(5),
    "wan_i2v": Family(5, PICTURE),
    "wan_flf": Family(5, PICTURE + LAST),
    "ltx": Family(9),
    "hunyuan": Family(5, hears_negative=False),  # its guidance is a number that the denoiser is told
    "cogvideox": Family(9),
    "cogvideox_i2v": Family(9, PICTURE, size=(48, 32)),
    "cogvideox_v2v": Family(9, VIDEO),
    "mochi": Family(7),
    "allegro": Family(24, size=(128, 128)),  # its decoder's only tile
    "latte": Family(4),
    "svd": Family(3, PICTURE, words=(), hears_negative=False),
    "animatediff": Family(4),
}


def drawn(seed: int, num: int = 1) -> Clip:
    rng = torch.Generator().manual_seed(seed)
    return Clip(torch.rand(num, 3, 32, 48, generator=rng), fps=8.0)


@pytest.fixture
def desk(shell: Shell) -> Shell:
    """A folder with pictures and a video to begin from."""
    for seed, name in enumerate(("first.png", "last.png", "other.png")):
        media.write(drawn(seed), name)
    media.write(drawn(5, 12), "in.mp4")
    media.write(drawn(6, 12), "other.mp4")
    return shell


def lora_for(network: nn.Module) -> dict[str, Tensor]:
    """A strong change of the first projection to queries."""
    name, layer = next((name, one) for name, one in network.named_modules() if name.endswith("to_q"))
    assert isinstance(layer, nn.Linear)
    rng = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, layer.in_features, generator=rng), torch.randn(layer.out_features, 2, generator=rng)
    return {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": 4 * up}


def differ(one: str, other: str) -> bool:
    return not torch.equal(media.read_video(one).pixels, media.read_video(other).pixels)


def test_every_family_is_typed_here() -> None:
    assert TYPED.keys() == FAMILIES.keys()


@pytest.mark.parametrize("name", TYPED)
def test_a_family_from_words_to_a_file_and_back(desk: Shell, folder_of: Folder, model_of: Load, name: str) -> None:
    family = TYPED[name]
    model = ("--model", f"hub:{folder_of(name)}")
    few = ("--num-frames", str(family.num_frames), "--size", "{}x{}".format(*family.size), "--steps", "2")
    desk.done("generate", *family.words, *model, *family.given, *few, "--seed", "7", "--out", "one.mp4")
    made, told = media.read_video("one.mp4"), media.read_settings("one.mp4")
    assert made.num_frames == family.num_frames
    assert made.size == family.size
    assert made.pixels.std() > 0.01
    assert told["hub"]["checkpoint"] == str(folder_of(name))
    assert told["model"] == model_of(name).identity
    assert not list(Path().glob("*.latents.safetensors"))

    again = ("generate", "--like", "one.mp4", *model, *(VIDEO if family.given == VIDEO else ()))
    desk.done(*again, "--out", "same.mp4")
    assert not differ("one.mp4", "same.mp4")
    desk.done(*again, "--seed", "8", "--out", "seed.mp4")
    assert differ("one.mp4", "seed.mp4")

    save_file(lora_for(denoiser_of(model_of(name).routes[0].pipeline)), "style.safetensors")
    said = desk.done(*again, "--lora", "style.safetensors:0.5", "--out", "lora.mp4")
    assert "was made by another model" in said
    assert differ("one.mp4", "lora.mp4")
    assert media.read_settings("lora.mp4")["hub"]["loras"][0][1] == 0.5

    if PICTURE[0] in family.given:
        desk.done(*again, "--image", "other.png", "--out", "picture.mp4")
        assert differ("one.mp4", "picture.mp4")
    elif family.given == VIDEO:
        desk.done(*again[:-1], "other.mp4", "--out", "video.mp4")
        assert differ("one.mp4", "video.mp4")
    elif name != "ltx":  # whose parts are enough for pictures too
        said = desk.refused(*again, "--image", "other.png", "--out", "picture.mp4")
        assert "it was given a picture for frame 0" in said

    if family.hears_negative:
        said = desk.refused(*again, "--negative", "a star", "--guidance", "1", "--out", "negative.mp4")
        assert "give a --guidance above 1" in said
        desk.done(*again, "--negative", "a star", "--out", "negative.mp4")
        assert differ("one.mp4", "negative.mp4")
        assert media.read_settings("negative.mp4")["negative"] == "a star"
    else:
        said = desk.refused(*again, "--negative", "a star", "--out", "negative.mp4")
        assert "leave --negative" in said
    assert "--preview is for models of ours" in desk.refused(*again, "--preview", "--out", "preview.mp4")
    json.dumps(told)
