"""What passes each door of the training walk and of the sampling walk: images and videos, none of them square."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from vitascope.backbones.stiv import StivConfig
from vitascope.conditions import MICRO
from vitascope.data.cache import open_cache
from vitascope.objectives.flow import FlowConfig
from vitascope.sample.generate import generate
from vitascope.system import Defaults, Lesson, ModelConfig, VideoModel
from vitascope.tasks import TaskMix
from vitascope.text.tiny import TinyTextConfig
from vitascope.tokenizers.frame_vae import FrameVaeConfig
from vitascope.train.initialise import initialised
from vitascope.types import Clip, Request, generator_for

HEIGHT, WIDTH, FRAMES = 16, 32, 6  # pixels; neither square nor a power of two, so that no two axes look alike
ROWS, COLUMNS, CHANNELS = 2, 4, 5
TEXT_WIDTH = 24
TEXT = ("b", "l", TEXT_WIDTH), ("b", "l"), ("b", TEXT_WIDTH)
Shape = tuple[int, ...]


def tiny() -> VideoModel:
    return initialised(
        ModelConfig(
            tokenizer=FrameVaeConfig(channels=CHANNELS, widths=(8, 8)),
            text=TinyTextConfig(width=TEXT_WIDTH, depth=1, heads=2),
            backbone=StivConfig(channels=CHANNELS, text_width=TEXT_WIDTH, width=32, heads=2, depth=1, tail_blocks=1),
            objective=FlowConfig(),
            defaults=Defaults(size=(WIDTH, HEIGHT), num_frames=FRAMES, steps=2),
        ),
        seed=0,
    )


class Clips:
    identity = "noise"

    def clip(self, index: int) -> Clip:
        return Clip(torch.rand(FRAMES, 3, HEIGHT, WIDTH, generator=generator_for(0, index)))

    def captions(self, index: int) -> tuple[str, ...]:
        return ("noise", f"noise number {index}")


@contextmanager
def doors(model: VideoModel) -> Iterator[dict[str, list[tuple]]]:
    """Shapes of what goes into and comes out of each room, in the order of the visits."""
    seen: dict[str, list[tuple]] = {}

    def watch(name: str, room: Any, method: str) -> None:
        inside = getattr(room, method)

        def through(*given: Any, **named: Any) -> Any:
            came = inside(*given, **named)
            seen.setdefault(name, []).append((*map(shapes, [*given, *named.values()]), shapes(came)))
            return came

        setattr(room, method, through)
        undo.append(lambda: delattr(room, method))

    undo: list[Any] = []
    for name, room, method in (
        ("encode", model.tokenizer, "encode"),
        ("text", model.text, "forward"),
        ("loss", model.objective, "loss"),
        ("estimate", model.objective, "estimate"),
        ("backbone", model.backbone, "forward"),
        ("block", model.backbone.blocks[0], "forward"),
        ("tail", model.backbone.blocks[-1], "forward"),
        ("space", model.backbone.blocks[0].space, "core"),
        ("time", model.backbone.blocks[0].time, "core"),
        ("decode", model.tokenizer, "decode"),
    ):
        kept = vars(room).get(method)  # a core is the instance's own
        watch(name, room, method)
        if kept is not None:
            undo[-1] = lambda room=room, method=method, kept=kept: setattr(room, method, kept)
    yield seen
    for back in undo:
        back()


def shapes(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if hasattr(value, "__dataclass_fields__"):
        return tuple(shapes(getattr(value, name)) for name in value.__dataclass_fields__)
    return None


def conditions(b: int, t: int, words: int, empty: int) -> tuple:
    """Shapes of known frames, their latents, text, the empty text and micro-conditions."""
    of_text = [tuple({"b": b, "l": num}.get(axis, axis) for axis in axes) for num in (words, empty) for axes in TEXT]
    return (b, t), (b, t, CHANNELS, ROWS, COLUMNS), tuple(of_text[:3]), tuple(of_text[3:]), (b, len(MICRO))


@pytest.mark.parametrize("images", [False, True], ids=["videos", "images"])
@pytest.mark.parametrize("mask_share", [0.0, 0.5])
def test_the_training_walk(tmp_path, images, mask_share):
    model, b, t = tiny(), 3, 1 if images else FRAMES
    cubes, tokens = -(-t // 2), ROWS * COLUMNS // 4
    with doors(model) as seen:
        cache = open_cache(tmp_path, Clips(), model.tokenizer, 4)
        batch = cache.batch(0, b, 0, pictures=int(images))
        lesson = Lesson(tasks=TaskMix(text=1, image=1), text_dropout=0.0, mask_share=mask_share)
        loss = model.loss(batch, lesson, generator_for(0))
    loss.total.backward()

    latents = (b, t, CHANNELS, ROWS, COLUMNS)
    assert set(seen["encode"]) == {((1, FRAMES, 3, HEIGHT, WIDTH), (1, FRAMES, CHANNELS, ROWS, COLUMNS))}
    assert batch.clean.shape == latents
    assert len(batch.captions) == b
    assert {texts[-1][0][0] for texts in seen["text"]} == {1, b}  # the empty caption once for all, and every caption
    words = max(texts[-1][0][1] for texts in seen["text"])
    empty = min(texts[-1][0][1] for texts in seen["text"])
    cond = conditions(b, t, words, empty)
    visible = (b, ROWS, COLUMNS) if mask_share else None

    ((_, clean, told, _, *rest),) = seen["loss"]
    assert clean == latents
    assert told == cond
    assert rest[0] == visible or not mask_share
    ((z, level, told, *hidden, velocity),) = seen["backbone"]
    assert z == velocity == latents
    assert level == (b, t)
    assert told == cond
    assert hidden == [visible]
    kept = max(round(tokens * (1 - mask_share)), 1)
    ((x, signal, *_, y),) = seen["block"]
    assert x == y == (b, cubes, kept, 32)
    assert signal == (b, cubes, 32)
    assert seen["tail"][0][0] == (b, cubes, tokens, 32)
    assert seen["space"][0][:3] == ((b, cubes, 2, kept, 16),) * 3
    if cubes > 1:
        assert seen["time"][0][:3] == ((b, kept, 2, cubes, 16),) * 3
    else:
        assert "time" not in seen  # an image does not go through time
    assert loss.total.shape == ()
    assert set(loss.parts) == {"velocity"}


@pytest.mark.parametrize(
    "request_, num_frames",
    [
        (Request("a circle"), FRAMES),
        (Request("a circle", num_frames=1), 1),
        (Request("a circle", frames={0: torch.rand(3, 40, 50), -1: torch.rand(3, HEIGHT, WIDTH)}), FRAMES),
    ],
    ids=["text to video", "text to image", "interpolation"],
)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_sampling_walk(request_, num_frames, guidance):
    model, t, num = tiny().eval(), num_frames, 2
    told = [replace(request_, seed=seed, guidance=guidance, solver="euler", steps=2) for seed in range(num)]
    with doors(model) as seen:
        clips = generate(model, told)

    latents = (t, CHANNELS, ROWS, COLUMNS)
    given = len(request_.frames) * num
    frame = (1, 1, 3, HEIGHT, WIDTH), (1, 1, CHANNELS, ROWS, COLUMNS)
    assert seen.get("encode", []) == [frame] * given
    assert len(seen["estimate"]) == len(seen["backbone"])
    passes = sum(z[0] for z, *_ in seen["backbone"])
    assert passes == num * 2 * (1 if guidance == 1 else 2)  # samples, steps, with and without what is known
    for z, level, cond, velocity in seen["backbone"]:
        assert z[1:] == velocity[1:] == latents
        assert level == z[:2] == cond[0]
        assert cond[1] == z
        assert cond[-1] == (z[0], len(MICRO))
    for *_, (clean, noise) in seen["estimate"]:
        assert clean == noise
        assert clean[1:] == latents
    assert seen["decode"] == [((1, *latents), (1, t, 3, HEIGHT, WIDTH))] * num
    for clip, asked in zip(clips, told, strict=True):
        assert clip.pixels.shape == (t, 3, HEIGHT, WIDTH)
        assert clip.num_frames == t
        assert clip.size == (WIDTH, HEIGHT)
        assert clip.settings["seed"] == asked.seed
        assert 0 <= clip.pixels.min() <= clip.pixels.max() <= 1
