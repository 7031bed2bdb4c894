"""What the bundled model can do, as a folder of videos from text and from an image."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vitascope import media
from vitascope.sample.files import Say, check_destinations, make
from vitascope.sample.loading import load
from vitascope.types import Clip, Request

PROMPTS = (
    "a small red circle moves left on a black background",
    "a large blue star spins on a beige background",
    "a small yellow heart bounces on a navy background",
    "a large cyan square moves up on a grey background",
)
GIVEN, MOVED = 1, "a large blue star moves right on a beige background"


def make_demo(folder: Path, *, force: bool, say: Say) -> None:
    """A video for each prompt, one that moves the first frame of another, and a sheet and a film of all."""
    videos = [folder / f"text-{number}.mp4" for number in range(len(PROMPTS))]
    image, moved, sheet, moving = (folder / name for name in ("image.png", "image-0.mp4", "sheet.png", "all.webp"))
    if folder.is_dir():
        check_destinations([*videos, image, moved, sheet, moving], force=force)
    model = load()
    media.make_folder(folder)
    wanted = [Request(prompt, seed=number) for number, prompt in enumerate(PROMPTS)]
    film = partial(make, model, say=say, force=force)
    clips = [film(request, path) for request, path in zip(wanted, videos, strict=True)]
    given = clips[GIVEN].pixels[0]
    media.write(Clip(given[None], caption=PROMPTS[GIVEN]), image, force=force)
    clips.append(film(Request(MOVED, {0: given}, seed=9), moved))
    media.write(Clip(media.contact_sheet(clips, columns=1)[None]), sheet, force=force)
    media.write(media.mosaic(clips, columns=len(clips)), moving, force=force)
    say(f"{sheet}: all of them in one picture; {moving}: all of them moving, side by side")
