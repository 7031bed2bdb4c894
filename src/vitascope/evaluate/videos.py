"""Where clips come from: a folder, files, or a function that makes them; each is decoded once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import UInt8
from torch import Tensor

from vitascope import media
from vitascope.evaluate.prepare import at_resolution
from vitascope.evaluate.protocol import Protocol
from vitascope.types import Clip, Request, UserError, generator_for

ENDINGS = (*media.VIDEO_ENDINGS, ".webp")
"""What a folder is searched for. A file that is named is opened whatever its ending."""


@dataclass(eq=False)
class Taken:
    """What the protocol takes of a video. Clips are decoded as they are asked for, so that a long film needs no memory.

    `unevenness`, known behind the last clip: its longest frame by its usual one, 1 at a steady rate. `caption`: what
    the file says of itself, met with the first frame.
    """

    clips: Iterator[UInt8[Tensor, "_t 3 _h _w"]] = field(default_factory=lambda: iter(()))
    unevenness: float = 1.0
    caption: str = ""
    num_read: int = 0  # frames, up to now


@dataclass(frozen=True)
class VideoFile:
    """A video that is not in memory yet. `digest` changes whenever the pixels would."""

    path: Path
    name: str
    given_caption: str | None = None

    @cached_property
    def digest(self) -> str:
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
        except OSError as error:
            raise UserError(f"'{self.path}' cannot be opened ({error.strerror}); check its permissions") from None

    @cached_property
    def caption(self) -> str:
        """As given, else as the file says."""
        if self.given_caption is not None:
            return self.given_caption
        first = next(media.read_frames(self.path), None)
        return str(first.note.get("caption", "")) if first else ""

    def take(self, protocol: Protocol) -> Taken:
        """What the protocol takes of it; UserError where there is too little, or nothing that can be read."""
        counted, start = 0, 0
        for _ in range(2):
            if protocol.clip in ("middle", "random"):
                # Counted without decoding; the few files that hold fewer frames than packets are decoded twice.
                counted = counted or media.count_frames(self.path)
                start = _start(counted, protocol, self.digest)
            taken = Taken()
            clips = self._read(start, protocol, taken)
            if (first := next(clips, None)) is not None:
                taken.clips = chain([first], clips)
                return taken
            counted = taken.num_read
            if start == 0:
                break
        raise _too_short(self.name, counted, protocol)

    def _read(self, start: int, protocol: Protocol, taken: Taken) -> Iterator[UInt8[Tensor, "_t 3 _h _w"]]:
        """Clips from frame `start` on; what else is met is noted in `taken`."""
        frames: list[UInt8[Tensor, "3 _h _w"]] = []
        times: list[float] = []
        span, caption = protocol.span, self.given_caption
        stop = None if protocol.clip == "all" else start + span
        for frame in islice(media.read_frames(self.path), stop):
            place = taken.num_read - start
            caption = str(frame.note.get("caption", "")) if caption is None else caption
            taken.caption = caption
            if place >= 0 and place % span % protocol.stride == 0:
                frames.append(frame.pixels())
            if place >= 0 and frame.seconds is not None:
                times.append(frame.seconds)
            taken.num_read += 1
            if len(frames) == protocol.frames:
                yield _stacked(frames, protocol, self.name)
                frames = []
        taken.unevenness = _unevenness(times)


@dataclass(frozen=True, eq=False)
class MadeVideo:
    """A video that `generate` makes when it is wanted. `maker` says what generates and how, weights and all."""

    request: Request
    generate: Callable[[Sequence[Request]], Sequence[Clip]]
    maker: str
    path: ClassVar[None] = None  # it is nowhere kept

    @property
    def name(self) -> str:
        return f"{self.request.prompt}-{self.request.seed}"

    @cached_property
    def digest(self) -> str:
        frames = {key: media.as_picture(value).numpy().tobytes() for key, value in self.request.frames.items()}
        wish = [self.maker, *(f"{key}={value}" for key, value in vars(self.request).items() if key != "frames"), frames]
        return hashlib.blake2b(repr(wish).encode(), digest_size=20).hexdigest()

    @property
    def caption(self) -> str:
        return self.request.prompt

    def take(self, protocol: Protocol) -> Taken:
        (clip,) = self.generate([self.request])
        frames = (clip.pixels.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        num, span = clip.num_frames, protocol.span
        if num < span:
            raise _too_short(self.name, num, protocol)
        if protocol.clip == "all":
            starts = list(range(0, num - span + 1, span))
        else:
            starts = [_start(num, protocol, self.digest)]
        clips = [_stacked(list(frames[at : at + span : protocol.stride]), protocol, self.name) for at in starts]
        return Taken(iter(clips), caption=self.caption)


Video = VideoFile | MadeVideo


def find_videos(place: Path, captions: Mapping[str, str] | None = None) -> list[VideoFile]:
    """The videos of a folder and those below it, named by their path in it without ending; or the one file."""
    if place.is_file():
        return [VideoFile(place, place.stem, (captions or {}).get(place.stem))]
    if not place.is_dir():
        raise UserError(f"'{place}' must be a folder of videos, or a video; there is nothing of that name")
    # A link to nothing is a video, too: it is told that it cannot be opened.
    paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in ENDINGS and _is_file(path))
    if not paths:
        others = sum(path.is_file() for path in place.rglob("*"))
        raise UserError(f"'{place}' holds no video ({others} other files); videos end in {', '.join(ENDINGS)}")
    names = [path.relative_to(place).with_suffix("").as_posix() for path in paths]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"'{place}' holds two videos named '{twice[0]}' with different endings; rename one of them")
    return [VideoFile(path, name, (captions or {}).get(name)) for name, path in zip(names, paths, strict=True)]


def videos_in(folder: Path) -> dict[str, Path]:
    """By name without ending, of one folder alone; of two endings that comes last in the alphabet."""
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix.lower() in ENDINGS}


def _is_file(path: Path) -> bool:
    return path.is_file() or (path.is_symlink() and not path.exists())


def read_captions(path: Path) -> dict[str, str]:
    """A file with a line for each video: its name (without ending), a tab, its caption."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the captions '{path}' cannot be read ({error}); give a text file") from None
    captions: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, tab, caption = line.partition("\t")
        if line.strip() and not (tab and caption.strip()):
            raise UserError(f"line {number} of '{path}' must be a video's name, a tab and its caption, got '{line}'")
        if line.strip():
            is_file = Path(name).suffix.lower() in ENDINGS
            captions[Path(name).with_suffix("").as_posix() if is_file else name] = caption.strip()
    return captions


def _start(num: int, protocol: Protocol, digest: str) -> int:
    """The frame at which the clip begins. A draw follows from the content, so the order of files does not matter."""
    room = max(num - protocol.span, 0)
    if protocol.clip == "middle":
        return room // 2
    if protocol.clip == "random":
        return int(torch.randint(room + 1, (), generator=generator_for(protocol.seed, "clip", digest)))
    return 0


def _unevenness(times: list[float]) -> float:
    lengths = sorted(later - earlier for earlier, later in pairwise(times))
    usual = lengths[len(lengths) // 2] if lengths else 0.0
    return lengths[-1] / usual if usual > 0 else 1.0


def _too_short(name: str, num: int, protocol: Protocol) -> UserError:
    every = "" if protocol.stride == 1 else f" (each {protocol.stride}th of {protocol.span})"
    return UserError(f"'{name}' has {num} frames and the protocol takes {protocol.frames}{every}")


def _stacked(frames: list[UInt8[Tensor, "3 _h _w"]], protocol: Protocol, name: str) -> UInt8[Tensor, "t 3 h w"]:
    if len({frame.shape for frame in frames}) > 1:
        raise UserError(f"'{name}' changes its size midway; cut it where it does")
    clip = torch.stack(frames)
    return clip if protocol.resolution is None else at_resolution(clip, protocol.resolution)
