"""Captions of real clips by a server that looks at the very pictures it is sent, and fails as servers do."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.footage import waves, write
from serving import Reply, Server, reply
from vitascope.config import override
from vitascope.engine import captions, executors
from vitascope.engine.config import Curate
from vitascope.engine.run import curate
from vitascope.engine.sources import find
from vitascope.errors import UserError
from vitascope.evaluate.judges.dsg_video import Question, questions_of

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files, each of one colour; the blue one comes with a caption that names a red thing too."""
    folder = tmp_path_factory.mktemp("raw")
    for number, colour in enumerate(COLOURS):
        frames = waves(30, seed=number) // 4
        frames[..., number] = frames[..., number] * 3 + 60
        write(folder / f"{colour}.mp4", frames)
    (folder / "blue.txt").write_text("A blue sea. A red boat is on the blue sea.\n")
    return folder


@pytest.fixture(scope="module")
def cut(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was measured and cut, so that the runs below only ask."""
    out = tmp_path_factory.mktemp("cut") / "out"
    curate(find([raw], out), out, Curate(), executors.in_process)
    return out


@pytest.fixture
def make(cut: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(cut, tmp_path / name))


def colour_of(url: str) -> str:
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
    return COLOURS[int(picture.mean((0, 1)).argmax())]


def looks(number: int, body: dict[str, Any]) -> Reply:
    """Four models: a captioner that also says 'red' of green, a summariser, one that asks, and a judge."""
    parts = body["messages"][0]["content"]
    seen, text = [colour_of(part["image_url"]["url"]) for part in parts[:-1]], parts[-1]["text"]
    if body["model"] == "captioner":
        return reply("\n".join([f"It is {seen[0]}.", *(["It is red."] if seen[0] == "green" else [])]))
    if body["model"] == "summariser":
        return reply(f"All of {text.count('It is')} say {re.findall('It is ([a-z]+)', text)[0]}.")
    if body["model"] == "judge":
        return reply("Yes." if f"there {seen[0]}?" in text else "no")
    if text.startswith("Rewrite"):
        caption, missing = re.findall("(?:Caption|Not shown): (.*)", text)
        return reply(" ".join(part for part in re.split(r"(?<=\.) ", caption) if missing not in part))
    found = re.findall(r"^(\d+)\. (.*)$", text, re.M)
    lines = [f"{number} | {word} | Is there {word}?" for number, said in found for word in COLOURS if word in said]
    return reply("\n".join(lines) or "none")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(replies: Callable[[int, dict[str, Any]], Reply] = looks) -> Server:
        servers.append(Server(replies))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def run(raw: Path, out: Path, server: Server, *changes: str, executor: executors.Executor = executors.in_process):
    settings = override(Curate(), "captions.frames", "3")
    for path in ("captions.captioner", "captions.summariser", "hallucination.asker", "hallucination.judge"):
        for name, value in {"url": server.url, "name": path.split(".")[1], "wait_seconds": "0.01"}.items():
            settings = override(settings, f"{path}.{name}", value)
        settings = override(settings, f"{path}.timeout_seconds", "0.5")
    for change in changes:
        settings = override(settings, *change.split("="))
    funnel = curate(find([raw], out), out, settings, executor, secret="hush")
    return funnel, manifest(out)


def manifest(out: Path) -> dict[str, str]:
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()
    return {Path(row["source"]).stem: row["caption"] for row in rows}


def test_clips_without_a_caption_get_one_and_none_is_asked_for_twice(
    raw: Path, make: Callable[[str], Path], serve: Callable[..., Server]
) -> None:
    server, out = serve(), make("out")
    _, said = run(raw, out, server, "captions.on=true")
    assert said == {
        "red": "It is red.", "green": "It is green. It is red.", "blue": "A blue sea. A red boat is on the blue sea.",
    }  # fmt: skip
    assert len(server.asked) == 2 and server.keys == ["Bearer hush"] * 2
    assert [part["type"] for part in server.asked[0]["messages"][0]["content"]] == ["image_url"] * 3 + ["text"]
    assert not any(b"hush" in path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert run(raw, out, server, "captions.on=true")[1] == said and len(server.asked) == 2
    assert run(raw, out, server, "captions.on=true", "captions.replace=true")[1]["blue"] == "It is blue."
    assert len(server.asked) == 3
    run(raw, out, server, "captions.on=true", "captions.prompt=Other words")
    assert len(server.asked) == 5


def test_frames_are_described_one_by_one_and_summarised(
    raw: Path, make: Callable[[str], Path], serve: Callable[..., Server]
) -> None:
    server = serve()
    _, said = run(raw, make("out"), server, "captions.on=true", "captions.by_frames=true")
    assert said["red"] == "All of 3 say red." and len(server.asked) == 2 * (3 + 1)


def test_captions_that_name_what_no_frame_shows_are_rewritten_or_dropped(
    raw: Path, make: Callable[[str], Path], serve: Callable[..., Server]
) -> None:
    """Things: red; green, red; blue, red. Sentences: 1, 2, 2. Two things are missing, in two sentences."""
    server, out, on = serve(), make("out"), ("captions.on=true", "hallucination.on=true")
    funnel, said = run(raw, out, server, *on)
    assert said == {"red": "It is red.", "green": "It is green.", "blue": "A blue sea."}
    told = funnel["captions"]
    assert told["as they came"] == {"captions": 3, "unique_things": 3, "dsg_video_i": 2 / 5, "dsg_video_s": 2 / 5}
    assert told["kept"] == {"captions": 3, "unique_things": 3, "dsg_video_i": 0.0, "dsg_video_s": 0.0}
    assert told["rewritten"] == 2
    records = json.loads((out / "records.json").read_text())["captions"].values()
    assert sorted(one["checks"][0]["dsg_video_s"] for one in records) == [0.0, 0.5, 0.5]

    asked = len(server.asked)
    funnel, said = run(raw, out, server, *on, "hallucination.rewrite=false")
    assert said == {"red": "It is red."} and funnel["pieces"]["captions: names what is not there"]["pieces"] == 2
    assert sum(count["frames"] for count in funnel["pieces"].values()) == funnel["frames"]["decoded"]
    assert len(run(raw, out, server, *on, "hallucination.most_missing=0.5")[1]) == 3
    assert len(server.asked) == asked  # a threshold asks nothing


def test_an_endpoint_that_dies_midway_costs_nothing_that_was_done(
    raw: Path, make: Callable[[str], Path], serve: Callable[..., Server]
) -> None:
    on = ("captions.on=true", "hallucination.on=true")
    whole = serve()
    expected = run(raw, make("whole"), whole, *on)
    dying, out = serve(), make("out")
    refusing = serve(lambda number, body: looks(number, body) if number <= 7 else (401, "no more", 0.0))
    with pytest.raises(UserError, match="goes on where it stopped"):
        run(raw, out, refusing, *on)
    assert run(raw, out, dying, *on) == expected
    assert len(dying.asked) == len(whole.asked) - 7
    dead = serve()
    dead.close()
    assert run(raw, out, dead, *on) == expected  # nobody is needed any more
    with pytest.raises(UserError, match="does not answer"):
        run(raw, make("none"), dead, *on)


@pytest.mark.parametrize("trouble", [(429, "slow down", 0.0), (500, "oops", 0.0), (200, "<html>", 0.0), (200, "", 0.7)])
def test_what_passes_changes_nothing_and_what_does_not_is_counted(
    raw: Path, make: Callable[[str], Path], serve: Callable[..., Server], trouble: Reply
) -> None:
    """Every second answer is bad; then all are, until the clips without one are dropped with that reason."""
    flaky = serve(lambda number, body: trouble if number % 2 else looks(number, body))
    _, said = run(raw, make("flaky"), flaky, "captions.on=true")
    assert said["red"] == "It is red." and len(flaky.asked) == 4
    broken, out = serve(lambda number, body: trouble), make("broken")
    funnel, said = run(raw, out, broken, "captions.on=true", "captions.captioner.tries=2")
    assert said.keys() == {"blue"} and funnel["pieces"]["captions: no answer came"]["pieces"] == 2
    assert funnel["captions"]["no answer"] == 2 and len(broken.asked) == 4
    assert run(raw, out, serve(), "captions.on=true")[1].keys() == set(COLOURS)


def test_a_server_that_answers_nothing_ends_the_run(
    raw: Path, make: Callable[[str], Path], serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "PATIENCE", 2)
    with pytest.raises(UserError, match="2 clips in a row got no answer"):
        run(raw, make("out"), serve(lambda number, body: (503, "", 0.0)), "captions.on=true")


def test_the_pool_says_the_same(raw: Path, make: Callable[[str], Path], serve: Callable[..., Server]) -> None:
    server, on = serve(), ("captions.on=true", "hallucination.on=true", "captions.captioner.timeout_seconds=20.0")
    here = run(raw, make("here"), server, *on)
    assert run(raw, make("pool"), server, *on, executor=executors.pool(2)) == here


def test_questions_of_another_form_and_a_judge_that_mumbles(
    raw: Path, make: Callable[[str], Path], serve: Callable[..., Server]
) -> None:
    told = "Sure!\n1 | Cat | Is there a cat?\n- 2 | a dog | A dog? |\n9 | cow | Out of range?\n2 | cat | A cat again?"
    assert questions_of(told, 2) == [
        Question(1, "cat", "Is there a cat?"), Question(2, "a dog", "A dog?"), Question(2, "cat", "A cat again?"),
    ]  # fmt: skip
    assert questions_of("None.", 1) == []
    garbage = serve(lambda number, body: reply("I would love to help"))
    funnel, _ = run(raw, make("a"), garbage, "hallucination.on=true")
    assert funnel["captions"]["no answer"] == 1  # of the one caption; clips without one have nothing to check
    mumbles = serve(lambda number, body: reply("Perhaps.") if body["model"] == "judge" else looks(number, body))
    funnel, said = run(raw, make("b"), mumbles, "hallucination.on=true")
    assert said["blue"] and funnel["captions"]["kept"]["unique_things"] == 0


def test_captions_come_from_a_table(raw: Path, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"path": str(raw / "red.mp4"), "caption": "x, y"}, {"path": str(raw / "none.mp4"), "caption": "z"}]
    (tmp_path / "t.csv").write_text("path,caption\n" + "".join(f'{row["path"]},"{row["caption"]}"\n' for row in rows))
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    for ending in ("csv", "jsonl", "parquet"):
        missing, red = find([tmp_path / f"t.{ending}"])
        assert red.captions == ("x, y",) and not red.missing and missing.missing == "is not there"
    assert {source.path.stem: source.captions for source in find([raw, tmp_path / "t.csv"])}["red"] == ("x, y",)
    (tmp_path / "bad.jsonl").write_text("[1]\n")
    with pytest.raises(UserError, match=r"no readable .* table"):
        find([tmp_path / "bad.jsonl"])


def test_a_model_without_a_name_is_told_before_anything_is_decoded(
    raw: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    out, on = tmp_path / "out", "captions.on=true"
    with pytest.raises(UserError, match=r"--set captions\.captioner\.name=MODEL"):
        run(raw, out, serve(), on, "captions.captioner.name=")
    with pytest.raises(UserError, match=r"captions\.captioner\.folder must be the folder of a model"):
        run(raw, out, serve(), on, "captions.captioner.folder=/nowhere")
    assert not (out / "work" / "measured").exists()
