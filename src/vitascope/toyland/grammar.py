"""Scenes in words: one canonical sentence for each, paraphrases of it, and the reading of canonical sentences."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

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
    Change,
    Scene,
    Thing,
    arrange,
)
from vitascope.types import UserError

EXAMPLE = "a small red circle moves left on a black background"
NUMBERS = {"two": 2, "three": 3, "four": 4}
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


def a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def bare(motion: str) -> str:
    """The verb of many: `moves left` to `move left`."""
    verb, *rest = motion.split(" ")
    return " ".join([verb.removesuffix("s"), *rest])


def words(names: Iterable[str]) -> str:
    return "|".join(sorted(names, key=len, reverse=True))


def thing_pattern(number: str) -> str:
    parts = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}
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

    Without `rng` the sentence decides about them too. Case, a full stop and repeated spaces do not matter.
    """
    sentence = " ".join(text.lower().split()).removesuffix(".")
    sentence, *suffixes = re.split(r" ?, ", sentence)
    ending = ENDING.fullmatch(sentence)
    scene = ending and read_core(ending["core"], PLACES[ending["place"]])
    if not scene:
        raise UserError(advice(sentence, has_place=ending is not None))
    for suffix in suffixes:
        scene = with_suffix(scene, suffix)
    rng = rng or random.Random(canonical(scene))
    return arrange(replace(scene, seed=rng.getrandbits(31)), rng)


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
        after = {"colour": found["colour"], "shape": found["shape"]}
        after |= {name.removesuffix("2"): word for name, word in found.groupdict().items() if name.endswith("2")}
        if after == {"colour": found["colour"], "shape": found["shape"]}:
            raise UserError(f'a thing has to turn into something else, got "{sentence}"')
        return Scene((Thing(found["shape"], found["colour"], found["size"]),), background, change=Change(**after))
    things = []
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


# Paraphrases. Verbs are in their bare form and are inflected below.

SAYINGS = {
    "stays still": ("stay still", "remain motionless", "rest in place", "stand still"),
    "moves left": ("move left", "slide to the left", "travel leftwards", "go left"),
    "moves right": ("move right", "slide to the right", "travel rightwards", "go right"),
    "moves up": ("move up", "rise", "travel upwards", "go up"),
    "moves down": ("move down", "sink", "travel downwards", "go down"),
    "bounces": ("bounce", "bounce up and down", "hop up and down", "jump up and down"),
    "spins": ("spin", "rotate", "turn on the spot", "whirl around"),
    "circles around": ("circle around", "go around in a circle", "move in a circle", "loop around"),
    "zigzags": ("zigzag", "move in a zigzag", "follow a zigzag path"),
    "grows": ("grow", "get bigger", "expand", "become larger"),
    "shrinks": ("shrink", "get smaller", "contract", "become smaller"),
    "blinks": ("blink", "flash on and off", "flicker on and off"),
    "pushes": ("push", "shove", "collide with and push"),
    "chases": ("chase", "follow", "run after"),
    "orbits around": ("orbit around", "revolve around", "travel in a circle around"),
    "passes behind": ("pass behind", "go behind", "move along behind"),
    "bounces off": ("bounce off", "hit and bounce back from", "rebound from"),
}
SYNONYMS = {
    "small": ("small", "small", "little", "tiny"),
    "large": ("large", "large", "big", "huge"),
    "circle": ("circle", "circle", "disc"),
    "square": ("square", "square", "box"),
    "ring": ("ring", "ring", "hoop"),
    "diamond": ("diamond", "diamond", "rhombus"),
    "slowly": ("slowly", "gently", "at a slow pace"),
    "quickly": ("quickly", "rapidly", "fast"),
    "grey": ("grey", "gray"),
}
SCENERY_SAYINGS = {
    "meadow": ("in a meadow", "in a grassy field", "on green grass under a blue sky"),
    "beach": ("on a beach", "at the beach", "on the sand under a blue sky"),
    "night": ("at night", "under the stars", "in the dark with stars in the sky"),
    "snow": ("in the snow", "on a snowy field", "on white snow under a grey sky"),
}
CAMERA_SAYINGS = {
    "pans left": ("the camera pans left", "the camera turns to the left", "the view moves left"),
    "pans right": ("the camera pans right", "the camera turns to the right", "the view moves right"),
    "tilts up": ("the camera tilts up", "the camera looks up", "the view moves up"),
    "tilts down": ("the camera tilts down", "the camera looks down", "the view moves down"),
    "zooms in": ("the camera zooms in", "the camera moves closer", "the view gets closer"),
    "zooms out": ("the camera zooms out", "the camera moves away", "the view gets wider"),
}
STYLE_SAYINGS = {
    "as a line drawing": ("{}, as a line drawing", "a line drawing of {}", "{}, drawn with lines", "a sketch of {}"),
    "in black and white": ("{}, in black and white", "in black and white, {}", "a black and white video of {}"),
    "as pixel art": ("{}, as pixel art", "pixel art of {}", "{}, in the style of pixel art", "a pixelated video of {}"),
}


def paraphrase(scene: Scene, rng: random.Random) -> str:
    """Another way to say a scene: synonyms, another order of words, now and then a detail less."""
    place, participle = said_place(scene.background, rng), rng.random() < 0.5
    clause = said_clause(scene, participle, rng)
    orders = [f"{clause} {place}", f"{place}, {clause}"] + ([clause] if rng.random() < 0.5 else [])
    orders += [f"a video of {clause} {place}", f"there is {clause} {place}"] if participle else []
    text = rng.choice(orders)
    if scene.style:
        frames = [frame for frame in STYLE_SAYINGS[scene.style] if participle or " of {}" not in frame]
        text = rng.choice(frames).format(text.removeprefix("a video of ").removeprefix("there is "))
    if scene.camera:
        text += rng.choice((", ", " while ", " as ")) + rng.choice(CAMERA_SAYINGS[scene.camera])
    return text


def said_clause(scene: Scene, participle: bool, rng: random.Random) -> str:
    """The scene without its background: `a disc slides to the left`, or `a disc sliding to the left`."""
    inflect = ing if participle else third
    first, *rest = scene.things
    if scene.change:
        return said_change(first, scene.change, inflect, rng)
    if scene.relation:
        link = "" if participle else "is "
        one, other = said_thing(first, rng), said_thing(rest[0], rng)
        if rng.random() < 0.5:
            return f"{other} {link}{REVERSED[scene.relation]} {one}"
        return f"{one} {link}{scene.relation} {other}"
    if scene.interaction:
        verb = " and ".join(inflect(part) for part in rng.choice(SAYINGS[scene.interaction]).split(" and "))
        return f"{said_thing(first, rng)} {verb} {said_thing(rest[0], rng)}"
    if scene.core == "count":
        number = next(word for word, count in NUMBERS.items() if count == len(scene.things))
        verb = rng.choice(SAYINGS[first.motion])
        return f"{number} {plural(said_look(first, rng))} {ing(verb) if participle else verb}{said_speed(first, rng)}"
    clauses = [
        f"{said_thing(thing, rng)} {inflect(rng.choice(SAYINGS[thing.motion]))}{said_speed(thing, rng)}"
        for thing in (scene.things if rng.random() < 0.5 else scene.things[::-1])
    ]
    return rng.choice((" and ", " while ")).join(clauses) if not participle else " and ".join(clauses)


def said_change(thing: Thing, change: Change, inflect: Callable[[str], str], rng: random.Random) -> str:
    turn, size = inflect("turn"), rng.choice((*SYNONYMS[thing.size], ""))
    if change.shape == thing.shape:
        shape = synonym(thing.shape, rng)
        colours = f"from {thing.colour} to {change.colour}"
        return rng.choice(
            (
                f"{a(f'{size} {shape}'.lstrip())} {turn} {colours}",
                f"{a(f'{size} {shape}'.lstrip())} {inflect('change')} its colour {colours}",
                f"{a(f'{size} {thing.colour} {shape}'.lstrip())} {inflect('become')} {change.colour}",
            )
        )
    before, after = synonym(thing.shape, rng), a(synonym(change.shape, rng))
    verb = rng.choice((f"{turn} into", f"{inflect('become')}", f"{inflect('change')} into"))
    return f"{a(f'{size} {thing.colour} {before}'.lstrip())} {verb} {after}"


def said_thing(thing: Thing, rng: random.Random) -> str:
    return a(said_look(thing, rng))


def said_look(thing: Thing, rng: random.Random) -> str:
    size = "" if rng.random() < 0.2 else synonym(thing.size, rng) + " "
    return f"{size}{thing.colour} {synonym(thing.shape, rng)}"


def said_speed(thing: Thing, rng: random.Random) -> str:
    return thing.speed and f" {synonym(thing.speed, rng)}"


def said_place(background: str, rng: random.Random) -> str:
    if background in SCENERY_SAYINGS:
        return rng.choice(SCENERY_SAYINGS[background])
    colour = synonym(background, rng)
    return rng.choice(
        (f"on a {colour} background", f"against a {colour} backdrop", f"over a plain {colour} background")
    )


def synonym(word: str, rng: random.Random) -> str:
    return rng.choice(SYNONYMS.get(word, (word,)))


def third(saying: str) -> str:
    """`slide to the left` to `slides to the left`."""
    verb, *rest = saying.split(" ")
    return " ".join([verb + ("es" if verb.endswith(("o", "s", "x", "sh", "ch")) else "s"), *rest])


def ing(saying: str) -> str:
    """`slide to the left` to `sliding to the left`."""
    verb, *rest = saying.split(" ")
    if re.fullmatch("[^aeiou]+[aeiou][gnpt]|zigzag", verb):
        verb += verb[-1]
    return " ".join([verb.removesuffix("e") + "ing", *rest])


REVERSED = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}
KNOWN = sorted(
    {
        word
        for phrase in [*PLACES, *SIZES, *COLOURS, *SHAPES, *map(plural, SHAPES), *MOTIONS, *map(bare, MOTIONS)]
        + [*RELATIONS, *INTERACTIONS, *NUMBERS, *SPEEDS, *BACKGROUNDS, "a an while shape thing turns from to into"]
        for word in phrase.split()
    }
)
