"""How well frames in between are filled in: beside the truth, beside the mean of both neighbours, and at the seams.

python benchmarks/upsampling.py [--model runs/tup/model] [--num 4] [--sheet sheet.png]

True clips of 32 frames at 8 a second become 64 at 16, in windows that overlap. A sheet shows a stretch of each, the
truth above what was made.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from vitascope import media, toyland
from vitascope.evaluate.lasting import evenness, lasting_scenes, mean
from vitascope.evaluate.metrics.paired import SquaredError, squared_error
from vitascope.sample.loading import load_own
from vitascope.sample.upsample import upsample
from vitascope.samplers.windows import window_starts
from vitascope.types import Clip, Request

NUM_FRAMES = 32


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=None)
    parser.add_argument("--num", type=int, default=4)
    parser.add_argument("--sheet", type=Path, default=None)
    told = parser.parse_args()
    model = load_own(told.model)
    window = model.system.config.defaults.num_frames
    borders = window_starts(2 * NUM_FRAMES, window, window // 2)[1:]
    moving = [s for s in lasting_scenes(20 * told.num, 0) if s.things[0].motion in ("spins", "circles around")]
    filled, averaged, strips = SquaredError(), SquaredError(), []
    even: dict[str, list[bool]] = {}
    for seed, scene in enumerate(moving[: told.num]):
        given, truth = (toyland.render(scene, times * NUM_FRAMES, fps=times * 8.0) for times in (1, 2))
        made = upsample(model, given, Request(toyland.caption(scene), seed=seed, guidance=1.0), 2)
        filled += squared_error(made.pixels[1:-1:2], truth.pixels[1:-1:2])
        averaged += squared_error((given.pixels[:-1] + given.pixels[1:]) / 2, truth.pixels[1:-1:2])
        for name, clip in (("made", made), ("truth", truth)):
            for where, moments in zip(("across borders", "within"), evenness(clip, scene, borders), strict=True):
                even.setdefault(f"{name}, {where}", []).extend(moments)
        strips += [torch.cat(list(clip.pixels[12:24]), -1) for clip in (truth, made)]
    table = Table("", "value", title=f"{len(moving[: told.num])} clips of {2 * NUM_FRAMES} frames")
    table.add_row("PSNR of filled frames", f"{filled.psnr:.1f} dB")
    table.add_row("PSNR of the mean of both neighbours", f"{averaged.psnr:.1f} dB")
    for name, moments in even.items():
        table.add_row(f"without a jerk, {name}", f"{mean(moments):.3f} of {len(moments)} moments")
    Console().print(table)
    if told.sheet is not None:
        media.write(Clip(torch.cat(strips, -2)[None].clamp(0, 1)), told.sheet, force=True)


if __name__ == "__main__":
    main()
