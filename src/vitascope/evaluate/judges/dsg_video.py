"""DSG-Video: how many of the things that a caption names are in no frame of its video.

Questions come from a language model or from a table; a model that sees answers each on single frames. The smaller the
better, and it is no measure of what a caption leaves out. A thing counts once in a caption, however often it is named.
The paper does not say whether a sentence is one of a caption or the whole caption: here the former.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitascope.endpoint import Unanswered, yes_or_no
from vitascope.errors import UserError
from vitascope.evaluate.judges.dsg import read_rows

NUM_FRAMES = 8
"""Looked at, spread evenly over the clip; the paper does not give its number."""

ASK_FOR_QUESTIONS = (
    "Below are the numbered sentences of a caption of a video. Name every thing (object, person, animal, place) "
    "that they say is there, each once, with a question whether a picture shows it. Write one line for each, in "
    "this form and nothing else:\n1 | dog | Is there a dog?\nwhere the number is that of the sentence. If they "
    "name no thing, write: none"
)
ASK_FOR_AN_ANSWER = "Answer with yes or no only."

LINE = re.compile(r"^\W*(\d+)\s*\|\s*([^|]+?)\s*\|\s*([^|]+?)\s*\|?\s*$")
COLUMNS = ("item_id", "sentence", "thing", "question")

Ask = Callable[[str], str]
"""A question to its answer; Unanswered where none comes."""


@dataclass(frozen=True)
class Question:
    """Whether a picture shows a thing that a sentence names; sentences are counted from 1."""

    sentence: int
    thing: str
    question: str


@dataclass(frozen=True)
class Check:
    """One caption against its clip: the things that it names, those that no frame shows, and its sentences."""

    caption: str
    things: tuple[str, ...]
    missing: tuple[str, ...]
    unclear: tuple[str, ...]  # no frame gave a yes or a no: not among the things
    sentences: int
    wrong_sentences: int  # that name a missing thing


def check(caption: str, questions: Sequence[Question], frames: Sequence[Ask]) -> Check:
    """`frames`: for each, who answers a question about it. A thing is missing if no frame shows it."""
    first = {one.thing: one.question for one in reversed(questions)}
    shown = {thing: is_shown(question, frames) for thing, question in first.items()}
    missing = tuple(thing for thing, seen in shown.items() if seen is False)
    return Check(
        caption,
        tuple(thing for thing, seen in shown.items() if seen is not None),
        missing,
        tuple(thing for thing, seen in shown.items() if seen is None),
        len(sentences_of(caption)),
        len({one.sentence for one in questions if one.thing in missing}),
    )


def is_shown(question: str, frames: Sequence[Ask]) -> bool | None:
    """Asking stops at the first frame that shows it; None if no frame gave a yes or a no."""
    seen = None
    for ask in frames:
        answer = yes_or_no(ask(question))
        if answer == "yes":
            return True
        seen = False if answer == "no" else seen
    return seen


def write_questions(caption: str, ask: Ask, wording: str = ASK_FOR_QUESTIONS) -> list[Question]:
    """By a language model."""
    sentences = sentences_of(caption)
    numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(sentences, 1))
    return questions_of(ask(f"{wording}\n\n{numbered}"), len(sentences))


def questions_of(told: str, num_sentences: int) -> list[Question]:
    """Out of lines `sentence | thing | question`; an answer of another form is none."""
    lines = [match.groups() for line in told.splitlines() if (match := LINE.match(line))]
    found = [Question(int(number), thing.lower(), question) for number, thing, question in lines]
    found = [one for one in found if 1 <= one.sentence <= num_sentences]
    if not found and not re.match(r"\W*none\b", told.lower()):
        raise Unanswered(f"questions of another form: {told[:80]!r}")
    return found


def read_questions(path: Path) -> dict[str, list[Question]]:
    """A table of one's own with the columns item_id (the video's name), sentence, thing and question."""
    found: dict[str, list[Question]] = {}
    for number, row in enumerate(read_rows(path, COLUMNS), 2):
        item, sentence, thing, question = (row[name].strip() for name in COLUMNS)
        if not (item and thing and question and sentence.isdecimal() and int(sentence) > 0):
            raise UserError(
                f"line {number} of '{path}' must name a video, a sentence (from 1), a thing and a question, got {row}"
            )
        found.setdefault(item, []).append(Question(int(sentence), thing.lower(), question))
    return found


def sentences_of(caption: str) -> list[str]:
    return [text for text in re.split(r"(?<=[.!?])\s+", caption.strip()) if text]


def summary(checks: Sequence[Check]) -> Mapping[str, Any]:
    """Missing things by all things (i), sentences that name one by all sentences (s), and how many different things."""
    things, sentences = sum(len(one.things) for one in checks), sum(one.sentences for one in checks)
    return {
        "captions": len(checks),
        "unique_things": len({thing for one in checks for thing in one.things}),
        "dsg_video_i": sum(len(one.missing) for one in checks) / max(1, things),
        "dsg_video_s": sum(one.wrong_sentences for one in checks) / max(1, sentences),
    }
