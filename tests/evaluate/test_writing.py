"""Scene graphs that a language model writes: what is understood, what is refused, and what is not asked twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving import Server, in_order, reply
from vitascope import cli
from vitascope.endpoint import Picture
from vitascope.errors import UserError
from vitascope.evaluate.judges import dsg
from vitascope.evaluate.judges.asking import Asking
from vitascope.evaluate.judges.writing import (
    EXAMPLES,
    TRIES,
    Unclear,
    checked,
    graph_of,
    kinds_of,
    lines_of,
    read_prompt_lines,
    to_csv,
    write_questions,
)

TUPLES = "Sure!\n1 | entity - whole (cat)\n- 2 | attribute - color (cat, red)\n`3 | action - (cat, jump)\nDone."
PARENTS = "1 | 0\n2 | 1\n3 | 1, 2"
QUESTIONS = "1 | Is there a cat?\n2 | Is the cat red?\n3 | Does the cat jump?"


class Writer:
    """Says one of its answers for each step, by how often it was asked."""

    name = "writer"

    def __init__(self, *rounds: Sequence[str]) -> None:
        self.rounds, self.asked = rounds, list[tuple[str, int]]()

    def answer(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int) -> str:
        assert not pictures and len(dialogue) == 1
        self.asked.append((dialogue[0], seed))
        step = 1 if "on which others" in dialogue[0] else 2 if "into a question" in dialogue[0] else 0
        return self.rounds[min(seed, len(self.rounds) - 1)][step]


def nothing(done: int, total: int) -> None: ...


def test_a_graph_is_written_in_three_steps_and_read_back(tmp_path: Path):
    writer, prompts = Writer((TUPLES, PARENTS, QUESTIONS)), {"0001": "a red cat, jumping"}
    written = write_questions(prompts, Asking(writer), progress=nothing)
    assert [seed for _, seed in writer.asked] == [0, 0, 0]
    assert all("Prompt: a red cat, jumping" in asked for asked, _ in writer.asked)
    assert "entity - whole (cat)" not in writer.asked[0][0] and "entity - whole (cat)" in writer.asked[2][0]
    (tmp_path / "questions.csv").write_text(to_csv(written.graphs, prompts))
    (item,) = dsg.read_questions(tmp_path / "questions.csv").values()
    assert [one.parents for one in item] == [(), ("1",), ("1", "2")] and item[2].question == "Does the cat jump?"
    assert kinds_of("attribute - color (cat, red)") == ("attribute", "color")
    assert kinds_of("action - (cat, jump)") == ("action", "") and kinds_of("???") == ("other", "")


def test_the_examples_are_graphs_themselves():
    for _, *steps in EXAMPLES:
        assert checked(*(lines_of(step) for step in steps))


@pytest.mark.parametrize(
    ("rounds", "told"),
    [
        (("no", PARENTS, QUESTIONS), "no line of the form"),
        ((TUPLES, "1 | 0\n2 | 1", QUESTIONS), "fact 3 has no dependency"),
        ((TUPLES, PARENTS, "1 | Is it?\n2 | Is it?"), "fact 3 has no question"),
        ((TUPLES, "1 | 0\n2 | 9\n3 | 0", QUESTIONS), "fact 2 cannot depend on '9'"),
        ((TUPLES, "1 | 1\n2 | 0\n3 | 0", QUESTIONS), "fact 1 cannot depend on '1'"),
        ((TUPLES, "1 | 0\n2 | 3\n3 | 2", QUESTIONS), "facts 2, 3 depend on each other in a circle"),
        ((TUPLES, "1 | cat\n2 | 0\n3 | 0", QUESTIONS), "cannot depend on 'cat'"),
        ((TUPLES + "\n1 | entity - whole (dog)", PARENTS, QUESTIONS), "two lines have one id"),
    ],
)
def test_what_is_no_graph_is_asked_for_again_and_then_listed(rounds: Sequence[str], told: str):
    writer = Writer(rounds)
    with pytest.raises(Unclear, match=told):
        graph_of("a cat", Asking(writer))
    assert {seed for _, seed in writer.asked} == set(range(TRIES))
    assert len(graph_of("a cat", Asking(Writer(rounds, (TUPLES, PARENTS, QUESTIONS))))) == 3
    written = write_questions({"x": "a cat"}, Asking(Writer(rounds)), progress=nothing)
    assert not written.graphs and told.split("'")[0] in written.skipped[0] and written.skipped[0].startswith("x: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "has no prompt"), ("a\tx\na\ty\n", "there twice"), ("a/b\tx\n", "must be a prompt"), ("a\t\n", "must be a")],
)
def test_lists_of_prompts_are_checked(text: str, told: str, tmp_path: Path):
    path = tmp_path / "prompts.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=told):
        read_prompt_lines(path)


def test_lists_of_prompts_name_items_or_number_them(tmp_path: Path):
    path = tmp_path / "prompts.txt"
    path.write_text("cat\ta red cat\n\na dog\n")
    assert read_prompt_lines(path) == {"cat": "a red cat", "0002": "a dog"}


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*texts: str) -> Server:
        servers.append(Server(in_order([reply(text) for text in texts])))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_the_command_asks_a_server_and_goes_on_where_it_was(serve: Callable[..., Server], tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("a red cat\na blue dog\n")
    server = serve(TUPLES, PARENTS, QUESTIONS, "hm", "hm", "hm", "hm", "hm", "hm", "hm", "hm", "hm")
    words = [
        "evaluate", "dsg-questions", str(tmp_path / "prompts.txt"), "--out", str(tmp_path / "q.csv"), "--judge", "m",
        "--url", server.endpoint().url, "--answers", str(tmp_path / "kept.jsonl"),
    ]  # fmt: skip
    result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert result.exit_code == 0 and "3 questions about 1 prompts" in result.output and "skipped: 0002" in result.output
    assert list(dsg.read_questions(tmp_path / "q.csv")) == ["0001"]
    asked = len(server.asked)
    CliRunner().invoke(cli.app, [*words, "--force"], catch_exceptions=False)
    assert len(server.asked) == asked
