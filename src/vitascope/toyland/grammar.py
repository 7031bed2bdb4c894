"""Scenes in words: the canonical sentence of each, and the reading of canonical sentences."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Iterable
from dataclasses import replace

from vitascope.toyland.paraphrases import NUMBERS, a, paraphrase, plural
from vitascope.toyland.sampling import arrange
from vitascope.toyland.scene import (
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
    Change,
    Scene,
    Thing,
)
from vitascope.types import UserError

EXAMPLE = "a small red circle moves left on a black background"
PLACES = {f"on a {name} background": name for name in PLAIN} | {
    "in a meadow": "meadow",
    "on a beach": "beach",
    "at night": "night",
    "in the snow": "snow",
}


def caption(scene: Scene, rng: random.Random | None = None) -> str:
    """The canonical sentence, or, given a generator, one of many ways to say the scene: two in five are canonical."""
    if rng is None or rng.random() < 0.4:
        return canonical(scene)
    return paraphrase(scene, rng)


def canonical(scene: Scene) -> str:
    suffix = f", the camera {scene.camera}" if scene.camera else ""
    suffix += f", {scene.style}" if scene.style else ""
    place = next(place for place, background in PLACES.items() if background == scene.background)
    return f"{core(scene)} {place}{suffix}"


def core(scene: Scene) -> str:
    """The canonical sentence before the background."""
    first, *rest = scene.things
    if scene.change and scene.change.shape == first.shape:
        return f"a {first.size} {first.shape} turns from {first.colour} to {scene.change.colour}"
    if scene.change:
        return f"a {first.size} {first.colour} shape turns from {a(first.shape)} into {a(scene.change.shape)}"
    if scene.relation or scene.interaction:
        return f"{named(first)} {scene.relation or scene.interaction} {named(rest[0])}"
    if scene.core == "count":
        number = next(word for word, count in NUMBERS.items() if count == len(scene.things))
        things = f"{number} {first.size} {first.colour} {plural(first.shape)}"
        return f"{things} {bare(first.motion)} {first.speed}".rstrip()
    return " while ".join(f"{named(thing)} {thing.motion} {thing.speed}".rstrip() for thing in scene.things)


def named(thing: Thing) -> str:
    return a(f"{thing.size} {thing.colour} {thing.shape}")


def bare(motion: str) -> str:
    """The verb of many: `moves left` to `move left`."""
    verb, *rest = motion.split(" ")
    return " ".join([verb.removesuffix("s"), *rest])


def words(names: Iterable[str]) -> str:
    return "|".join(sorted(names, key=len, reverse=True))


def thing_pattern(number: str) -> str:
    parts: dict[str, Iterable[str]] = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}
    return "an? " + " ".join(f"(?P<{part}{number}>{words(names)})" for part, names in parts.items())


SPEED = rf"(?: (?P<speed>{words(filter(None, SPEEDS))}))?"
ONE = re.compile(rf"{thing_pattern('')} (?P<motion>{words(MOTIONS)}){SPEED}")
COUNT = re.compile(
    rf"(?P<number>{words(NUMBERS)}) (?P<size>{words(SIZES)}) (?P<colour>{words(COLOURS)}) "
    rf"(?P<shape>{words(map(plural, SHAPES))}) (?P<motion>{words(map(bare, MOTIONS))}){SPEED}"
)
PAIR = re.compile(rf"{thing_pattern('')} (?P<verb>{words([*RELATIONS, *INTERACTIONS])}) {thing_pattern('2')}")
COLOUR_CHANGE = re.compile(
    rf"an? (?P<size>{words(SIZES)}) (?P<shape>{words(SHAPES)}) turns "
    rf"from (?P<colour>{words(COLOURS)}) to (?P<colour2>{words(COLOURS)})"
)
SHAPE_CHANGE = re.compile(
    rf"an? (?P<size>{words(SIZES)}) (?P<colour>{words(COLOURS)}) (?:shape|thing) turns "
    rf"from an? (?P<shape>{words(SHAPES)}) into an? (?P<shape2>{words(SHAPES)})"
)
ENDING = re.compile(rf"(?P<core>.*) (?P<place>{words(PLACES)})")


def parse(text: str, rng: random.Random | None = None) -> Scene:
    """Read a canonical sentence: a scene that says the same, its places and numbers drawn with `rng`.

    Without `rng` the sentence decides about them too.
    """
    template = read(text)
    rng = rng or random.Random(canonical(template))
    return arrange(replace(template, seed=rng.getrandbits(31)), rng)


def read(text: str) -> Scene:
    """The words of a canonical sentence as a template: a scene without numbers. Case and a full stop do not matter."""
    sentence = " ".join(text.lower().split()).removesuffix(".")
    sentence, *suffixes = re.split(r" ?, ", sentence)
    ending = ENDING.fullmatch(sentence)
    template = ending and read_core(ending["core"], PLACES[ending["place"]])
    if not template:
        raise UserError(advice(sentence, has_place=ending is not None))
    for suffix in suffixes:
        template = with_suffix(template, suffix)
    return template


def read_core(sentence: str, background: str) -> Scene | None:
    if found := COUNT.fullmatch(sentence):
        shape = next(shape for shape in SHAPES if plural(shape) == found["shape"])
        motion = next(motion for motion in MOTIONS if bare(motion) == found["motion"])
        thing = Thing(shape, found["colour"], found["size"], motion, found["speed"] or "")
        return Scene((thing,) * NUMBERS[found["number"]], background)
    if found := PAIR.fullmatch(sentence):
        pair = tuple(Thing(found[f"shape{n}"], found[f"colour{n}"], found[f"size{n}"]) for n in ("", "2"))
        if found["verb"] in RELATIONS:
            return Scene(pair, background, relation=found["verb"])
        return Scene(pair, background, interaction=found["verb"])
    if found := COLOUR_CHANGE.fullmatch(sentence) or SHAPE_CHANGE.fullmatch(sentence):
        said = found.groupdict()
        change = Change(said.get("colour2", said["colour"]), said.get("shape2", said["shape"]))
        if (change.colour, change.shape) == (said["colour"], said["shape"]):
            raise UserError(f'a thing has to turn into something else, got "{sentence}"')
        return Scene((Thing(said["shape"], said["colour"], said["size"]),), background, change=change)
    things: list[Thing] = []
    for part in sentence.split(" while "):
        found = ONE.fullmatch(part)
        if not found or len(things) == 2:
            return None
        things.append(Thing(found["shape"], found["colour"], found["size"], found["motion"], found["speed"] or ""))
    return Scene(tuple(things), background)


def with_suffix(scene: Scene, suffix: str) -> Scene:
    if suffix in STYLES and not scene.style:
        return replace(scene, style=suffix)
    camera = suffix.removeprefix("the camera ")
    if camera in CAMERAS and camera != suffix and not scene.camera:
        return replace(scene, camera=camera)
    known = [*STYLES, *(f"the camera {camera}" for camera in CAMERAS)]
    nearest = difflib.get_close_matches(suffix, known, 1, 0.0)[0]
    raise UserError(f'after a comma one camera motion and one style can be said, got "{suffix}"; try "{nearest}"')


def advice(sentence: str, has_place: bool) -> str:
    """Why a sentence cannot be read, and the nearest that could be."""
    for word in re.findall(r"[^\s,]+", sentence):
        if word not in KNOWN:
            nearest = difflib.get_close_matches(word, KNOWN, 1, 0.6)
            hint = f'did you mean "{nearest[0]}"?' if nearest else f'a sentence it knows is "{EXAMPLE}"'
            return f'toyland needs words that it knows, got "{word}"; {hint}'
    if not has_place:
        places = ", ".join(f'"{place}"' for place in PLACES)
        return f'a toyland sentence ends with a background ({places}), got "{sentence}"'
    return f'toyland needs a sentence of a form that it knows, such as "{EXAMPLE}", got "{sentence}"'


PHRASES = [*PLACES, *SIZES, *COLOURS, *SHAPES, *map(plural, SHAPES), *MOTIONS, *map(bare, MOTIONS)]
PHRASES += [*RELATIONS, *INTERACTIONS, *NUMBERS, *SPEEDS, "a an while shape thing turns from to into"]
KNOWN = sorted({word for phrase in PHRASES for word in phrase.split()})
