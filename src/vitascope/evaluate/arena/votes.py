"""Which videos people are shown side by side, blind, and the file that keeps what they said."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Literal

import torch

from vitascope.evaluate.videos import VideoFile, find_videos
from vitascope.types import UserError, generator_for

Side = Literal["left", "right"]
CHOICES = ("left", "right", "same", "skip")
"""What a person may say of two videos. Skipped ones are kept, so that they do not come again, and count for nothing."""
CONTENT_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".mkv": "video/webm",
    ".ogv": "video/ogg", ".gif": "image/gif", ".webp": "image/webp",
}  # fmt: skip
"""What browsers play. They tell containers by content: mov and mkv play under their cousins' types only."""


@dataclass(frozen=True)
class Pair:
    """Two videos of one name. `first` stands before `second` in the alphabet, whoever was shown on which side."""

    name: str
    first: str
    second: str


@dataclass(frozen=True)
class Vote:
    """What one person said of one pair. The digests are of the videos that were seen."""

    rater: str
    name: str
    first: str
    second: str
    left: str
    choice: str
    at: str
    first_digest: str
    second_digest: str

    @property
    def pair(self) -> Pair:
        return Pair(self.name, self.first, self.second)

    @property
    def score(self) -> int | None:
        """1 for the first, -1 for the second, 0 for neither; None if skipped."""
        if self.choice in ("same", "skip"):
            return 0 if self.choice == "same" else None
        return 1 if (self.choice == "left") == (self.left == self.first) else -1


@dataclass(frozen=True, eq=False)
class Arena:
    """Folders by label, in each its videos by name, and how pairs of them are shown to a rater.

    Order and sides follow from the seed and the rater: each rater has another order, and a side that people favour
    favours no folder.
    """

    folders: Mapping[str, Mapping[str, VideoFile]]
    seed: int = 0

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        names = sorted({name for videos in self.folders.values() for name in videos})
        return tuple(
            Pair(name, first, second)
            for name in names
            for first, second in combinations(sorted(self.folders), 2)
            if name in self.folders[first] and name in self.folders[second]
        )

    @cached_property
    def alone(self) -> tuple[str, ...]:
        """Names that only one folder has."""
        counts = Counter(name for videos in self.folders.values() for name in videos)
        return tuple(sorted(name for name, count in counts.items() if count == 1))

    @cached_property
    def key(self) -> str:
        """Of all that a position in a rater's order follows from: a page left open from another arena is noticed."""
        told = repr((self.seed, [astuple(pair) for pair in self.pairs]))
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()

    def order(self, rater: str) -> list[Pair]:
        drawn = torch.randperm(len(self.pairs), generator=generator_for(self.seed, "order", rater))
        return [self.pairs[place] for place in drawn.tolist()]

    def left(self, rater: str, pair: Pair) -> str:
        turned = torch.randint(2, (), generator=generator_for(self.seed, "side", rater, *astuple(pair)))
        return pair.second if turned else pair.first

    def video(self, rater: str, pair: Pair, side: Side) -> VideoFile:
        left = self.left(rater, pair)
        other = pair.second if left == pair.first else pair.first
        return self.folders[left if side == "left" else other][pair.name]

    def prompt(self, pair: Pair) -> str:
        """The caption if the two videos do not contradict each other, else their name."""
        captions = set()
        for label in (pair.first, pair.second):
            try:
                captions.add(self.folders[label][pair.name].caption.strip())
            except UserError:  # damaged: the page says so in its place
                continue
        captions -= {""}
        return captions.pop() if len(captions) == 1 else pair.name

    def vote(self, rater: str, pair: Pair, choice: str) -> Vote:
        one, other = (self.folders[label][pair.name] for label in (pair.first, pair.second))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Vote(
            rater, pair.name, pair.first, pair.second, self.left(rater, pair), choice, now, one.digest, other.digest
        )


def open_arena(places: Sequence[Path], seed: int = 0, captions: dict[str, str] | None = None) -> Arena:
    """Folders are called by their names, or by their paths where two names are alike."""
    if len(places) < 2:
        raise UserError(f"an arena needs two folders of videos or more, got {len(places)}")
    for place in places:
        if place.is_file():
            raise UserError(f"'{place}' is a file; give the folders in which videos of the same names lie")
    if len({place.resolve() for place in places}) < len(places):
        raise UserError("the same folder was given twice; give one folder for each model")
    names = [place.resolve().name for place in places]
    labels = names if len(set(names)) == len(names) else [str(place) for place in places]
    folders = {
        label: {video.name: video for video in find_videos(place, captions)}
        for label, place in zip(labels, places, strict=True)
    }
    for videos in folders.values():
        for video in videos.values():
            if video.path.suffix.lower() not in CONTENT_TYPES:
                raise UserError(
                    f"browsers do not play '{video.path}'; convert it to mp4 (they play {', '.join(CONTENT_TYPES)})"
                )
    arena = Arena(folders, seed)
    if not arena.pairs:
        examples = " and ".join(f"'{next(iter(videos))}'" for videos in list(folders.values())[:2])
        raise UserError(
            f"no two of the folders hold videos of one name (such as {examples}); videos of one prompt need one name"
        )
    return arena


class Votes:
    """All votes in one file. Each is on the disk before the page hears that it was taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()  # the server answers each request in a thread of its own
        try:
            self._base = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            # Asked before anything is written, so that a foreign file stays as it is.
            (mark,) = self._base.execute("PRAGMA application_id").fetchone()
            (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if mark != MARK and (mark or tables):
                raise UserError(f"'{path}' is a database of something else; choose another --votes")
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute(f"PRAGMA application_id={MARK}")
            columns = ", ".join(f'"{name}" TEXT NOT NULL' for name in COLUMNS)
            self._base.execute(
                f"CREATE TABLE IF NOT EXISTS votes ({columns}, PRIMARY KEY (rater, name, first, second))"
            )
        except sqlite3.Error as error:
            raise UserError(f"'{path}' cannot keep votes ({error}); choose another file") from None

    def put(self, vote: Vote) -> None:
        """Keep a vote; it takes the place of an earlier one of the same rater on the same pair."""
        places = ", ".join("?" * len(COLUMNS))
        with self._lock:
            self._base.execute(f"INSERT OR REPLACE INTO votes VALUES ({places})", astuple(vote))

    def take_back(self, rater: str) -> None:
        """Forget the rater's last vote, if there is one."""
        with self._lock:
            self._base.execute(
                "DELETE FROM votes WHERE rowid = (SELECT max(rowid) FROM votes WHERE rater = ?)", (rater,)
            )

    def done(self, rater: str) -> set[Pair]:
        with self._lock:
            rows = self._base.execute("SELECT name, first, second FROM votes WHERE rater = ?", (rater,)).fetchall()
        return {Pair(*row) for row in rows}

    def all(self) -> list[Vote]:
        """In the order in which they were given."""
        with self._lock:
            rows = self._base.execute("SELECT * FROM votes ORDER BY rowid").fetchall()
        return [Vote(*row) for row in rows]

    def close(self) -> None:
        with self._lock:
            self._base.close()


def check_unchanged(arena: Arena, votes: Votes) -> None:
    """Refuse to go on where videos have been replaced since they were judged."""
    changed = set()
    for vote in votes.all():
        for label, digest in ((vote.first, vote.first_digest), (vote.second, vote.second_digest)):
            video = arena.folders.get(label, {}).get(vote.name)
            if video is not None and video.digest != digest:
                changed.add(str(video.path))
    if changed:
        raise UserError(
            f"{len(changed)} videos are not the ones that '{votes.path}' holds votes on, such as '{min(changed)}'; "
            "put them back, or start with other --votes"
        )


COLUMNS = tuple(field.name for field in fields(Vote))
MARK = 0x76737631
"""SQLite's application id of a file of votes."""
