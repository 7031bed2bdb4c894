"""Davidsonian Scene Graphs: yes/no questions about what a prompt says, each asked only as far as it makes sense."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from vitascope.endpoint import Unanswered, yes_or_no
from vitascope.errors import UserError
from vitascope.evaluate.judges.asking import Asking

ROOT = "0"  # the parent of a question that depends on no other


@dataclass(frozen=True)
class Proposition:
    """One question, the questions that it depends on, and the answer if there is one."""

    id: str
    question: str
    parents: tuple[str, ...] = ()
    answer: str = ""

    @property
    def is_yes(self) -> bool:
        return self.answer == "yes"


Item = Sequence[Proposition]


def score(item: Item, *, dependencies: bool = True) -> float:
    """The share of yes. A question counts as no if any parent's own answer was no; it is not handed down further."""
    own = {one.id: one.is_yes for one in item}
    right = [one.is_yes and (not dependencies or all(own.get(parent, True) for parent in one.parents)) for one in item]
    return sum(right) / len(right)


def corpus_score(items: Iterable[Item], *, dependencies: bool = True) -> float:
    """The mean over items, which count alike however many questions they have."""
    scores = [score(item, dependencies=dependencies) for item in items]
    if not scores:
        raise UserError("there is no item to score; check the file and what was chosen from it")
    return sum(scores) / len(scores)


def read_questions(path: Path) -> dict[str, list[Proposition]]:
    """The items of an annotation file of DSG-1k, by name."""
    rows = read_rows(path, ("item_id", "proposition_id", "dependency", "question_natural_language"))
    return by_item(rows, "proposition_id", "dependency", "question_natural_language")


def read_answers(path: Path, model: str) -> dict[str, list[Proposition]]:
    """The items of a file of released answers for one text-to-image model."""
    rows = read_rows(path, ("item_id", "question_id", "dependency_id", "question", "answer", "t2i_model"))
    known = sorted({row["t2i_model"] for row in rows})
    if model not in known:
        raise UserError(f"'{path}' has no answers for '{model}'; it has {', '.join(known)}")
    return by_item((row for row in rows if row["t2i_model"] == model), "question_id", "dependency_id", "question")


def read_rows(path: Path, columns: Sequence[str]) -> list[Mapping[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lines = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"'{path}' cannot be read as a table ({error}); give a csv file of DSG") from None
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing or not lines:
        raise UserError(f"'{path}' must have rows with the columns {', '.join(columns)}; missing: {', '.join(missing)}")
    for number, row in lines:
        if short := [name for name in columns if row[name] is None]:
            raise UserError(f"line {number} of '{path}' ends before its {', '.join(short)}; copy or download it again")
    return [row for _, row in lines]


def by_item(rows: Iterable[Mapping[str, str]], id: str, dependency: str, question: str) -> dict[str, list[Proposition]]:
    items: dict[str, list[Proposition]] = {}
    broken = set()
    for row in rows:
        parents = tuple(part.strip() for part in row[dependency].split(","))
        if not all(part.isdigit() for part in parents):
            broken.add(row["item_id"])
        one = Proposition(
            row[id].strip(),
            row[question],
            tuple(part for part in parents if part != ROOT),
            (row.get("answer") or "").strip().lower(),
        )
        items.setdefault(row["item_id"], []).append(one)
    # Where one cell is damaged, the official code drops all dependencies of its item.
    for name in broken:
        items[name] = [replace(one, parents=()) for one in items[name]]
    return items


def answered(item: Item, frames: Sequence[Float[Tensor, "3 _h _w"]], ask: Asking) -> list[Proposition]:
    """The item with a judge's answers; what is neither yes nor no stays open, and counts as no.

    Unanswered where a question has no answer at all, or none could be understood: that says nothing of the video.
    """
    told = []
    for one in item:
        wording = f"These are frames of one video, in order. {one.question} Answer with yes or no only."
        text = ask(frames, [wording])
        if text is None:
            raise Unanswered(f"no answer came to '{one.question}'")
        word = yes_or_no(text)
        ask.unanswered += not word
        told.append(replace(one, answer=word))
    if not any(one.answer for one in told):
        raise Unanswered("no answer could be understood")
    return told
