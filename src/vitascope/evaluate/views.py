"""Novel views of Toyland's solids beside true renders: PSNR, SSIM, and whether each pixel shows the right face."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vitascope.evaluate import forms
from vitascope.evaluate.intervals import mean_with_interval
from vitascope.evaluate.metrics.paired import psnr, ssim
from vitascope.media import filmstrip, grid
from vitascope.toyland.scene import COLOURS, PLAIN
from vitascope.toyland.solids import NUM_VIEWS, UNPAINTED, Solid, render_views, sample_solid
from vitascope.types import Clip, Request, UserError

SIZE = 64
Generate = Callable[[Sequence[Request]], Sequence[Clip]]


@dataclass(frozen=True)
class ViewsReport:
    """Scores of each solid, by maker and measure, each the mean over its novel views."""

    protocol: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, tuple[float, ...]]]

    def told(self) -> dict[str, dict[str, Any]]:
        return {
            maker: {measure: mean_with_interval(values, "views") for measure, values in measures.items()}
            for maker, measures in self.scores.items()
        }

    def to_json(self) -> str:
        return json.dumps({"form": forms.VIEWS, "protocol": self.protocol, "scores": self.told()}, indent=1)

    def print(self, console: Console) -> None:
        table = Table("", *MEASURES, title="novel views of {num} solids, seed {seed}".format(**self.protocol))
        for maker, measures in self.told().items():
            cells = []
            for one in measures.values():
                spread = "" if one["interval"] is None else " ({:.3g} .. {:.3g})".format(*one["interval"])
                cells.append(f"{one['mean']:.3f}{spread}")
            table.add_row(maker, *cells)
        console.print(table)


def evaluate_views(
    generate: Generate,
    *,
    num: int = 64,
    seed: int = 0,
    batch: int = 16,
    encode_decode: Callable[[Clip], Clip] | None = None,
    made_with: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ViewsReport:
    """Give `generate` the first view of `num` test solids and compare the other six with the truth.

    Beside the model stand what the first view repeated would score, which knows nothing of space, and the true views
    through the model's own autoencoder, which no sampler can better.
    """
    if num < 1 or batch < 1 or seed < 0:
        raise UserError(f"num and batch must be at least 1 and seed at least 0, got {num}, {batch} and {seed}")
    protocol = {
        **(made_with or {}), "suite": "views", "version": version("vitascope"), "num": num, "seed": seed, "size": SIZE,
        "psnr": "mean of views", "ssim": "mean of views", "faces": "share of the solid's pixels of the right colour",
    }  # fmt: skip
    scores: dict[str, dict[str, list[float]]] = {}

    def count(maker: str, made: Tensor, truth: Tensor, solid: Solid) -> None:
        mine = scores.setdefault(maker, {name: [] for name in MEASURES})
        for name, measure in MEASURES.items():
            mine[name].append(measure(made[1:].clamp(0, 1).double(), truth[1:].double(), solid).mean().item())

    for first in range(0, num, batch):
        numbers = range(first, min(first + batch, num))
        solids = [held_out_solid(seed, number) for number in numbers]
        truths = [render_views(solid, SIZE) for solid in solids]
        wanted = [
            Request("", frames={0: truth[0]}, num_frames=NUM_VIEWS, size=(SIZE, SIZE), seed=number)
            for number, truth in zip(numbers, truths, strict=True)
        ]
        for clip, truth, solid in zip(generate(wanted), truths, solids, strict=True):
            if clip.pixels.shape != truth.shape:
                raise UserError(
                    f"views are {NUM_VIEWS} frames of {SIZE}x{SIZE}; this model made {clip.num_frames} frames of "
                    f"{clip.size[0]}x{clip.size[1]}: it cannot be judged here"
                )
            count("made", clip.pixels, truth, solid)
            count("first view repeated", truth[:1].expand_as(truth), truth, solid)
            if encode_decode is not None:
                count("truth through the autoencoder", encode_decode(Clip(truth)).pixels, truth, solid)
        if progress is not None:
            progress(numbers.stop, num)
    told = {maker: {name: tuple(values) for name, values in mine.items()} for maker, mine in scores.items()}
    return ViewsReport(protocol, told)


def beside_truth(clips: Sequence[Clip], seed: int) -> Float[Tensor, "3 h w"]:
    """The first solids of a test as one picture: of each the true views, and below them what was made."""
    solids = [Clip(render_views(held_out_solid(seed, number), SIZE)) for number in range(len(clips))]
    pairs = [[filmstrip(true), filmstrip(clip)] for true, clip in zip(solids, clips, strict=True)]
    return grid([grid(pair, columns=1, gap=1) for pair in pairs], columns=2)


def held_out_solid(seed: int, number: int) -> Solid:
    """No solid to learn from is drawn so."""
    return sample_solid(random.Random(f"solid to be tested on {seed} {number}"))


def faces(made: Float[Tensor, "v 3 h w"], true: Float[Tensor, "v 3 h w"], solid: Solid) -> Float[Tensor, "v"]:
    """Of the pixels that show the solid in either picture, the share that shows the same face in both.

    A pixel shows what it is nearest to in colour: a face, the base, or the background.
    """
    palette = torch.tensor(
        [PLAIN[solid.background], *(COLOURS[name] for name in solid.colours), UNPAINTED], dtype=made.dtype
    )
    one, other = nearest_colour(made, palette / 255), nearest_colour(true, palette / 255)
    solid_there = (one > 0) | (other > 0)
    return ((one == other) & solid_there).sum((1, 2)) / solid_there.sum((1, 2)).clamp_min(1)


def nearest_colour(pixels: Float[Tensor, "v 3 h w"], palette: Float[Tensor, "n 3"]) -> Int[Tensor, "v h w"]:
    return (pixels[:, None] - palette[None, :, :, None, None]).square().sum(2).argmin(1)


MEASURES: dict[str, Callable[[Tensor, Tensor, Solid], Tensor]] = {
    "psnr": lambda made, true, _: psnr(made, true),
    "ssim": lambda made, true, _: ssim(made, true),
    "faces": faces,
}
