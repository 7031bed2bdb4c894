"""Metrics by name, with the networks that they need: the one place where names become things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import torch
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from vitascope.config import nearest
from vitascope.errors import first_line
from vitascope.evaluate.metrics.alignment import CLIPSCORE_PREFIX, conventions, cosine_with_caption, frame_consistency
from vitascope.evaluate.metrics.kernel import JEDI, KVD, Kernel
from vitascope.evaluate.metrics.metric import (
    Frechet,
    InceptionScore,
    KernelDistance,
    Metric,
    PairMetric,
    SetMetric,
    VideoMetric,
)
from vitascope.evaluate.metrics.paired import PSNR, PSNR_OF_CLIP, SSIM, FlickerReader, PairReader
from vitascope.evaluate.networks.features import (
    CPU,
    SOURCES,
    ClipReader,
    FrameReader,
    RandomNetwork,
    Reader,
    ScriptedI3d,
    ScriptedVideo,
    checked,
    load_state,
    load_weights,
)
from vitascope.evaluate.networks.i3d import I3d
from vitascope.evaluate.networks.inception_v3 import InceptionV3
from vitascope.evaluate.networks.lpips import Lpips
from vitascope.evaluate.networks.pretrained import ClipNetwork, DinoNetwork, VideoMaeNetwork
from vitascope.evaluate.networks.toyland import HOW as HOW_TOYLAND
from vitascope.evaluate.networks.toyland import load_toyland
from vitascope.evaluate.networks.vjepa import load_vjepa
from vitascope.evaluate.prepare import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
from vitascope.evaluate.protocol import Prepare, Protocol
from vitascope.types import UserError

UNIT = (0.0, 1.0)
IMAGENET = Prepare(range=UNIT, mean=IMAGENET_MEAN, std=IMAGENET_STD)
BYTES = Prepare(resize="none", range=(0.0, 255.0))
FID_CLEAN = Prepare(size=299, filter="pillow", range=(-1.0, 127 / 128))  # (x - 128) / 128, as TensorFlow's graph
FID_LEGACY = Prepare(size=299)  # 2 x / 255 - 1, as pytorch-fid


class Networks:
    """The user's files by name, each loaded once and only when a metric asks for it, onto `device`."""

    def __init__(self, paths: Mapping[str, Path], protocol: Protocol, device: torch.device = CPU) -> None:
        for name in paths:
            if name not in SOURCES:
                raise UserError(f"there is no network '{name}'; {nearest(name, list(SOURCES))}")
        self.paths, self.protocol, self.device = paths, protocol, device
        self.unused = set(paths)  # so far, by no metric

    def about(self, name: str) -> dict[str, str]:
        """What a report says of a network's file, which is then known to be there and to be used."""
        self.unused.discard(name)
        return checked(name, self.paths.get(name))

    def _clips(
        self, network: Callable[[Float[Tensor, "b t 3 h w"]], Float[Tensor, "b d"]], about: dict[str, str], how: Prepare
    ) -> Reader:
        return ClipReader(network, about, how, device=self.device)

    @cached_property
    def random(self) -> Reader:
        about = {"network": "random, untrained", "network_seed": "0"}
        return self._clips(RandomNetwork(0).to(self.device), about, Prepare(size=64, antialias=True))

    @cached_property
    def i3d(self) -> Reader:
        about, how = self.about("i3d"), self.protocol.prepare
        network, inside = load_weights(self.paths["i3d"], I3d).to(self.device), how.resize == "none"
        if isinstance(network, I3d):
            if inside:
                raise UserError(
                    f"protocol {self.protocol.name} resizes inside i3d_torchscript.pt, and '{self.paths['i3d']}' is a "
                    "state dict; give that file, or choose videogpt, tats or tfhub"
                )
            return self._clips(network, about, how)
        return self._clips(ScriptedI3d(network, inside), about, how)

    @cached_property
    def vjepa(self) -> Reader:
        about = self.about("vjepa")
        return self._clips(load_vjepa(self.paths["vjepa"]).to(self.device), about, IMAGENET)

    @cached_property
    def toyland(self) -> Reader:
        self.unused.discard("toyland")
        network, about = load_toyland(self.paths.get("toyland"))
        return self._clips(network.to(self.device), about, HOW_TOYLAND)

    @cached_property
    def c3d(self) -> Reader:
        about = self.about("c3d")
        return self._clips(ScriptedVideo(load_weights(self.paths["c3d"]).to(self.device)), about, BYTES)

    @cached_property
    def videomae(self) -> Reader:
        about = self.about("videomae")
        return self._clips(VideoMaeNetwork(self.paths["videomae"], self.device).clips, about, Prepare(range=UNIT))

    @cached_property
    def inception(self) -> nn.Module:
        network = load_weights(self.paths["inception"], InceptionV3)
        if not isinstance(network, InceptionV3):
            # Such files scale and resize by themselves, and give classes unless asked otherwise.
            raise UserError(
                f"'{self.paths['inception']}' is a TorchScript file, and frames are prepared here for the state dict "
                f"{SOURCES['inception'].file}; give that one"
            )
        return network.to(self.device)

    @cached_property
    def clip(self) -> ClipNetwork:
        self.about("clip")
        return ClipNetwork(self.paths["clip"], self.device)

    @cached_property
    def clip_frames(self) -> Reader:
        about = self.about("clip")
        how = Prepare(
            resize="cut", size=self.clip.size, filter="bicubic", antialias=True, range=UNIT,
            mean=CLIP_MEAN, std=CLIP_STD,
        )  # fmt: skip
        return FrameReader(self.clip.pictures, about, how, device=self.device)

    @cached_property
    def dino_frames(self) -> Reader:
        about = self.about("dino")
        how = IMAGENET.model_copy(update={"resize": "cut", "filter": "bicubic", "antialias": True})
        return FrameReader(DinoNetwork(self.paths["dino"], self.device).pictures, about, how, device=self.device)

    @cached_property
    def lpips(self) -> PairReader:
        backbone, linear = self.about("alexnet"), self.about("lpips")
        states = load_state(self.paths["alexnet"]), load_state(self.paths["lpips"])
        try:
            network = Lpips(*states).to(self.device)
        except (KeyError, RuntimeError) as error:
            raise UserError(
                f"'{self.paths['alexnet']}' and '{self.paths['lpips']}' must be torchvision's AlexNet and the weights "
                f"of LPIPS v0.1's layers for it ({first_line(error)}); fetch them again"
            ) from None
        about = {"measure": "LPIPS", "version": "0.1", "net": "alex", "backbone": backbone, "linear": linear}
        return PairReader(network, about, higher_is_better=False)


def metrics_named(names: Sequence[str], networks: Networks) -> list[Metric]:
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric '{name}'; {nearest(name, list(METRICS))}")
    built = [METRICS[name](name, networks) for name in dict.fromkeys(names)]
    if networks.unused:
        raise UserError(
            f"the network '{min(networks.unused)}' serves none of the metrics asked for ({', '.join(names)}); ask for "
            f"one by --metric (known: {', '.join(METRICS)}), or leave the network out"
        )
    return built


def frechet(read: Callable[[Networks], Reader]) -> Callable[[str, Networks], Metric]:
    return lambda name, networks: SetMetric(name, read(networks), gaussian(networks.protocol))


def kernel(read: Callable[[Networks], Reader], how: Kernel) -> Callable[[str, Networks], Metric]:
    return lambda name, networks: SetMetric(name, read(networks), KernelDistance(how))


def gaussian(protocol: Protocol) -> Frechet:
    return Frechet(protocol.divisor, protocol.seed)


def fid(how: Prepare) -> Callable[[str, Networks], Metric]:
    def build(name: str, networks: Networks) -> Metric:
        about = networks.about("inception")
        reader = FrameReader(networks.inception, about, how, True, networks.protocol.seed, device=networks.device)
        # n - 1 in every implementation: the divisor of the protocol is that of its video network.
        return SetMetric(name, reader, Frechet("n-1", networks.protocol.seed))

    return build


def beside_caption(prefix: str) -> Callable[[str, Networks], Metric]:
    def build(name: str, networks: Networks) -> Metric:
        reader, clip = networks.clip_frames, networks.clip
        convention = f"mean over frames of the cosine with '{prefix}CAPTION'"
        score = cosine_with_caption(clip, prefix)
        return VideoMetric(name, reader, score, convention, True, partial(conventions, clip, prefix))

    return build


def consistency(read: Callable[[Networks], Reader]) -> Callable[[str, Networks], Metric]:
    def build(name: str, networks: Networks) -> Metric:
        score = frame_consistency(networks.protocol.frames)
        return VideoMetric(name, read(networks), score, "mean cosine of successive frames")

    return build


def flicker(name: str, networks: Networks) -> Metric:
    del networks
    return VideoMetric(name, FlickerReader(), lambda rows, _: rows.double().mean().item(), "1 is still")


def usual_metrics(*, with_real: bool, paired: bool) -> list[str]:
    """What is measured if nothing is asked for: all that needs neither the file of a network nor videos not given."""
    return [*(name for name in WITHOUT_FILES if with_real or name == "flicker"), *(PAIRED if paired else ())]


def print_catalogue(console: Console) -> None:
    """All metrics, and where the networks come from."""
    console.print("metrics: " + ", ".join(METRICS), highlight=False)
    table = Table(
        "network", "file", "source", "licence", "sha256", title="networks: fetch the file, pass --network NAME=PATH"
    )
    for name, row in SOURCES.items():
        table.add_row(name, row.file, row.source, row.licence, ", ".join(row.sha256.values()) or "not known")
    console.print(table)


METRICS: dict[str, Callable[[str, Networks], Metric]] = {
    "frechet-random": frechet(lambda networks: networks.random),
    "kernel-random": kernel(lambda networks: networks.random, KVD),
    "frechet-toyland": frechet(lambda networks: networks.toyland),
    "kernel-toyland": kernel(lambda networks: networks.toyland, KVD),
    "fvd": frechet(lambda networks: networks.i3d),
    "cd-fvd": frechet(lambda networks: networks.videomae),
    "kvd": kernel(lambda networks: networks.i3d, KVD),
    "jedi": kernel(lambda networks: networks.vjepa, JEDI),
    "fid": fid(FID_CLEAN),
    "fid-legacy": fid(FID_LEGACY),
    "inception-score": lambda name, networks: InceptionScore(name, networks.c3d),
    "clipsim": beside_caption(""),
    "clipscore": beside_caption(CLIPSCORE_PREFIX),
    "clip-consistency": consistency(lambda networks: networks.clip_frames),
    "dino-consistency": consistency(lambda networks: networks.dino_frames),
    "flicker": flicker,
    "psnr": lambda name, _: PairMetric(name, PSNR),
    "psnr-clip": lambda name, _: PairMetric(name, PSNR_OF_CLIP),
    "ssim": lambda name, _: PairMetric(name, SSIM),
    "lpips": lambda name, networks: PairMetric(name, networks.lpips),
}
"""`NAME-random` and `NAME-toyland` are no FVD or KVD: their networks are not the field's."""

WITHOUT_FILES = ("frechet-random", "kernel-random", "frechet-toyland", "flicker")
PAIRED = ("psnr", "ssim")
