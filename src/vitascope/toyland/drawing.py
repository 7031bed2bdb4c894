"""Toyland to look at: a sentence or random scenes as files."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vitascope import media
from vitascope.toyland.grammar import parse
from vitascope.toyland.render import render
from vitascope.toyland.sampling import sample
from vitascope.toyland.scene import Kind, Scene, Split
from vitascope.types import Clip, UserError

Draw = Callable[[Scene], Clip]


def drawing(size: tuple[int, int], num_frames: int, fps: float) -> Draw:
    """`render` at this width and height, length and rate."""
    width, height = size
    if not (
        1 <= min(size) <= max(size) <= 4096 and 1 <= num_frames <= 10_000 and media.LEAST_FPS <= fps <= media.MOST_FPS
    ):
        raise UserError(
            f"a drawing has 1 to 4096 pixels a side, 1 to 10000 frames and {media.LEAST_FPS:g} to {media.MOST_FPS:g} "
            f"fps, got {width}x{height}, {num_frames} frames and {fps:g} fps"
        )
    return partial(render, num_frames=num_frames, height=height, width=width, fps=fps)


def draw_sentence(sentence: str, path: Path, draw: Draw, rng: random.Random, *, force: bool) -> None:
    scene = parse(sentence, rng)
    media.make_folder(path.parent)
    media.check_destination(path, force=force)
    media.write(draw(scene), path, force=force)


def draw_scenes(
    folder: Path, num: int, kind: Kind | None, split: Split | None, draw: Draw, rng: random.Random, *, force: bool
) -> None:
    """Random scenes as videos with their captions, and a sheet of all."""
    paths = [folder / f"{number:04d}.mp4" for number in range(num)]
    captions, sheet = folder / "captions.tsv", folder / "sheet.png"
    scenes = [sample(rng, kind, split) for _ in paths]
    media.make_folder(folder)
    for path in (*paths, captions, sheet):
        media.check_free(path, force=force)
    lines, strips = [], []
    for scene, path in zip(scenes, paths, strict=True):
        clip = draw(scene)
        media.write(clip, path, force=force)
        lines.append(f"{path.name}\t{clip.caption}\n")
        strips.append(media.filmstrip(clip, 4))  # all that the sheet needs: many clips would fill the memory
    media.replace_file(captions, "".join(lines).encode())
    media.write(Clip(media.grid(strips, columns=2)[None]), sheet, force=force)
