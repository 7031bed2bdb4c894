"""The arena as a person meets it: a real browser, its keys and its touch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from arenas import served
from browser import browser_here, opened
from vitascope import media
from vitascope.evaluate.arena.server import ArenaServer
from vitascope.types import Clip, generator_for

pytestmark = pytest.mark.skipif(browser_here() is None, reason="no Chromium here")
FOLDERS = ("alpine", "boreal")
SHOWN = "[...document.querySelectorAll('video')].map(v => new URL(v.currentSrc).pathname).join()"
READY = "!document.querySelector('[data-choice=left]').disabled"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArenaServer]:
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        for number in range(3):
            pixels = torch.rand(4, 3, 32, 32, generator=generator_for(number, folder))
            media.write(Clip(pixels, caption=f"text {number}"), tmp_path / folder / f"{number}.mp4")
    with served([tmp_path / name for name in FOLDERS], tmp_path / "votes.sqlite") as server:
        yield server


def test_a_person_votes_with_keys_and_touch_stops_and_goes_on(server: ArenaServer, tmp_path: Path):
    with opened(tmp_path / "profile") as page:
        page.open(server.address)
        page.run("document.getElementById('name').focus()")
        page.type("ann")
        page.press("Enter")
        page.wait(READY)
        page.wait("[...document.querySelectorAll('video')].every(v => !v.paused && v.readyState >= 2 && v.muted)")
        first, told = page.run(SHOWN), page.run("document.documentElement.outerHTML")

        page.press("ArrowLeft")
        page.wait(f"document.getElementById('count').textContent === '1 of 3' && {READY}")
        assert page.run(SHOWN) != first
        page.touch("[data-choice=right]")
        page.wait(f"document.getElementById('count').textContent === '2 of 3' && {READY}")
        assert [vote.choice for vote in server.votes.all()] == ["left", "right"]
        told += page.run("document.documentElement.outerHTML")

        page.press("Backspace")
        page.wait(f"document.getElementById('count').textContent === '1 of 3' && {READY}")
        assert len(server.votes.all()) == 1

        page.open(server.address)  # as after a crash: the name is remembered, and so are the votes
        assert page.run("document.getElementById('name').value") == "ann"
        page.run("document.getElementById('name').focus()")
        page.press("Enter")
        page.wait(f"document.getElementById('count').textContent === '1 of 3' && {READY}")
        page.press("ArrowDown")
        page.wait(f"document.getElementById('count').textContent === '2 of 3' && {READY}")
        page.press("s")
        page.wait("!document.getElementById('end').hidden")
        assert [vote.choice for vote in server.votes.all()] == ["left", "same", "skip"]

        assert not re.search("|".join(FOLDERS), told)
        asked = [address for address in page.asked if not address.startswith("data:")]
        assert asked and all(address.startswith(server.address) for address in asked)
        assert not page.errors


def test_a_clip_that_cannot_be_played_can_only_be_skipped(server: ArenaServer, tmp_path: Path):
    for number in range(3):
        (tmp_path / "boreal" / f"{number}.mp4").write_bytes(b"no video")
    with opened(tmp_path / "profile") as page:
        page.resize(390, 780)
        page.open(server.address)
        page.run("document.getElementById('name').focus()")
        page.type("ben")
        page.press("Enter")
        page.wait("!document.querySelector('[data-choice=skip]').disabled")
        assert page.run("document.querySelector('[data-choice=left]').disabled")
        assert "cannot be played" in page.run("document.body.innerText")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")  # it fits a phone
        page.touch("[data-choice=skip]")
        page.wait("document.getElementById('count').textContent === '1 of 3'")
        assert [vote.choice for vote in server.votes.all()] == ["skip"]
