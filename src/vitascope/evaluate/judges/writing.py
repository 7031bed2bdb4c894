"""Davidsonian Scene Graphs of one's own prompts: a language model writes tuples, dependencies and questions.

Three steps as in the paper, each shown by examples, in our words. What comes back is checked: every tuple has a
question and depends on tuples that there are, none on itself by a detour. An answer that fails is asked for again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vitascope.errors import UserError
from vitascope.evaluate.judges.asking import Asking
from vitascope.evaluate.judges.dsg import ROOT, Proposition

TRIES = 3
COLUMNS = (
    "item_id", "text", "proposition_id", "dependency", "category_broad", "category_detailed", "tuple",
    "question_natural_language",
)  # fmt: skip

EXAMPLES = (
    (
        "a red cube rolls past two sleeping dogs",
        "1 | entity - whole (cube)\n2 | entity - whole (dogs)\n3 | other - count (dogs, ==2)\n"
        "4 | attribute - color (cube, red)\n5 | attribute - state (dogs, sleeping)\n"
        "6 | action - (cube, roll)\n7 | relation - spatial (cube, dogs, past)",
        "1 | 0\n2 | 0\n3 | 2\n4 | 1\n5 | 2\n6 | 1\n7 | 1, 2",
        "1 | Is there a cube?\n2 | Are there dogs?\n3 | Are there two dogs?\n4 | Is the cube red?\n"
        "5 | Are the dogs sleeping?\n6 | Does the cube roll?\n7 | Does the cube go past the dogs?",
    ),
    (
        "watercolour of a lake at dawn",
        "1 | global - style (watercolour)\n2 | entity - whole (lake)\n3 | attribute - time (lake, dawn)",
        "1 | 0\n2 | 0\n3 | 2",
        "1 | Is it a watercolour?\n2 | Is there a lake?\n3 | Is it dawn?",
    ),
)
"""A prompt, its tuples, what depends on what, and the questions."""

TASKS = (
    "Split the prompt into the smallest facts that can be checked one by one, one a line: "
    "'id | kind - detail (words)'. Kinds are entity, attribute, action, relation, global and other.",
    "For each fact say on which others it depends, one a line: 'id | ids, separated by commas', 0 where it is on none. "
    "A fact depends on another if asking for it makes no sense unless the other holds.",
    "Turn each fact into a question that is answered by yes where the fact holds, one a line: 'id | question'.",
)


@dataclass(frozen=True)
class Fact:
    """One line of a graph: what is said, of what kind, on what it depends, and how it is asked for."""

    proposition: Proposition
    said: str
    kinds: tuple[str, str]


@dataclass(frozen=True)
class Written:
    """Graphs by item, and the prompts without one, each with its reason."""

    graphs: Mapping[str, list[Fact]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


def write_questions(prompts: Mapping[str, str], ask: Asking, *, progress: Callable[[int, int], None]) -> Written:
    """The prompts by item; answers are kept by `ask`, so that a stopped run goes on."""
    graphs, skipped = {}, []
    for number, (item, prompt) in enumerate(prompts.items(), 1):
        try:
            graphs[item] = graph_of(prompt, ask)
        except Unclear as error:
            skipped.append(f"{item}: {error}")
        progress(number, len(prompts))
    return Written(graphs, tuple(skipped))


class Unclear(Exception):
    """What a model wrote is no graph."""


def graph_of(prompt: str, ask: Asking) -> list[Fact]:
    """Each try is another seed, so that it is another answer."""
    for seed in range(TRIES):
        try:
            facts = lines_of(told(ask, 0, prompt, "", seed))
            given = "\n".join(f"{name} | {said}" for name, said in facts.items())
            parents, questions = (lines_of(told(ask, step, prompt, given, seed)) for step in (1, 2))
            return checked(facts, parents, questions)
        except Unclear:
            if seed + 1 == TRIES:
                raise
    raise Unclear("nothing was asked")


def told(ask: Asking, step: int, prompt: str, given: str, seed: int) -> str:
    """The answer of one step; all but the first are given the facts."""
    parts = [TASKS[step]]
    for text, *steps in EXAMPLES:
        parts += [f"Prompt: {text}", *([f"Facts:\n{steps[0]}"] if given else []), f"Answer:\n{steps[step]}"]
    parts += [f"Prompt: {prompt}", *([f"Facts:\n{given}"] if given else []), "Answer:"]
    answer = ask((), ["\n\n".join(parts)], seed)
    if answer is None:
        raise Unclear("no answer")
    return answer


def lines_of(text: str) -> dict[str, str]:
    """By id; lines of another form are talk around the answer."""
    found = re.findall(r"^[\s\-*`]*(\d+)\s*\|\s*(\S.*?)[\s`]*$", text, re.MULTILINE)
    if not found:
        raise Unclear(f"no line of the form 'id | ...' in {text[:40]!r}")
    if len({name for name, _ in found}) < len(found):
        raise Unclear("two lines have one id")
    return dict(found)


def checked(tuples: Mapping[str, str], parents: Mapping[str, str], questions: Mapping[str, str]) -> list[Fact]:
    for what, lines in (("dependency", parents), ("question", questions)):
        if lacking := [name for name in tuples if name not in lines]:
            raise Unclear(f"fact {lacking[0]} has no {what}")
    above = {name: parents_of(parents[name], name, tuples) for name in tuples}
    refuse_circles(above)
    return [
        Fact(Proposition(name, questions[name], above[name]), said, kinds_of(said)) for name, said in tuples.items()
    ]


def parents_of(text: str, name: str, known: Mapping[str, str]) -> tuple[str, ...]:
    parents = [part.strip() for part in text.split(",")]
    for parent in parents:
        if parent != ROOT and (parent not in known or parent == name):
            raise Unclear(f"fact {name} cannot depend on '{parent}'")
    return tuple(dict.fromkeys(parent for parent in parents if parent != ROOT))


def refuse_circles(above: Mapping[str, tuple[str, ...]]) -> None:
    """Taking away, again and again, what depends on nothing that is left must leave nothing."""
    left = dict(above)
    while free := [name for name, parents in left.items() if not set(parents) & set(left)]:
        for name in free:
            del left[name]
    if left:
        raise Unclear(f"facts {', '.join(left)} depend on each other in a circle")


def kinds_of(said: str) -> tuple[str, str]:
    """'attribute - color (cube, red)': the kind and its detail."""
    found = re.match(r"\s*(\w+)\s*(?:-\s*([\w ]*?))?\s*(?:\(|$)", said)
    return (found.group(1).lower(), (found.group(2) or "").strip()) if found else ("other", "")


def to_csv(graphs: Mapping[str, list[Fact]], prompts: Mapping[str, str]) -> str:
    """As the annotations of DSG-1k are kept, so that `read_questions` reads them."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for item, facts in graphs.items():
        for fact in facts:
            one = fact.proposition
            depends = ", ".join(one.parents) or ROOT
            rows.writerow([item, prompts[item], one.id, depends, *fact.kinds, fact.said, one.question])
    return text.getvalue()


def read_prompt_lines(path: Path) -> dict[str, str]:
    """A line for each prompt: its item, a tab and the prompt, or the prompt alone, which is numbered: 0001."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the prompts '{path}' cannot be read ({error}); give a text file") from None
    prompts: dict[str, str] = {}
    for number, line in enumerate((line for line in lines if line.strip()), 1):
        item, tab, prompt = line.partition("\t")
        item, prompt = (item.strip(), prompt.strip()) if tab else (f"{number:04d}", line.strip())
        if not item or not prompt or "/" in item:
            raise UserError(f"'{path}': '{line}' must be a prompt, or an item (a file's name), a tab and a prompt")
        if item in prompts:
            raise UserError(f"'{path}': the item '{item}' is there twice; give each another name")
        prompts[item] = prompt
    if not prompts:
        raise UserError(f"'{path}' has no prompt; give one a line")
    return prompts
