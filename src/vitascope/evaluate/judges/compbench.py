"""T2V-CompBench's seven categories, second version, asked of any vision-language model: its grades and formulas.

The wording of the questions is ours. Four categories are meant for such a model; spatial relationships, motion and
numeracy are officially measured by detectors and trackers, so that a model's answers there say something else: each
category lists what departs. There is no official total.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.config import nearest
from vitascope.errors import UserError
from vitascope.evaluate.judges.asking import Asking
from vitascope.types import Clip

Record = Mapping[str, Any]
Frames = Float[Tensor, "n 3 h w"]

NUM_FRAMES, NUM_IN_GRID, NUM_SINGLE = 16, 6, 8
SEEDS = (0, 1, 2)
WAYS = ("left", "right", "up", "down")
ABSENT = "it is not there"
MOST_FIT = 0.65  # of the middle frames: at or below it a change does not count

WORDING = "the wording of the questions"
DETECTED = "a vision-language model looks; officially detectors and trackers measure"

PAIRS = "AA AB BB AC BC AD BD AE BE CC CD DD CE DE EE".split()
PHRASE_SCORES = {pair: 15 - place for place, pair in enumerate(PAIRS)}
STATES = {"A": 1.0, "B": 0.8, "C": 0.2, "D": 0.0}
ACTIONS = {"AA": 10, "AB": 9, "AC": 8, "BB": 7, "BC": 6, "CC": 5}
ONE_ACTION = {"A": 4, "B": 3, "C": 2}


@dataclass(frozen=True)
class Category:
    """What a record must tell and how, how a clip is scored (None: no understandable answer), and what departs."""

    fields: tuple[str, ...]
    score: Callable[[Record, Frames, Asking], float | None]
    departures: tuple[str, ...] = (WORDING,)
    check: Callable[[Record], object] = lambda record: texts(record, "prompt")


def read_records(text: str, category: str, source: str) -> list[Record]:
    """The official `meta_data/CATEGORY.json`, each record with what its category needs."""
    fields = one_category(category).fields
    try:
        records = json.loads(text)
    except ValueError as error:
        raise UserError(f"'{source}' is no JSON ({error}); give meta_data/{category}.json of T2V-CompBench") from None
    if not isinstance(records, list) or not records:
        raise UserError(f"'{source}' must be a list of records, got {text[:40]!r}")
    for number, record in enumerate(records, 1):
        missing = [name for name in ("prompt", *fields) if not (isinstance(record, dict) and record.get(name))]
        if missing:
            raise UserError(
                f"'{source}': record {number} of {category} lacks {', '.join(missing)}; got {str(record)[:80]}"
            )
        try:
            one_category(category).check(record)
        except UserError as error:
            raise UserError(f"'{source}': record {number} of {category}: {error}") from None
    return records


def texts(record: Record, *names: str) -> None:
    for name in names:
        if not isinstance(record[name], str):
            raise UserError(f"{name} must be text, got {record[name]!r}")


def check_motion(record: Record) -> None:
    texts(record, "object_1", "d_1")
    for name in ("d_1", "d_2"):
        if record.get(name) and str(record[name]).strip().lower() not in WAYS:
            raise UserError(f"{name} must be one of {', '.join(WAYS)}, got {record[name]!r}")


def check_actions(record: Record) -> None:
    for name in ("phrase_0", "phrase_1"):
        pair = record[name]
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise UserError(f"{name} must be a thing and what it does, [text, text], got {pair!r}")


def one_category(name: str) -> Category:
    if name not in CATEGORIES:
        raise UserError(f"there is no category '{name}'; {nearest(name, list(CATEGORIES))}")
    return CATEGORIES[name]


# What is shown.


def spread(clip: Clip, num: int) -> Frames:
    """Evenly over the clip, its first and last frame included."""
    return clip.pixels[torch.linspace(0, clip.num_frames - 1, num).round().long()]


def grid(frames: Frames) -> Float[Tensor, "3 height width"]:
    """Six of the frames, three rows of two."""
    chosen = frames[torch.linspace(0, len(frames) - 1, NUM_IN_GRID).round().long()]
    rows = [torch.cat([*pair], -1) for pair in chosen.split(2)]
    return torch.cat(rows, -2)


# What is asked. Each question offers letters, so that answers can be understood.

GRID = "The picture arranges frames of one video in a grid, in order from left to right and top to bottom. "
DESCRIBE = GRID + "Describe in at most 20 words what is seen and what it does."


def choose(question: str, *options: str) -> str:
    listed = "\n".join(f"{letter}: {option}" for letter, option in zip("ABCDEF", options, strict=False))
    return f"{question}\n{listed}\nAnswer with the letter only."


def letter_of(text: str | None, letters: str) -> str | None:
    """The letter that an answer chooses: the first one that stands alone, or after 'answer'."""
    if text is None:
        return None
    found = re.search(rf"(?i:answer|choice|option)\W{{0,6}}(?:is\W{{0,4}})?([{letters}])\b", text)
    found = found or re.search(rf"(?<![A-Za-z'])([{letters}])(?![A-Za-z'])", text)
    return found.group(1) if found else None


def graded(ask: Asking, picture: Float[Tensor, "3 h w"], question: str, letters: str, seed: int) -> str | None:
    """First a description, then the choice, as the benchmark does."""
    described = ask([picture], [DESCRIBE], seed)
    if described is None:
        return None
    answer = ask([picture], [DESCRIBE, described, question], seed)
    return understood(ask, answer, letters)


def mean_of(scores: Sequence[float | None]) -> float | None:
    """Over those that were understood; the others are counted by the asking."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


# The categories.


def consistent_attributes(record: Record, frames: Frames, ask: Asking) -> float | None:
    phrases = [part.strip() for part in record["phrases"].split(";")]
    picture = grid(frames)

    def once(seed: int) -> float | None:
        grades = []
        for phrase in phrases:
            question = choose(
                f"How does '{phrase}' appear in the frames?", "correct in all frames", "correct in some frames",
                "partly correct, or correct and wrong in turns", "present, but wrong", "absent",
            )  # fmt: skip
            grades.append(graded(ask, picture, question, "ABCDE", seed))
        known = [grade for grade in grades if grade is not None]
        if len(known) < len(grades):
            return None
        pairs = ["".join(sorted(pair)) for pair in itertools.combinations(known, 2)] or [known[0] * 2]
        return sum((PHRASE_SCORES[pair] - 1) / 14 for pair in pairs) / len(pairs)

    return mean_of([once(seed) for seed in SEEDS])


def dynamic_attributes(record: Record, frames: Frames, ask: Asking) -> float | None:
    single = frames[torch.linspace(0, len(frames) - 1, NUM_SINGLE).round().long()]

    def state(picture: Float[Tensor, "3 h w"], which: str) -> float | None:
        question = choose(
            f"How well does the picture show '{record[which]}'?", "fully", "mostly", "hardly", "not at all"
        )  # fmt: skip
        letter = understood(ask, ask([picture], [question]), "ABCD")
        return None if letter is None else STATES[letter]

    ends = [state(picture, which) for picture in (single[0], single[-1]) for which in ("state 0", "state 1")]
    if any(end is None for end in ends):
        return None
    first0, first1, last0, last1 = (end or 0.0 for end in ends)
    question = choose(
        f"Does the picture show '{record['state 0']}', '{record['state 1']}', or a moment between the two?",
        "yes", "no",
    )  # fmt: skip
    middle = [understood(ask, ask([picture], [question]), "AB") for picture in single[1:-1]]
    fits = [letter == "A" for letter in middle if letter is not None]
    if not fits:
        return None
    return (first0 * (1 - first1)) * ((1 - last0) * last1) * (sum(fits) / len(fits) > MOST_FIT)


def actions(record: Record, frames: Frames, ask: Asking) -> float | None:
    phrases = [[part.rstrip("?") for part in record[name]] for name in ("phrase_0", "phrase_1")]
    picture = grid(frames)

    def once(seed: int) -> float | None:
        there, done = [], []
        for thing, action in phrases:
            there.append(graded(ask, picture, choose(f"Is there {thing}?", "yes", "no"), "AB", seed))
            question = choose(f"Is it so that {action}?", "yes, clearly", "partly or unclearly", "no")
            done.append(graded(ask, picture, question, "ABC", seed))
        if None in there or None in done:
            return None
        present = [grade for grade, seen in zip(done, there, strict=True) if seen == "A" and grade is not None]
        points = {2: lambda: ACTIONS["".join(sorted(present))], 1: lambda: ONE_ACTION[present[0]], 0: lambda: 1}
        return (points[len(present)]() - 1) / 9

    return mean_of([once(seed) for seed in SEEDS])


def interactions(record: Record, frames: Frames, ask: Asking) -> float | None:
    picture, prompt = grid(frames), record["prompt"]
    presence = choose(
        f"'{prompt}': are the things that interact in the video?", "all, clearly", "all, but some of them unclear",
        "some are missing", "none is there",
    )  # fmt: skip
    depicted = choose(
        f"'{prompt}': how well does the video show the interaction?", "fully", "mostly", "half", "hardly", "not at all"
    )

    def once(seed: int) -> float | None:
        there, grade = (
            graded(ask, picture, question, letters, seed)
            for question, letters in ((presence, "ABCD"), (depicted, "ABCDE"))
        )
        if there is None or grade is None:
            return None
        is_shown = grade in "ABC"
        points = {"A": 10 - "ABCDE".index(grade), "B": 5 if is_shown else 3, "C": 4 if is_shown else 2, "D": 1}
        return (points[there] - 1) / 9

    return mean_of([once(seed) for seed in SEEDS])


def spatial_relations(record: Record, frames: Frames, ask: Asking) -> float | None:
    """Frame by frame: nothing there 0, one thing 0.2, a wrong relation 0.4, the right one 1."""
    one, other, where = record["object_1"], record["object_2"], record["spatial"].strip()
    question = choose(
        f"Look for {one} and {other}.", f"both are there, and {one} is {SIDES.get(where, where)} {other}",
        "both are there, but not so", "only one of them is there", "neither is there",
    )  # fmt: skip
    letters = [understood(ask, ask([frame], [question]), "ABCD") for frame in frames]
    return mean_of([None if letter is None else {"A": 1.0, "B": 0.4, "C": 0.2, "D": 0.0}[letter] for letter in letters])


def motions(record: Record, frames: Frames, ask: Asking) -> float | None:
    """Nothing detected 0; else 0.2 and 0.8 for the share of things that move the right way."""
    pairs = [(record[f"object_{n}"], record[f"d_{n}"]) for n in (1, 2) if record.get(f"object_{n}")]
    told: list[tuple[str, str]] = []
    for thing, way in pairs:
        question = GRID + choose(f"Which way does {thing} move?", *WAYS, "it stays where it is", ABSENT)
        letter = understood(ask, ask([grid(frames)], [question]), "ABCDEF")
        if letter is not None:
            told.append(((*WAYS, "", ABSENT)["ABCDEF".index(letter)], way.strip().lower()))
    if not told:
        return None
    if all(said == ABSENT for said, _ in told):
        return 0.0
    return 0.2 + 0.8 * sum(said == way for said, way in told) / len(told)


def numeracy(record: Record, frames: Frames, ask: Asking) -> float | None:
    """The share of kinds of things that are there in exactly the right number, frame by frame."""
    scores: list[float | None] = []
    for frame in frames:
        for thing, number in wanted(record):
            text = ask([frame], [f"How many of these are in the picture: {thing}? Answer with a number only."])
            counted = number_in(text or "")
            if text is not None and counted is None:
                ask.unanswered += 1
            scores.append(None if counted is None else float(counted == number))
    return mean_of(scores)


def number_in(text: str) -> int | None:
    """The first number that an answer names, in digits or as a word."""
    found = re.search(rf"\b(?:(\d+)|({'|'.join(NUMBERS)}))\b", text.lower())
    if found is None:
        return None
    return int(found.group(1)) if found.group(1) else max(NUMBERS.index(found.group(2)) - 1, 0)


def wanted(record: Record) -> list[tuple[str, int]]:
    things, numbers = ([part.strip() for part in str(record[name]).split(",")] for name in ("objects", "numbers"))
    if len(things) != len(numbers) or not all(number.isdigit() for number in numbers):
        raise UserError(
            f"objects and numbers must be lists of one length, got {record['objects']!r}, {record['numbers']!r}"
        )
    return [(thing, int(number)) for thing, number in zip(things, numbers, strict=True)]


def understood(ask: Asking, text: str | None, letters: str) -> str | None:
    letter = letter_of(text, letters)
    if text is not None and letter is None:
        ask.unanswered += 1
    return letter


NUMBERS = "none zero one two three four five six seven eight nine ten eleven twelve".split()

SIDES = {"left": "to the left of", "right": "to the right of"}
"""Relations that the benchmark's records give as half a phrase."""

CATEGORIES: dict[str, Category] = {
    "consistent_attribute_binding": Category(
        ("phrases",), consistent_attributes, check=lambda record: texts(record, "phrases")
    ),
    "dynamic_attribute_binding": Category(
        ("state 0", "state 1"), dynamic_attributes, check=lambda record: texts(record, "state 0", "state 1")
    ),
    "spatial_relationships": Category(
        ("spatial", "object_1", "object_2"),
        spatial_relations,
        (WORDING, DETECTED),
        lambda record: texts(record, "spatial", "object_1", "object_2"),
    ),
    "motion_binding": Category(("object_1", "d_1"), motions, (WORDING, DETECTED), check_motion),
    "action_binding": Category(("phrase_0", "phrase_1"), actions, check=check_actions),
    "object_interactions": Category((), interactions),
    "generative_numeracy": Category(("objects", "numbers"), numeracy, (WORDING, DETECTED), wanted),
}
