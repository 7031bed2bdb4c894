"""Captions against what their videos show: known counts, a server that sees colours, tables, and what is left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from serving import Reply, Server, reply
from vitascope import cli
from vitascope.errors import UserError
from vitascope.evaluate.judges import dsg_video
from vitascope.evaluate.judges.asking import frames_of, spread
from vitascope.evaluate.judges.dsg_video import Question, check
from vitascope.evaluate.report.reading import read_one
from vitascope.types import Clip

COLOURS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.8, 0.1)}
CAPTIONS = {"red": "There is red.", "both": "There is red. There is green. There is blue.", "none": "It goes on."}
GRAPH = (
    "1 | entity - whole (red)\n2 | attribute - size (red, large)",
    "1 | 0\n2 | 1",
    "1 | Is red there?\n2 | Is blue?",
)


def seeing(number: int, body: dict[str, Any]) -> Reply:
    """It names every colour word of a caption as a thing, and sees the colour of the one picture that it is shown."""
    content = body["messages"][-1]["content"]
    question = content[-1]["text"]
    if len(content) == 1:
        lines = [line.partition(". ") for line in question.splitlines() if line[:1].isdigit() and "|" not in line]
        named = [(at, word) for at, _, text in lines for word in ("red", "green", "blue") if word in text]
        return reply("\n".join(f"{at} | {word} | Is {word} there?" for at, word in named) or "None.")
    return reply("yes" if f"Is {colour_of(content[0])} there?" in question else "No.")


def colour_of(part: dict[str, Any]) -> str:
    import base64
    import io

    import numpy as np
    from PIL import Image

    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
    pixel = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).mean((0, 1))
    return "red" if pixel[0] > pixel[1] else "green"


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server(seeing)
    yield one
    one.close()


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()

    def still(*names: str) -> Clip:
        frames = [torch.tensor(COLOURS[name])[:, None, None].expand(3, 32, 32) for name in names for _ in range(4)]
        return Clip(torch.stack(frames))

    still("red").save(str(folder / "red.mp4"))
    still("red", "green").save(str(folder / "both.mp4"))
    still("green").save(str(folder / "none.mp4"))
    still("green").save(str(folder / "mute.mp4"))
    (folder / "torn.mp4").write_bytes(b"no video")
    (tmp_path / "captions.txt").write_text("".join(f"{name}\t{text}\n" for name, text in CAPTIONS.items()))
    return folder


def command(videos: Path, server: Server, *more: str, name: str = "dsg-video") -> list[str]:
    place = videos.parent
    return [
        "evaluate", name, str(videos), "--captions", str(place / "captions.txt"), "--judge", "judge", "--url",
        server.url, "--answers", str(place / "answers.jsonl"), "--out", str(place / "out.json"), *more,
    ]  # fmt: skip


def run(words: list[str]) -> Any:
    result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_things_and_sentences_are_counted():
    """Two sentences name the cat, which no frame shows; the dog is in the last frame; of the cow nobody is sure."""
    questions = [
        Question(1, "cat", "A cat?"), Question(1, "dog", "A dog?"), Question(2, "cat", "It?"),
        Question(3, "cow", "Cow?"),
    ]  # fmt: skip
    asked: list[str] = []

    def frame(last: bool) -> Callable[[str], str]:
        def ask(question: str) -> str:
            asked.append(question)
            return "perhaps" if "Cow" in question else "Yes!" if "dog" in question and last else "no"

        return ask

    found = check("A cat and a dog. It runs. A cow?", questions, [frame(False), frame(True)])
    assert (found.things, found.missing, found.unclear) == (("cat", "dog"), ("cat",), ("cow",))
    assert (found.sentences, found.wrong_sentences) == (3, 2) and "It?" not in asked  # a thing is asked for once
    told = dsg_video.summary([found, check("A dog.", [Question(1, "dog", "A dog?")], [frame(True)])])
    assert told == {"captions": 2, "unique_things": 2, "dsg_video_i": 1 / 3, "dsg_video_s": 2 / 4}


def test_frames_are_spread_and_not_larger_than_models_look_at():
    assert spread(9, 3) == [0, 4, 8] and spread(2, 8) == [0, 1] and spread(5, 1) == [0]
    (frame,) = frames_of(Clip(torch.zeros(1, 3, 20, 1536)), 4)
    assert frame.shape == (3, 10, 768)


def test_captions_of_a_folder_are_judged_and_nothing_is_asked_twice(videos: Path, server: Server):
    """Things: red; red, green, blue; none. Blue is missing: 1 of 4 things, 1 of 5 sentences."""
    result = run(command(videos, server, "--frames", "2"))
    report = json.loads((videos.parent / "out.json").read_text())
    one, other = (report["dimensions"][name] for name in ("dsg_video_i", "dsg_video_s"))
    assert one["value"] == pytest.approx(1 / 4) and one["n"] == 2 and other["value"] == pytest.approx(1 / 5)
    assert other["n"] == 3 and 0 <= other["interval"][0] <= 1 / 5 <= other["interval"][1] <= 1
    assert {Path(path).stem: value for path, value in one["videos"].items()} == {"both": pytest.approx(1 / 3), "red": 0}
    assert sum("mute: it has no caption" in line or "torn.mp4" in line for line in report["protocol"]["skipped"]) == 2
    assert "skipped: mute" in result.output and report["protocol"]["frames"] == 2
    lines = [json.loads(line) for line in (videos.parent / "out.captions.jsonl").read_text().splitlines()]
    assert {line["video"]: line["missing"] for line in lines} == {"both": ["blue"], "red": [], "none": []}
    read = read_one(videos.parent / "out.json")
    assert read.kind == "dsg_video" and all(measured.lower_is_better for measured in read.measured)

    asked = len(server.asked)
    run(command(videos, server, "--frames", "2", "--force"))
    assert len(server.asked) == asked and len((videos.parent / "answers.jsonl").read_text().splitlines()) == asked
    (videos.parent / "out.json").unlink()
    with pytest.raises(UserError, match=r"out\.captions\.jsonl"):
        run(command(videos, server, "--frames", "2"))


def test_a_table_asks_what_its_author_wants_and_clips_may_come_from_a_report(videos: Path, server: Server):
    table, shown = videos.parent / "table.csv", videos.parent / "shown.json"
    table.write_text("item_id,sentence,thing,question\nred,1,green,Is green there?\nboth,9,red,Is red there?\n")
    measured = ["evaluate", "videos", str(videos), "--metric", "flicker", "--set", "frames=2", "--out", str(shown)]
    run([*measured, "--captions", str(videos.parent / "captions.txt")])
    words = command(shown, server, "--questions", str(table))
    run([word for word in words if word not in ("--captions", str(videos.parent / "captions.txt"))])
    report = json.loads((videos.parent / "out.json").read_text())
    assert report["dimensions"]["dsg_video_i"]["value"] == 1 and report["dimensions"]["dsg_video_i"]["n"] == 1
    skipped = " ".join(report["protocol"]["skipped"])
    assert "both: the table of questions asks about sentence 9" in skipped and "none: the table" in skipped
    assert all(len(body["messages"][-1]["content"]) == 2 for body in server.asked)  # of pictures alone

    for text, told in (("a,b\n1,2\n", "columns"), ("item_id,sentence,thing,question\nred,0,x,y\n", "line 2")):
        table.write_text(text)
        with pytest.raises(UserError, match=told):
            dsg_video.read_questions(table)


def test_graphs_are_written_from_captions_where_there_is_no_table(videos: Path):
    """Each of three captions becomes a graph of two questions, and only the first is answered by yes."""

    def answer(number: int, body: dict[str, Any]) -> Reply:
        content = body["messages"][-1]["content"]
        text = content[-1]["text"]
        if len(content) > 1:
            return reply("yes" if "red there" in text else "no")
        steps = {"Split the prompt": 0, "For each fact": 1, "Turn each fact": 2}
        return reply(next(GRAPH[step] for words, step in steps.items() if text.startswith(words)))

    server = Server(answer)
    run(command(videos, server, name="dsg"))
    report = json.loads((videos.parent / "out.json").read_text())
    one = report["dimensions"]["dsg"]
    assert one["value"] == pytest.approx(0.5) and one["n"] == 3
    assert any(line.startswith("mute: it has no caption") for line in report["protocol"]["skipped"])
    asked = len(server.asked)
    run(command(videos, server, "--force", name="dsg"))
    assert len(server.asked) == asked
    server.close()


def test_a_writer_of_its_own_may_be_another_model(videos: Path, server: Server):
    run(command(videos, server, "--asker", "writer", "--frames", "1"))
    by_model = {body["model"]: len(body["messages"][-1]["content"]) for body in server.asked}
    assert by_model == {"writer": 1, "judge": 2}
    assert json.loads((videos.parent / "out.json").read_text())["protocol"]["questions"].startswith("by writer")


def test_a_judge_that_is_not_there_stops_the_run(videos: Path, server: Server, monkeypatch: pytest.MonkeyPatch):
    import time

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    server.close()
    with pytest.raises(UserError, match="start the server"):
        run(command(videos, server))
