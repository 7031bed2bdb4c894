"""Metrics by name, with the networks that they need: the one place where names become things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import nn

from vitascope.config import nearest
from vitascope.evaluate.features import (
    SOURCES,
    ClipReader,
    RandomNetwork,
    Reader,
    ScriptedI3d,
    ScriptedVideo,
    checked,
    load_script,
)
from vitascope.evaluate.kernel import JEDI, KVD
from vitascope.evaluate.metrics import Frechet, KernelDistance, Metric, PairMetric, SetMetric, VideoMetric
from vitascope.evaluate.paired import PSNR, PSNR_OF_CLIP, SSIM, FlickerReader
from vitascope.evaluate.protocol import Prepare, Protocol
from vitascope.types import UserError

IMAGENET = Prepare(range=(0.0, 1.0), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class Networks:
    """The user's files by name, each loaded once and only when a metric asks for it."""

    def __init__(self, paths: Mapping[str, Path], protocol: Protocol) -> None:
        for name in paths:
            if name not in SOURCES:
                raise UserError(f"there is no network '{name}'; {nearest(name, list(SOURCES))}")
        self.paths, self.protocol = paths, protocol

    def _script(self, name: str) -> tuple[nn.Module, dict[str, str]]:
        about = checked(name, self.paths.get(name))
        return load_script(self.paths[name]), about

    @cached_property
    def random(self) -> Reader:
        return ClipReader(RandomNetwork(0), {"network": "random, untrained", "network_seed": 0}, RANDOM_PREPARE)

    @cached_property
    def i3d(self) -> Reader:
        script, about = self._script("i3d")
        how = self.protocol.prepare
        return ClipReader(ScriptedI3d(script, inside=how.resize == "none"), about, how)

    @cached_property
    def vjepa(self) -> Reader:
        script, about = self._script("vjepa")
        return ClipReader(ScriptedVideo(script), about, IMAGENET)

    @cached_property
    def toyland(self) -> Reader:
        script, about = self._script("toyland")
        return ClipReader(ScriptedVideo(script), about, Prepare(resize="none"))


RANDOM_PREPARE = Prepare(size=64, antialias=True)


def metrics_named(names: Sequence[str], networks: Networks) -> list[Metric]:
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric '{name}'; {nearest(name, list(METRICS))}")
    return [METRICS[name](name, networks) for name in dict.fromkeys(names)]


def distance(read: Callable[[Networks], Reader], how: Frechet | KernelDistance) -> Callable[[str, Networks], Metric]:
    return lambda name, networks: SetMetric(name, read(networks), how)


def flicker(name: str, networks: Networks) -> Metric:
    del networks
    return VideoMetric(name, FlickerReader(), lambda rows, _: rows.double().mean().item(), "1 is still")


def print_catalogue(console: Console) -> None:
    """All metrics, and where the networks come from."""
    console.print("metrics: " + ", ".join(METRICS), highlight=False)
    table = Table(
        "network", "file", "source", "licence", "sha256", title="networks: fetch the file, pass --network NAME=PATH"
    )
    for name, row in SOURCES.items():
        table.add_row(
            name, row.file, row.source, row.licence, row.sha256 or "not known; the report states that of your file"
        )
    console.print(table)


METRICS: dict[str, Callable[[str, Networks], Metric]] = {
    "frechet-random": distance(lambda networks: networks.random, Frechet()),
    "kernel-random": distance(lambda networks: networks.random, KernelDistance(KVD)),
    "frechet-toyland": distance(lambda networks: networks.toyland, Frechet()),
    "kernel-toyland": distance(lambda networks: networks.toyland, KernelDistance(KVD)),
    "fvd": distance(lambda networks: networks.i3d, Frechet()),
    "kvd": distance(lambda networks: networks.i3d, KernelDistance(KVD)),
    "jedi": distance(lambda networks: networks.vjepa, KernelDistance(JEDI)),
    "flicker": flicker,
    "psnr": lambda name, _: PairMetric(name, PSNR),
    "psnr-clip": lambda name, _: PairMetric(name, PSNR_OF_CLIP),
    "ssim": lambda name, _: PairMetric(name, SSIM),
}
"""`NAME-random` and `NAME-toyland` are no FVD or KVD: their networks are not the field's."""

WITHOUT_FILES = ("frechet-random", "kernel-random", "flicker")
PAIRED = ("psnr", "ssim")
