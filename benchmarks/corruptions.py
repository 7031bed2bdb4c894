"""What each metric notices: seven kinds of damage and wrong captions, five amounts of each, as one picture.

python benchmarks/corruptions.py --out DIR [--real VIDEOS] [--clips 24]

Three parts, each written to DIR as it is done and not measured again: `toyland.json` and `real.json` (damage against
metrics) and `bias.json` (a Fréchet distance by the number of clips). Then `corruptions.png`, and the tables. `--only
PART` measures one part: they may run side by side.

The number that is compared is the change that damage brings over its own standard error, from resamples of the clips:
only so can decibels stand beside distances. Positive: the metric says worse. A clip is compared with nothing but clips
of other scenes, except by PSNR and SSIM, which know the clip before the damage.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vitascope import media, toyland
from vitascope.evaluate.catalogue import Networks
from vitascope.evaluate.corruptions import AMOUNTS, CORRUPTIONS
from vitascope.evaluate.intervals import resamples
from vitascope.evaluate.metrics.frechet import distance_of_rows, extrapolated, resampled_distances
from vitascope.evaluate.metrics.kernel import KVD, kernel_distances
from vitascope.evaluate.metrics.paired import PSNR, SSIM, FlickerReader, PairReader
from vitascope.evaluate.networks.features import Reader
from vitascope.evaluate.protocol import Protocol
from vitascope.evaluate.store import Store, key_of
from vitascope.evaluate.videos import find_videos
from vitascope.recipes.toyland_matcher import Matcher, kept_or_trained
from vitascope.recipes.toyland_network import drawn
from vitascope.toyland.oracle import judge, passed
from vitascope.toyland.scene import Scene
from vitascope.types import Clip, UserError, generator_for

FPS = 8.0
RESAMPLES = 40
LONGEST = 300
"""Frames of a real video: of longer ones most of the time would go into decoding what is not taken."""

CLIPS_OF_ONE = 4
"""Of one real video: more are too much alike."""

NETWORKS = Networks({}, Protocol())
ORACLE = ("all", "colour", "shape", "motion", "flicker", "smoothness")

Clips = Sequence[Tensor]
Rows = dict[str, Tensor]
"""By metric, what was read of each clip: features, or one number."""


# What is read of a set of clips.


class Reading:
    """What was read once is kept: a study that was stopped goes on where it was."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def kept(self, what: Mapping[str, Any], clips: Clips, measure: Callable[[], Tensor]) -> Tensor:
        digest = hashlib.blake2b(b"".join(clip.numpy().tobytes() for clip in clips)).hexdigest()
        key = key_of(study=what, clips=digest)
        rows = self.store.get(key)
        if rows is None:
            rows = measure()
            self.store.put(key, rows)
        return rows

    def features(self, reader: Reader, clips: Clips) -> Tensor:
        return self.kept(reader.identity, clips, lambda: torch.cat([reader([clip]) for clip in clips]))

    def pairs(self, reader: PairReader, clips: Clips, true: Clips) -> Tensor:
        """The clip before the damage is a part of what is asked."""
        digest = hashlib.blake2b(b"".join(clip.numpy().tobytes() for clip in true)).hexdigest()
        pairs = zip(clips, true, strict=True)
        return self.kept(
            {**reader.about, "true": digest},
            clips,
            lambda: torch.cat([reader(one, other)[:, :1] for one, other in pairs]),
        )

    def oracle(self, clips: Clips, scenes: Sequence[Scene]) -> Tensor:
        """Pass or fail; what was not asked of a scene, such as the motion of two that interact, counts as right."""

        def judged() -> Tensor:
            pairs = zip(clips, scenes, strict=True)
            scores = [judge(Clip(clip.float() / 255, FPS), scene) for clip, scene in pairs]
            return torch.tensor([[float(passed(one.get(name, 1.0))) for name in ORACLE] for one in scores])

        return self.kept({"oracle": ORACLE, "scenes": repr(scenes)}, clips, judged)

    def of_sets(self, clips: Clips) -> Rows:
        return {
            "Fréchet, random network": self.features(NETWORKS.random, clips),
            "Fréchet, Toyland features": self.features(NETWORKS.toyland, clips),
            "Fréchet, the same on single frames": self.features(NETWORKS.toyland, stills(clips)),
        }

    def of_sight(self, clips: Clips, true: Clips) -> Rows:
        return {
            **self.of_sets(clips),
            "PSNR": self.pairs(PSNR, clips, true),
            "SSIM": self.pairs(SSIM, clips, true),
            "flickering": FlickerReader()(clips),
        }

    def of_words(self, clips: Clips, scenes: Sequence[Scene], matcher: Matcher) -> Rows:
        captions = [toyland.caption(scene) for scene in scenes]
        cosines = matcher.cosines(self.features(NETWORKS.toyland, clips), captions)
        judged = self.oracle(clips, scenes)
        return {
            "matcher": cosines[:, None],
            **{f"oracle: {name}": judged[:, place : place + 1] for place, name in enumerate(ORACLE)},
        }


def stills(clips: Clips) -> Clips:
    """One frame drawn from each clip, shown as a clip: so a network of videos is used on pictures."""
    chosen = [int(torch.randint(len(clip), (), generator=generator_for(0, "still", n))) for n, clip in enumerate(clips)]
    return [clip[number].expand_as(clip) for number, clip in zip(chosen, clips, strict=True)]


# What damage changes.


def change(metric: str, clean: Tensor, hurt: Tensor, reference: Tensor) -> dict[str, float]:
    """Value after the damage, change for the worse, and that over its standard error."""
    values, draws = [], []
    weights = resamples(len(clean), RESAMPLES, 0, "made")
    for rows in (clean, hurt):
        if metric.startswith(("Fréchet", "kernel")):
            every = torch.ones(1, len(reference)), torch.ones(1, len(rows))
            others = resamples(len(reference), RESAMPLES, 0, "real")
            measure = kernel if metric.startswith("kernel") else frechet
            values.append(measure(reference, rows, *every)[0])
            draws.append(torch.tensor(measure(reference, rows, others, weights)))
        else:
            values.append(-rows.double().mean().item())  # of all these, more is better
            draws.append(-(weights @ rows[:, 0].float()) / weights.sum(1))
    worse = values[1] - values[0]
    error = (draws[1] - draws[0]).std().item()
    # Where all clips pass before and none after, resamples do not differ: no more than 1000 errors are told.
    return {"value": values[1], "worse": worse, "errors": worse / max(error, abs(worse) / 1000) if worse else 0.0}


def frechet(real: Tensor, made: Tensor, real_weights: Tensor, made_weights: Tensor) -> list[float]:
    return resampled_distances(real, made, real_weights, made_weights, 1)


def kernel(real: Tensor, made: Tensor, real_weights: Tensor, made_weights: Tensor) -> list[float]:
    return kernel_distances(real, made, KVD, real_weights, made_weights).tolist()


def changes(clean: Rows, hurt: Rows, reference: Rows) -> dict[str, dict[str, float]]:
    found = {}
    for name, rows in hurt.items():
        found[name] = change(name, clean[name], rows, reference.get(name, clean[name]))
        if name == "Fréchet, Toyland features":
            found["kernel, Toyland features"] = change("kernel", clean[name], rows, reference[name])
    return found


def damaged(clips: Clips, kind: str, amount: float) -> list[Tensor]:
    return [CORRUPTIONS[kind](clip, amount, generator_for(0, kind, number)) for number, clip in enumerate(clips)]


def study(
    reading: Reading, made: Clips, others: Clips, words: Callable[[Clips], Rows] | None, say: Callable[[str], None]
) -> dict[str, Any]:
    reference, clean = reading.of_sets(others), reading.of_sight(made, made)
    if words is not None:
        clean |= words(made)
    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    for kind in CORRUPTIONS:
        found[kind] = []
        for amount in AMOUNTS:
            clips = damaged(made, kind, amount)
            hurt = reading.of_sight(clips, made) | (words(clips) if words is not None else {})
            found[kind].append(changes(clean, hurt, reference))
            say(f"{kind} {amount}")
    return {"clips": len(made), "others": len(others), "found": found}


# The three parts.


def scenes_from(first: int, num: int) -> list[Scene]:
    """Test scenes of all kinds, as often as the world shows them."""
    seeds = (toyland.held_out_seed("seen", 900_000_000 + number) for number in range(first, first + num))
    return [toyland.sample(random.Random(seed), None, "seen") for seed in seeds]


def on_toyland(reading: Reading, num: int, matcher: Matcher, say: Callable[[str], None]) -> dict[str, Any]:
    scenes = scenes_from(0, num)
    made, others = ([drawn(scene) for scene in part] for part in (scenes, scenes_from(num, num)))
    result = study(reading, made, others, lambda clips: reading.of_words(clips, scenes, matcher), say)
    # Wrong captions leave the pictures as they are, and with them all that reads nothing else.
    clean = reading.of_words(made, scenes, matcher)
    blind = {name: dict.fromkeys(("value", "worse", "errors"), 0.0) for name in result["found"]["blur"][0]}
    result["found"]["wrong caption"] = []
    for amount in AMOUNTS:
        wrong = list(scenes)
        swapped = torch.randperm(num, generator=generator_for(0, "captions"))[: max(2, round(amount * num))].tolist()
        for here, there in zip(swapped, [*swapped[1:], swapped[0]], strict=True):
            wrong[here] = scenes[there]
        result["found"]["wrong caption"].append(blind | changes(clean, reading.of_words(made, wrong, matcher), {}))
    return result


def of_real(folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Clips of 16 frames, 64x64, each second frame; those of each video go to either set by turns."""
    protocol = Protocol(stride=2, clip="all", resolution=64)
    sets: tuple[list[Tensor], list[Tensor]] = [], []
    for video in find_videos(folder):
        if media.count_frames(video.path) > LONGEST:
            continue
        try:
            clips = list(islice(video.take(protocol).clips, CLIPS_OF_ONE))
        except UserError:
            continue  # too short for one
        for number, clip in enumerate(clips):
            sets[number % 2].append(clip)
    return sets


def bias(reading: Reading, num: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Two sets of one distribution: the true distance is nought."""
    made, others = ([drawn(scene) for scene in scenes_from(start, num)] for start in (1_000_000, 2_000_000))
    sizes = [size for size in (16, 32, 64, 128, 256, 512, 1024) if size <= num]
    found = {}
    for name, reader in (("random", NETWORKS.random), ("Toyland", NETWORKS.toyland)):
        first, second = (reading.features(reader, clips) for clips in (made, others))
        lines = {size: extrapolated(first[:size].split(1), second[:size].split(1), ddof=1, seed=0) for size in sizes}
        found[name] = {
            "dims": first.shape[1],
            "distances": {size: mean_over_parts(first, second, size) for size in sizes},
            "at infinite n": {size: line.at_infinity for size, line in lines.items() if line},
        }
        say(f"bias, {name} network")
    return found


def mean_over_parts(first: Tensor, second: Tensor, size: int) -> float:
    parts = list(zip(first.split(size), second.split(size), strict=True))
    return sum(distance_of_rows(one, other, 1) for one, other in parts) / len(parts)


# Pictures and tables.


def picture(parts: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """A row a metric, five cells a kind of damage, from weak to strong."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    shades = LinearSegmentedColormap.from_list("errors", ["#1d4e89", "#8fb3d9", "white", "#f2b58a", "#b3390c"])
    figure = Figure(
        figsize=(13, 1.6 + 0.3 * sum(len(metrics_of(part)) + 3 for part in parts.values())), layout="constrained"
    )
    places = figure.subplots(
        len(parts), 1, squeeze=False, height_ratios=[len(metrics_of(part)) for part in parts.values()]
    )
    for axes, (name, part) in zip(places[:, 0], parts.items(), strict=True):
        metrics, kinds = metrics_of(part), list(part["found"])
        cells = torch.tensor(
            [[one[metric]["errors"] for kind in kinds for one in part["found"][kind]] for metric in metrics]
        )
        # Within two errors it is chance, and white; beyond, a step in the logarithm is a step in the shade.
        shown = cells.sign() * (cells.abs() / 2).clamp_min(1).log2().clamp_max(4)
        image = axes.imshow(shown, cmap=shades, vmin=-4, vmax=4, aspect="auto")
        for y, row in enumerate(cells.tolist()):
            for x, value in enumerate(row):
                if abs(value) >= 2:
                    ink = "white" if abs(value) > 16 else "black"
                    told = f"{value:.0f}" if abs(value) < 100 else ">99"
                    axes.text(x, y, told, ha="center", va="center", fontsize=7 if len(told) < 3 else 6, color=ink)
        axes.set_yticks(range(len(metrics)), metrics, fontsize=8)
        axes.set_xticks([5 * number + 2 for number in range(len(kinds))], kinds, fontsize=9)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for number in range(1, len(kinds)):
            axes.axvline(5 * number - 0.5, color="black", linewidth=1)
        axes.set_title(
            f"{name}: {part['clips']} clips, {part['others']} others to compare with", fontsize=10, loc="left"
        )
    bar = figure.colorbar(image, ax=places[:, 0], ticks=range(-4, 5, 2), shrink=0.6)
    bar.ax.set_yticklabels(["says better, -32", "-8", "within chance", "8", "says worse, 32"], fontsize=8)
    bar.set_label("change over its standard error", fontsize=9)
    figure.savefig(path, dpi=90)


def metrics_of(part: Mapping[str, Any]) -> list[str]:
    return list(part["found"]["blur"][0])


def print_study(console: Console, name: str, part: Mapping[str, Any]) -> None:
    kinds = list(part["found"])
    table = Table("metric", *kinds, title=f"{name}: change over its standard error, weakest .. strongest damage")
    for metric in metrics_of(part):
        cells = [[one[metric]["errors"] for one in part["found"][kind]] for kind in kinds]
        table.add_row(metric, *(f"{each[0]:.1f} .. {each[-1]:.1f}" for each in cells))
    console.print(table)


def print_bias(console: Console, found: Mapping[str, Any]) -> None:
    for network, one in found.items():
        table = Table(
            "n",
            *one["distances"],
            title=f"Fréchet distance of two sets alike, {network} network, {one['dims']} features",
        )
        table.add_row("distance", *(f"{value:.3f}" for value in one["distances"].values()))
        table.add_row(
            "at infinite n",
            *(f"{one['at infinite n'][n]:.3f}" if n in one["at infinite n"] else "" for n in one["distances"]),
        )
        console.print(table)


def kept(path: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured, or is now. Read back in either case, so that both look alike."""
    if not path.exists():
        path.write_text(json.dumps(measure(), indent=1) + "\n")
    return json.loads(path.read_text())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, required=True, help="a folder; what is in it is not measured again")
    options.add_argument("--real", type=Path, help="a folder of real videos")
    options.add_argument("--clips", type=int, default=24, help="of Toyland, in either set")
    options.add_argument("--bias-clips", type=int, default=256, help="in either of two sets alike")
    options.add_argument("--only", choices=("toyland", "real", "bias"), help="measure this part alone")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    place, console = chosen.out, Console(width=200)
    place.mkdir(parents=True, exist_ok=True)
    say, reading = partial(print, flush=True), Reading(Store(place / "rows.sqlite"))
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "toyland": lambda: on_toyland(reading, chosen.clips, kept_or_trained(place / "matcher.safetensors", say), say),
        "bias": lambda: bias(reading, chosen.bias_clips, say),
    }
    if chosen.real is not None:
        measures["real"] = lambda: study(reading, *of_real(chosen.real), None, say)
    wanted = [chosen.only] if chosen.only else list(measures)
    if not set(wanted) <= set(measures):
        options.error("--only real needs --real")
    parts = {name: kept(place / f"{name}.json", measures[name]) for name in wanted}
    studies = {name: parts[name] for name in ("toyland", "real") if name in parts}
    for name, part in studies.items():
        print_study(console, name, part)
    if studies:
        picture(studies, place / "corruptions.png")
    if "bias" in parts:
        print_bias(console, parts["bias"])


if __name__ == "__main__":
    main()
