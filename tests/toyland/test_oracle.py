"""The oracle's calibration: the truth passes, also compressed and noisy, and one swapped attribute fails.

`python tests/toyland/test_oracle.py 200` prints the table over 200 scenes of each kind.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from vitascope import media
from vitascope.evaluate.intervals import Rate
from vitascope.toyland import Scene, parse, render, sample
from vitascope.toyland.oracle import QUALITY, judge, passed
from vitascope.toyland.scene import (
    BACKGROUNDS,
    CAMERAS,
    COLOURS,
    INTERACTIONS,
    MOTIONS,
    PLAIN,
    RELATIONS,
    SHAPES,
    SIZES,
    SPEEDS,
    STYLES,
)
from vitascope.types import Clip

KINDS = ("one", "two", "relation", "count", "change", "interaction", "camera", "style")
Rates = dict[str, Rate]


# Calibration.


@cache
def scene_of(kind: str, number: int) -> Scene:
    return sample(random.Random(f"calibration {kind} {number}"), kind)  # type: ignore[arg-type]


@cache
def truth(kind: str, number: int) -> Clip:
    return render(scene_of(kind, number))


def noisy(clip: Clip) -> Clip:
    noise = torch.randn(clip.pixels.shape, generator=torch.Generator().manual_seed(0))
    return replace(clip, pixels=(clip.pixels + 0.03 * noise).clamp(0, 1))


def compressed(clip: Clip) -> Clip:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        media.write(clip, path)
        return media.read_video(path)


def as_it_is(clip: Clip) -> Clip:
    return clip


def true_rates(kind: str, num: int, spoil: Callable[[Clip], Clip]) -> Rates:
    """How often true clips pass each dimension after `spoil`."""
    rates: Rates = {}
    for number in range(num):
        for name, score in judge(spoil(truth(kind, number)), scene_of(kind, number)).items():
            rates[name] = rates.get(name, Rate()) + Rate(int(passed(score)), 1)
    return rates


def swapped_rates(kind: str, num: int) -> Rates:
    """How often a true clip passes the one dimension in which it is not what was asked for."""
    rates: Rates = {}
    for number in range(num):
        for name, wrong in swaps(scene_of(kind, number), random.Random(f"swap {kind} {number}")):
            score = judge(truth(kind, number), wrong)[name]
            rates[name] = rates.get(name, Rate()) + Rate(int(passed(score)), 1)
    return rates


def swaps(scene: Scene, rng: random.Random) -> Iterator[tuple[str, Scene]]:
    """The scene with one attribute changed, for every attribute that its caption has."""
    which, change = rng.randrange(len(scene.things)), scene.change
    thing = scene.things[which]

    def other(known: object, *but: object) -> str:
        return rng.choice([word for word in known if word not in but])  # type: ignore[attr-defined]

    def with_thing(**words: str) -> Scene:
        everyone = scene.core == "count"
        things = tuple(replace(t, **words) if everyone or n == which else t for n, t in enumerate(scene.things))
        looks = change and words.keys() <= {"colour", "shape"}
        return replace(scene, things=things, change=replace(change, **words) if looks else change)

    if not (change and change.colour != thing.colour) and scene.style != "in black and white":
        yield "colour", with_thing(colour=other(COLOURS, thing.colour))
    if not (change and change.shape != thing.shape):
        yield "shape", with_thing(shape=other(SHAPES, thing.shape))
    yield "size", with_thing(size=other(SIZES, thing.size))
    backgrounds = PLAIN if scene.style == "in black and white" else BACKGROUNDS
    yield "background", replace(scene, background=other(backgrounds, scene.background))
    if scene.core in ("one", "count"):
        yield "count", replace(scene, things=(thing,) * other((1, 2, 3, 4), len(scene.things)))  # type: ignore[operator]
    if scene.core in ("two", "relation", "interaction"):
        look = {"colour": other(COLOURS, thing.colour)} if rng.random() < 0.5 else {"shape": other(SHAPES, thing.shape)}
        yield "multiple objects", with_thing(**look)
    if scene.relation:
        yield "spatial relation", replace(scene, relation=other(RELATIONS, scene.relation))
    if scene.core in ("one", "two", "count"):
        invisible = "spins" if thing.shape in ("circle", "ring") and thing.motion == "stays still" else ""
        yield "motion", with_thing(motion=other(MOTIONS, thing.motion, invisible))
        if thing.motion != "stays still" and scene.style != "as pixel art":
            yield "speed", with_thing(speed=other(SPEEDS, thing.speed))
    if change:
        look, known = ("colour", COLOURS) if change.colour != thing.colour else ("shape", SHAPES)
        before, after = getattr(thing, look), getattr(change, look)
        yield "change", replace(scene, change=replace(change, **{look: other(known, before, after)}))
        backwards = replace(thing, **{look: after})
        yield "change", replace(scene, things=(backwards,), change=replace(change, **{look: before}))
    if scene.interaction:
        yield "interaction", replace(scene, interaction=other(INTERACTIONS, scene.interaction))
    if scene.camera:
        yield "camera", replace(scene, camera=other(CAMERAS, scene.camera))
    if scene.style:
        colourless = thing.colour == "white" and scene.background in ("black", "grey")  # the same in black and white
        yield "style", replace(scene, style=other(STYLES, scene.style, "in black and white" if colourless else ""))


def added(tables: list[Rates]) -> Rates:
    total: Rates = {}
    for table in tables:
        for name, rate in table.items():
            total[name] = total.get(name, Rate()) + rate
    return total


# Samples are small: a rate is refuted where its 95 % interval excludes it. Running this file counts more of them.


def test_the_truth_passes():
    rates = added([true_rates(kind, 12, as_it_is) for kind in KINDS])
    assert min(rate.interval[1] for rate in rates.values()) >= 0.99, rates


@pytest.mark.parametrize("spoil", [noisy, compressed])
def test_the_truth_passes_through_noise_and_compression(spoil: Callable[[Clip], Clip]):
    rates = added([true_rates(kind, 6, spoil) for kind in KINDS])
    assert min(rate.interval[1] for rate in rates.values()) >= 0.97, rates


def test_one_wrong_word_fails():
    rates = added([swapped_rates(kind, 5) for kind in KINDS])
    assert max(rate.interval[0] for rate in rates.values()) <= 0.03, rates


# Laws.


def test_only_words_count():
    """Any clip of a sentence passes whatever the numbers of the scene that it is judged by."""
    sentence = "a small red star zigzags while a large blue ring blinks in a meadow"
    scenes = [parse(sentence, random.Random(number)) for number in range(3)]
    assert scenes[0].things != scenes[1].things
    assert all(judge(render(one), other)["all"] for one in scenes for other in scenes)


@pytest.mark.parametrize("shape", SHAPES)
def test_pixel_art_is_known_at_every_size(shape: str):
    """A range of radii gives the same few blocks; each range must be known, however narrow."""
    scene = parse(f"a large red {shape} stays still on a black background, as pixel art", random.Random(0))
    low, high = SIZES["large"]
    for step in range(6):
        thing = replace(scene.things[0], radius=low + (high - low) * step / 5, x=0.0, y=0.0)
        scores = judge(render(replace(scene, things=(thing,)), num_frames=1), scene)
        assert scores["all"], (thing.radius, scores)


SHAPED = [(16, 128, 128, 8.0), (16, 64, 96, 8.0), (48, 64, 64, 24.0), (40, 96, 64, 8.0)]


@pytest.mark.parametrize(("num_frames", "height", "width", "fps"), SHAPED)
def test_other_sizes_lengths_and_rates(num_frames: int, height: int, width: int, fps: float):
    for kind, number in (("one", 1), ("one", 2), ("two", 3), ("interaction", 4), ("camera", 5)):
        scene = scene_of(kind, number)
        scores = judge(render(scene, num_frames, height, width, fps), scene)
        assert scores["all"], (scene, scores)


def test_a_picture_has_looks_but_no_motion():
    scores = judge(render(scene_of("one", 0), num_frames=1), scene_of("one", 0))
    assert scores["all"] and {"shape", "colour", "size", "count", "background"} <= scores.keys()
    assert not {"motion", "speed", "flicker", "dynamic degree"} & scores.keys()


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_an_empty_clip_fails_in_every_kind(level: float):
    for kind in KINDS:
        assert not judge(Clip(torch.full((16, 3, 64, 64), level)), scene_of(kind, 0))["all"]


def test_noise_is_judged_and_fails():
    pixels = torch.rand((16, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    for kind in KINDS:
        assert not judge(Clip(pixels), scene_of(kind, 0))["all"]


def test_what_was_not_said_is_not_judged():
    scene = parse("a small red circle moves left on a black background")
    clip = render(parse("a large red circle moves left on a navy background"))
    assert not judge(clip, scene)["all"]
    (thing,) = scene.things
    scores = judge(clip, replace(scene, things=(replace(thing, size=""),), background=""))
    assert scores["all"] and not {"size", "background"} & scores.keys()


def test_scores_are_shares_of_frames():
    scene = parse("a large red circle stays still on a black background")
    right, wrong = render(scene), render(replace(scene, things=(replace(scene.things[0], colour="blue"),)))
    mixed = replace(right, pixels=torch.cat([right.pixels[:12], wrong.pixels[12:]]))
    assert judge(mixed, scene)["colour"] == pytest.approx(0.75)


# Qualities that no sentence asks for.


def large(motion: str = "stays still") -> Scene:
    return parse(f"a large red square {motion} on a grey background", random.Random(0))


def failed(clip: Clip, scene: Scene) -> set[str]:
    scores = judge(clip, scene)
    return {name for name in QUALITY if name in scores and not passed(scores[name])}


def test_the_truth_has_every_quality():
    assert not failed(render(large("moves left")), large("moves left"))


def test_a_thing_that_is_away_for_a_while_is_not_permanent():
    clip = render(large())
    gap = clip.pixels.clone()
    gap[6:10] = 115 / 255
    assert "permanence" in failed(replace(clip, pixels=gap), large())


def test_a_thing_that_turns_into_another_is_not_permanent():
    scene = large()
    other = replace(scene, things=(replace(scene.things[0], shape="star"),))
    pixels = torch.cat([render(scene).pixels[:9], render(other).pixels[9:]])
    assert "permanence" in failed(Clip(pixels), scene)


def test_a_background_that_jumps_flickers():
    clip = render(large())
    light = torch.tensor([0.0, 0.05] * 8)[:, None, None, None]
    assert failed(replace(clip, pixels=clip.pixels + light), large()) == {"flicker"}


def test_a_thing_that_jerks_is_not_smooth():
    scene = large("moves right")
    (thing,), jerks = scene.things, random.Random(0)
    off = [replace(scene, things=(replace(thing, y=thing.y + jerks.choice((-0.08, 0.08))),)) for _ in range(16)]
    frames = [render(one).pixels[number] for number, one in enumerate(off)]
    assert "smoothness" in failed(Clip(torch.stack(frames)), scene)


def test_a_clip_that_stands_still_is_not_dynamic():
    clip = render(large("moves left"))
    frozen = replace(clip, pixels=clip.pixels[8:9].expand(16, -1, -1, -1).contiguous())
    assert "dynamic degree" in failed(frozen, large("moves left"))
    assert "dynamic degree" not in judge(render(large()), large())


def main(num: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "dimension", "n", "true", "noise", "H.264", "swapped", title=f"{num} scenes of each kind")
    for kind in KINDS:
        columns = [true_rates(kind, num, spoil) for spoil in (as_it_is, noisy, compressed)] + [swapped_rates(kind, num)]
        for name, rate in columns[0].items():
            shown = [f"{100 * column[name].value:.1f}" if name in column else "" for column in columns]
            table.add_row(kind, name, str(rate.count), *shown)
        truth.cache_clear()
        table.add_section()
    Console().print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
