"""Requests to files, as the command line asks for them: all is checked before work begins, and no sampling is lost."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from rich.console import Console
from rich.progress import Progress as Bar
from torch import Tensor

from vitascope import media
from vitascope.sample.latents import StepCallback
from vitascope.sample.legal import MOST_FRAMES, wished_length
from vitascope.sample.model import Model, Source
from vitascope.types import Clip, Request, UserError

Say = Callable[[str], None]
Wanted = Sequence[tuple[Request, Path]]


def read_prompts(path: Path) -> list[str]:
    """The lines of a file that are not blank."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows begins a file with a mark, which is no text
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is no readable text file ({error}); give one prompt on each line") from None
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise UserError(f"'{path}' has no prompts; give one on each line")
    return prompts


def from_lines(request: Request, prompts: Path, folder: Path, num: int) -> Wanted:
    """`request` for each prompt of a file, numbered, in `folder`."""
    named = ((folder / f"{line:04d}.mp4", prompt) for line, prompt in enumerate(read_prompts(prompts)))
    return [one for path, prompt in named for one in numbered(replace(request, prompt=prompt), path, num)]


def numbered(request: Request, path: Path, num: int) -> Wanted:
    """`num` requests with seeds counted up, and a file for each."""
    if num == 1:
        return [(request, path)]
    return [(replace(request, seed=request.seed + k), path.with_stem(f"{path.stem}-{k:03d}")) for k in range(num)]


def latents_beside(path: Path) -> Path:
    return path.with_suffix(".latents.safetensors")


def preview_beside(path: Path) -> Path:
    return path.with_suffix(".preview.png")


def check_destinations(paths: Iterable[Path], *, force: bool, preview: bool = False) -> None:
    """Refuse to replace a video, a preview, or latents that an interrupted run left to be decoded."""
    for path in paths:
        media.check_destination(path, force=force)
        if preview:
            media.check_free(preview_beside(path), force=force)
        kept = latents_beside(path)
        if kept.exists() and not force:
            raise UserError(
                f"'{kept}' holds finished work of an interrupted run: finish it ({decode_command(kept, path)}), "
                "or pass --force to replace it"
            )


def decode_command(latents: Path, path: Path, source: Source | None = None) -> str:
    """What to type to have the video of latents that were kept, by the model that made them where it is known."""
    one = source or Source()
    said = {"--model": one.model, "--revision": one.revision, "--dtype": one.dtype, "--offload": one.offload}
    words = ["vitascope"]
    for file in one.code:
        words += ["--code", file]
    words += ["decode", str(latents), "--out", str(path)]
    for option, value in (*said.items(), *(("--lora", lora) for lora in one.loras)):
        words += [] if value is None else [option, value]
    return shlex.join(words)


def known_frames(
    model: Model, request: Request, image: Path | None, video: Path | None, num: int | None, last: Path | None, say: Say
) -> dict[int, Float[Tensor, "3 h w"]]:
    """Known pictures by frame number: a first one, the last `num` of a video or all of one to work over, a last one."""
    known: dict[int, Tensor] = {}
    if video is not None:
        fps, size = model.rate_and_size(request)
        frames = (
            first_frames(video, request, fps, size, model.reworked_frames, say)
            if num is None and model.reworked_frames
            else last_frames(video, num, fps, size, say)
        )
        known |= dict(enumerate(frames))
    if image is not None:
        known[0] = media.read_image(image)
    if last is not None:
        known[-1] = media.read_image(last)
    return known


def last_frames(path: Path, num: int | None, fps: float, size: tuple[int, int], say: Say) -> Float[Tensor, "n 3 h w"]:
    """The last `num` frames of a video as if it had been taken at `fps`; None: four, or what there is."""
    asked = 4 if num is None else num
    if not 1 <= asked <= MOST_FRAMES:
        raise UserError(f"--frames must be from 1 to {MOST_FRAMES}, got {asked}")
    clip = media.read_end(path, (asked - 1) / fps, size)
    behind = [round(k * clip.fps / fps) for k in range(asked)]  # so many frames before the last
    most = sum(k < clip.num_frames for k in behind)
    if num is None and most < asked:
        say(f"note: '{path}' is shorter than {asked} frames: the new video goes on from {most}")
        behind = behind[:most]
    if behind[-1] >= clip.num_frames:
        raise UserError(
            f"'{path}' has {clip.num_frames} frames and --frames asks for {num} "
            f"({behind[-1] + 1} of its own, at {clip.fps:g} fps); ask for at most {most}"
        )
    if behind != list(range(len(behind))):
        rates = f"'{path}' has {clip.fps:g} fps and the new video {fps:g}"
        say(f"note: {rates}: some of its frames are {'skipped' if clip.fps > fps else 'shown more than once'}")
    return clip.pixels[[clip.num_frames - 1 - k for k in reversed(behind)]]


def first_frames(
    path: Path, request: Request, fps: float, size: tuple[int, int], own: int, say: Say
) -> Float[Tensor, "n 3 h w"]:
    """A video from its beginning, as long as is asked for or else `own` frames at most, as if taken at `fps`."""
    asked = request.num_frames is not None or request.seconds is not None
    wished = wished_length(request, fps, own)[0]
    rate = media.read_video(path, num_frames=1, size=size).fps
    longest = math.ceil((wished + 1) * rate / fps)  # one more, to tell whether there is more
    clip = media.read_video(path, num_frames=longest, size=size)  # and not the hours that may follow
    there = max(int(clip.seconds * fps + 1e-6), 1)
    if asked and wished > there + 0.5:
        raise UserError(
            f"'{path}' has {there} frames at {fps:g} fps and {wished:g} were asked for; ask for at most {there}"
        )
    if not asked and there > wished:
        say(f"note: of '{path}' the first {own} frames are taken, as the model was made for; --num-frames takes more")
    taken = max(round(min(wished, there)), 1)
    return clip.pixels[[min(int(k * clip.fps / fps + 1e-6), clip.num_frames - 1) for k in range(taken)]]


def differences(model: Model, settings: Mapping[str, Any], request: Request, path: Path) -> list[str]:
    """Why `model` would not make the video of a file by itself, in words."""
    rules = [f"'{path}' was made with {departure}: the file's is used" for departure in model.departures(request)]
    kept, here = settings.get("hub") or {}, model.sampling
    rules += [
        f"'{path}' was made with {name} {kept[name]}, and this is with {here[name]}: the video is another"
        for name in ("dtype", "device")
        if kept.get(name) and name in here and kept[name] != here[name]
    ]
    if settings["model"] == model.identity:
        return rules
    return [f"'{path}' was made by another model; with this one the video is another", *rules]


def make_all(model: Model, wanted: Wanted, *, say: Say, force: bool, preview: bool = False) -> None:
    """A file for each request. What is wrong with any of them is said before the first is begun."""
    if preview and not model.has_previews:
        raise UserError("--preview is for models of ours: each family of others keeps latents in its own order")
    for request, _ in wanted:
        try:
            model.notes(request)
        except UserError as error:
            if len(wanted) == 1:
                raise
            raise UserError(f"'{request.prompt[:40]}': {error}") from error
    for folder in {path.parent for _, path in wanted}:
        media.make_folder(folder)
    for request, path in wanted:
        make(model, request, path, say=say, force=force, preview=preview)


def make(
    model: Model,
    request: Request,
    path: Path,
    *,
    say: Say,
    force: bool,
    preview: bool = False,
) -> Clip:
    """Sample, keep the latents until the video is written, write it, and say what came of it."""
    check_destinations([path], force=force, preview=preview)
    for note in model.notes(request):
        say(f"note: {note}")
    begun, latents = time.monotonic(), latents_beside(path)
    latents.unlink(missing_ok=True)
    try:
        with sampling_bar(path.name, model, preview_beside(path) if preview else None) as progress:
            clip = model.fulfil(request, progress=progress, keep_latents=latents)
        media.write(clip, path, force=force)
    except BaseException:
        if latents.exists():
            say(f"the sampled video is not lost: {decode_command(latents, path, model.source)}")
        raise
    latents.unlink(missing_ok=True)
    how = clip.settings.get("hub", {}).get("decoded", "")
    if "memory" in how:
        say(f"note: decoded {how}")
    if clip.num_frames > 1 and clip.pixels.std() < 1 / 255:
        say("note: the video is of one flat colour; try another seed or less guidance")
    (width, height), spent = clip.size, time.monotonic() - begun
    length = "1 frame" if clip.num_frames == 1 else f"{clip.num_frames} frames"
    say(
        f"{path}: {length}, {clip.seconds:g} s at {clip.fps:g} fps, {width}x{height}, "
        f"seed {request.seed}, made in {spent:.1f} s"
    )
    return clip


@contextmanager
def sampling_bar(name: str, model: Model, preview: Path | None) -> Iterator[StepCallback]:
    """A progress bar by step; with `preview` also a filmstrip of what the noisy video looks like so far."""
    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(name, total=None)

        def progress(done: int, steps: int, z: Tensor) -> None:
            shown.update(task, completed=done, total=steps)
            if preview is not None and (done % max(steps // 8, 1) == 0 or done == steps):
                strip = media.filmstrip(model.preview(z))
                media.write(Clip(strip[None]), preview, force=True)

        yield progress
