"""The page on which people compare videos, through a real client: nothing told, nothing lost, nothing mixed up."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

from arenas import served
from vitascope import media
from vitascope.evaluate.arena.server import ArenaServer
from vitascope.evaluate.arena.votes import Arena, Votes, check_unchanged, open_arena
from vitascope.types import Clip, UserError, generator_for

FOLDERS = ("alpine", "boreal")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        for number in range(4):
            pixels = torch.rand(3, 3, 16, 16, generator=generator_for(number, folder))
            media.write(Clip(pixels, caption=f"text {number}"), tmp_path / folder / f"{number}.mp4")
    media.write(Clip(pixels), tmp_path / "alpine" / "alone.mp4")
    return tmp_path


@pytest.fixture
def server(place: Path) -> Iterator[ArenaServer]:
    with served([place / name for name in FOLDERS], place / "votes.sqlite") as server:
        yield server


def ask(
    address: str, path: str, body: Any = None, method: str = "", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(urlsplit(address).netloc, timeout=120)
    if body is not None:
        headers = {"Content-Type": "application/json", **headers}
    try:
        connection.request(
            method or ("GET" if body is None else "POST"),
            path,
            body if isinstance(body, bytes | None) else json.dumps(body),
            {name.replace("_", "-"): value for name, value in headers.items()},
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def vote(address: str, rater: str, choice: str) -> dict[str, Any]:
    """Vote on what is shown; the next state."""
    pair = json.loads(ask(address, f"/next?rater={rater}")[2])["pair"]
    sent = {"rater": rater, "choice": choice, "arena": pair["arena"], "position": pair["position"]}
    status, _, content = ask(address, "/vote", sent)
    assert status == 200, content
    return dict(json.loads(content))


def test_a_rater_judges_each_pair_once_and_the_right_one_is_kept(server: ArenaServer, place: Path):
    for done in range(4):
        pair = json.loads(ask(server.address, "/next?rater=ann")[2])["pair"]
        shown = {side: ask(server.address, pair[side]["url"])[2] for side in ("left", "right")}
        state = vote(server.address, "ann", "left")
        last = server.votes.all()[-1]
        winner = last.first if last.score == 1 else last.second
        assert (place / winner / f"{last.name}.mp4").read_bytes() == shown["left"] != shown["right"]
        assert pair["prompt"] == f"text {last.name}" and state["done"] == done + 1
    assert state["pair"] is None and len({one.pair for one in server.votes.all()}) == 4
    assert json.loads(ask(server.address, "/next?rater=ben")[2])["done"] == 0


def test_nothing_that_the_page_gets_tells_the_folder(server: ArenaServer, place: Path):
    told = [ask(server.address, "/")[2].decode()]
    for _ in range(4):
        _, headers, content = ask(server.address, "/next?rater=ann")
        for side in ("left", "right"):
            _, video_headers, _ = ask(server.address, json.loads(content)["pair"][side]["url"], method="HEAD")
            assert not {"Last-Modified", "ETag", "Content-Disposition"} & set(video_headers)
            told += [str(video_headers)]
        told += [str(headers), content.decode()]
        vote(server.address, "ann", "same")
    for folder in FOLDERS:
        (place / folder / "0.mp4").unlink()
    key = server.arena.key
    answers = [ask(server.address, f"/video/{key}/ann/{position}/left") for position in range(4)]
    assert sorted(status for status, _, _ in answers) == [200, 200, 200, 500]
    told += [content.decode() for status, _, content in answers if status == 500]
    assert not re.search("|".join([*FOLDERS, place.name]), "".join(told))


def test_sides_and_order_are_balanced_and_follow_from_seed_and_rater(place: Path):
    arena = open_arena([place / name for name in FOLDERS])
    lefts = Counter(arena.left(f"rater {number}", pair) for number in range(250) for pair in arena.pairs)
    assert lefts["alpine"] == pytest.approx(500, abs=80)  # five standard deviations
    orders = {tuple(arena.order(f"rater {number}")) for number in range(200)}
    assert len(orders) == 24  # all of 4!
    again = Arena(arena.folders)
    assert again.order("ann") == arena.order("ann") and again.key == arena.key
    assert Arena(arena.folders, seed=1).key != arena.key
    assert arena.alone == ("alone",)


def test_the_page_asks_nobody_else(server: ArenaServer):
    _, headers, content = ask(server.address, "/")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not re.search(r"https?:|//[a-z]|@import|<link(?! rel=\"icon\" href=\"data:)", content.decode())


@contextmanager
def command() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command itself, and its address."""
    line = [sys.executable, "-m", "vitascope", "evaluate", "arena", *FOLDERS, "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(Path(media.__file__).parents[2])}  # this very code
    # Programs started in the background of a shell ignore Ctrl-C, and so would those that they start.
    heeding = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=heeding) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr.readline().split("/: ")[0]
        finally:
            process.kill()


def test_votes_survive_a_kill_and_the_rater_goes_on(place: Path):
    with command() as (process, address):
        for _ in range(3):
            before = vote(address, "ann", "right")
        process.send_signal(signal.SIGKILL)
    with command() as (process, address):
        after = json.loads(ask(address, "/next?rater=ann")[2])
        assert after == before and after["done"] == 3
        assert vote(address, "ann", "skip")["pair"] is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0 and process.stderr is not None
        said = process.stderr.read()
    assert "1 names are in one folder only" in said and "goes on after 3 votes" in said and "4 votes" in said


def test_a_vote_can_be_taken_back_and_many_raters_vote_at_once(server: ArenaServer):
    def judge(rater: str) -> None:
        for choice in ("left", "right", "same", "skip"):
            vote(server.address, rater, choice)

    threads = [threading.Thread(target=judge, args=(f"rater{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.votes.all()) == 32
    state = json.loads(ask(server.address, "/undo", {"rater": "rater3"})[2])
    assert state["done"] == 3 and state["pair"] is not None and len(server.votes.all()) == 31
    assert json.loads(ask(server.address, "/undo", {"rater": "nobody"})[2])["done"] == 0


@pytest.mark.parametrize(
    ("wanted", "status", "first", "last"),
    [
        ("bytes=0-", 206, 0, -1),
        ("bytes=10-19", 206, 10, 19),
        ("bytes=-7", 206, -7, -1),
        ("bytes=5-99999999", 206, 5, -1),
        ("bytes=99999999-", 416, 0, 0),
        ("bytes=9-3", 200, 0, -1),
        ("bytes=0-1,4-5", 200, 0, -1),
        ("lines=1-2", 200, 0, -1),
    ],
)
def test_ranges(server: ArenaServer, wanted: str, status: int, first: int, last: int):
    url = json.loads(ask(server.address, "/next?rater=ann")[2])["pair"]["left"]["url"]
    _, headers, whole = ask(server.address, url)
    assert headers["Accept-Ranges"] == "bytes" and headers["Content-Type"] == "video/mp4"
    came, headers, part = ask(server.address, url, Range=wanted)
    assert came == status
    if status == 416:
        assert headers["Content-Range"] == f"bytes */{len(whole)}" and part == b""
        return
    first, last = first % len(whole), last % len(whole)
    assert part == whole[first : last + 1]
    if status == 206:
        assert headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/absent", None, {}, 404),
        ("/../votes.sqlite", None, {}, 404),
        ("/video/KEY/ann/4/left", None, {}, 400),
        ("/video/KEY/ann/0/middle", None, {}, 404),
        ("/video/00/ann/0/left", None, {}, 409),
        ("/next", None, {}, 400),
        ("/next?rater=" + "x" * 65, None, {}, 400),
        ("/vote", {"rater": "ann", "arena": "KEY", "position": 0, "choice": "both"}, {}, 400),
        ("/vote", {"rater": "ann", "arena": "KEY", "position": -1, "choice": "left"}, {}, 400),
        ("/vote", {"rater": "ann", "arena": "KEY", "position": "0", "choice": "left"}, {}, 400),
        ("/vote", {"rater": "ann", "arena": "of another", "position": 0, "choice": "left"}, {}, 409),
        ("/vote", {"rater": 7}, {}, 400),
        ("/vote", ["left"], {}, 400),
        ("/vote", b"{", {}, 400),
        ("/vote", b" " * 20_000, {}, 413),
        ("/vote", {"rater": "ann"}, {"Content_Type": "text/plain"}, 415),
        ("/absent", {"rater": "ann"}, {}, 404),
    ],
)
def test_bad_requests_are_told_and_keep_nothing(
    server: ArenaServer, path: str, body: Any, headers: dict[str, str], status: int
):
    if isinstance(body, dict) and body.get("arena") == "KEY":
        body = {**body, "arena": server.arena.key}
    if "Content_Type" in headers:
        headers = {"Content-Type": headers["Content_Type"]}
    came, _, content = ask(server.address, path.replace("KEY", server.arena.key), body, **headers)
    assert came == status and json.loads(content)["error"]
    assert not server.votes.all()


def test_what_cannot_be_an_arena(place: Path):
    (place / "other").mkdir()
    (place / "empty").mkdir()
    media.write(Clip(torch.zeros(2, 3, 16, 16)), place / "other" / "unlike.mp4")
    for folders, part in [
        (["alpine"], "got 1"),
        (["alpine", "alpine"], "twice"),
        (["alpine", "other"], "no two of the folders"),
        (["alpine", "empty"], "holds no video"),
        (["alpine", "absent"], "nothing of that name"),
        (["alpine", "boreal/0.mp4"], "is a file"),
    ]:
        with pytest.raises(UserError, match=part):
            open_arena([place / name for name in folders])
    (place / "other" / "0.avi").write_bytes(b"")
    with pytest.raises(UserError, match="convert it to mp4"):
        open_arena([place / "alpine", place / "other"])


def test_foreign_files_are_left_as_they_are(place: Path):
    base = sqlite3.connect(place / "foreign.sqlite")
    base.execute("CREATE TABLE votes (other TEXT)")
    base.commit()
    base.close()
    (place / "text.sqlite").write_text("no database at all, but long enough to be read as one" * 20)
    for name, part in (("foreign", "something else"), ("text", "not a database"), ("absent/votes", "unable to open")):
        path = place / f"{name}.sqlite"
        before = path.read_bytes() if path.exists() else None
        with pytest.raises(UserError, match=part):
            Votes(path)
        assert (path.read_bytes() if path.exists() else None) == before


def test_a_taken_port_is_told(server: ArenaServer):
    with pytest.raises(UserError, match="is taken; choose another --port"):
        ArenaServer(server.arena, server.votes, port=server.server_address[1])
    with pytest.raises(UserError, match="0 to 65535"):
        ArenaServer(server.arena, server.votes, port=70000)


def test_votes_on_videos_that_were_replaced_are_not_mixed_with_new_ones(server: ArenaServer, place: Path):
    vote(server.address, "ann", "left")
    check_unchanged(open_arena([place / name for name in FOLDERS]), server.votes)
    name = server.votes.all()[0].name
    (place / "boreal" / f"{name}.mp4").write_bytes((place / "boreal" / f"{(int(name) + 1) % 4}.mp4").read_bytes())
    with pytest.raises(UserError, match=f"1 videos are not the ones.*boreal/{name}.mp4"):
        check_unchanged(open_arena([place / name for name in FOLDERS]), server.votes)
