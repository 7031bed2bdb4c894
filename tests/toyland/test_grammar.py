"""Laws of captions: what is said can be read back, paraphrases say no other thing, and misreadings are explained."""

from __future__ import annotations

import itertools
import random
import re
from functools import cache

import pytest

from vitascope import toyland
from vitascope.toyland.paraphrases import CAMERA_SAYINGS, SAYINGS, ing, third
from vitascope.toyland.sampling import WEIGHTS, draw_words, is_clear
from vitascope.toyland.scene import CAMERAS, INTERACTIONS, MOTIONS, Scene, spoken
from vitascope.types import UserError

CANONICAL = """
a small red circle moves left on a black background
a large orange heart zigzags quickly in a meadow
a small blue star circles around slowly at night
a small red circle bounces while a large white cross spins on a navy background
a large cyan square to the left of a small white diamond on a beige background
a small green ring below a large purple ring in the snow
three large yellow crosses circle around on a grey background
two small red circles stay still on a beach
a small circle turns from red to blue on a black background
a large purple shape turns from a circle into a square on a grey background
a small red circle pushes a large blue square on a black background
a small red circle bounces off a large blue square on a black background
a small red star passes behind a large blue square on a beach
a small red star moves up at night, the camera pans left
a large red star spins on a black background, as a line drawing
a large red star stays still on a black background, in black and white
a large red star grows in a meadow, the camera zooms out, as pixel art
""".strip().splitlines()


@cache
def templates(kind: str, count: int = 200) -> list[Scene]:
    """Random scenes in words, all that captions are about."""
    rng = random.Random(kind)
    return list(itertools.islice(filter(is_clear, (draw_words(rng, kind) for _ in itertools.count())), count))


def said(scene: Scene) -> tuple[object, ...]:
    change = scene.change and (scene.change.colour, scene.change.shape)
    words = scene.background, scene.relation, scene.interaction, change, scene.camera, scene.style
    return (*words, *map(spoken, scene.things))


@pytest.mark.parametrize("kind", WEIGHTS)
def test_what_is_said_can_be_read_back(kind):
    for scene in templates(kind):
        sentence = toyland.caption(scene)
        again = toyland.read(sentence)
        assert said(again) == said(scene)
        assert toyland.caption(again) == sentence


@pytest.mark.parametrize("sentence", CANONICAL)
def test_the_canonical_sentences_are_word_for_word_these(sentence):
    scene = toyland.parse(sentence)
    assert toyland.caption(scene) == sentence
    assert said(scene) == said(toyland.read(sentence))
    assert toyland.render(scene, num_frames=1, height=16, width=16).caption == sentence


def test_a_sentence_is_one_scene_and_a_generator_gives_others():
    sentence = CANONICAL[0]
    assert toyland.parse(sentence) == toyland.parse(sentence)
    drawn = {toyland.parse(sentence, random.Random(seed)) for seed in range(5)}
    assert len(drawn) == 5


def test_case_a_full_stop_and_spaces_do_not_matter():
    assert toyland.parse("  A small red  circle moves left\non a black background. ") == toyland.parse(CANONICAL[0])


@pytest.mark.parametrize("kind", WEIGHTS)
def test_every_scene_has_at_least_three_paraphrases(kind):
    for scene in templates(kind, 10):
        said = {toyland.caption(scene, random.Random(seed)) for seed in range(40)}
        assert toyland.caption(scene) in said
        assert len(said) >= 4


@pytest.mark.parametrize("kind", WEIGHTS)
def test_paraphrases_are_tidy_and_keep_the_colours(kind):
    for index, scene in enumerate(templates(kind)):
        sentence = toyland.caption(scene, random.Random(index))
        assert sentence == " ".join(sentence.split()) == sentence.strip(" ,.")
        assert "{" not in sentence
        assert not re.search(r"\ban [^aeiou]|\ba [aeiou]", sentence), sentence
        colours = {thing.colour for thing in scene.things} | ({scene.change.colour} if scene.change else set())
        assert all(re.search(rf"\b{colour}\b", sentence) for colour in colours), sentence


def test_a_relation_said_from_the_other_side_is_turned_around():
    scene = toyland.parse("a large red star to the left of a small blue ring on a black background")
    orders = set()
    for seed in range(60):
        sentence = toyland.caption(scene, random.Random(seed))
        star_first = sentence.index("red star") < sentence.index("blue")
        assert ("to the left of" in sentence) == star_first and ("to the right of" in sentence) != star_first
        orders.add(star_first)
    assert orders == {True, False}


def test_everything_that_moves_has_synonyms():
    assert set(SAYINGS) == {*MOTIONS, *INTERACTIONS}
    assert set(CAMERA_SAYINGS) == set(CAMERAS)
    assert all(len(sayings) >= 3 for sayings in (*SAYINGS.values(), *CAMERA_SAYINGS.values()))
    for motion in MOTIONS:
        assert third(SAYINGS[motion][0]) == motion
    assert [ing(verb) for verb in ("slide away", "spin", "go up", "zigzag", "stay", "shrink", "hop")] == [
        "sliding away",
        "spinning",
        "going up",
        "zigzagging",
        "staying",
        "shrinking",
        "hopping",
    ]


@pytest.mark.parametrize(
    "text, answer",
    [
        ("a small redd circle moves left on a black background", '"redd"; did you mean "red"'),
        ("a small red circel moves left on a black background", 'did you mean "circle"'),
        ("a small red circle moves left on a blak background", 'did you mean "black"'),
        ("a submarine", 'got "submarine"'),
        ("a small red circle moves left", "ends with a background"),
        ("", "ends with a background"),
        ("a red small circle moves left on a black background", "of a form that it knows"),
        ("five small red circles move left on a black background", 'got "five"'),
        ("a small circle turns from red to red on a black background", "something else"),
        ("a small red circle moves left on a black background, the camera pan left", '"the camera pans left"'),
        ("a small red circle moves left on a black background, as a drawing", '"as a line drawing"'),
    ],
)
def test_what_cannot_be_read_is_explained(text, answer):
    with pytest.raises(UserError, match=re.escape(answer)):
        toyland.parse(text)
