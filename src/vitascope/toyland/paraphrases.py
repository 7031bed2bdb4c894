"""Other ways to say a scene: synonyms, another order of words, now and then a detail less."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from vitascope.toyland.scene import Change, Scene, Thing

NUMBERS = {"two": 2, "three": 3, "four": 4}
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
"""Verbs in their bare form; they are inflected below."""
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
REVERSED = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
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
    """Say a scene in one of many ways."""
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


def a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x")) else "s")
