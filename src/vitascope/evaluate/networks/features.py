"""Networks that turn clips into numbers: the user's files behind one small interface, and one that needs no file."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, runtime_checkable
from typing import Protocol as Interface

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vitascope.checksums import sha256_of
from vitascope.config import nearest
from vitascope.errors import first_line
from vitascope.evaluate.prepare import channels_first, prepared
from vitascope.evaluate.protocol import Prepare
from vitascope.types import UserError, generator_for

CPU = torch.device("cpu")


@runtime_checkable
class Reader(Interface):
    """What is read off clips. `identity` names all that the numbers follow from, but the clip: part of their key."""

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def __call__(self, clips: Sequence[UInt8[Tensor, "_t 3 _h _w"]]) -> Float[Tensor, "n d"]:
        """Rows for each clip, in their order: one for networks of video, one a frame for those of pictures."""
        ...


@dataclass(frozen=True, eq=False)
class ClipReader:
    """Features of whole clips. Clips of one size go through the network together, at most `batch` of them."""

    network: Callable[[Float[Tensor, "b t 3 h w"]], Float[Tensor, "b d"]]
    about: Mapping[str, Any]
    prepare: Prepare
    batch: int = 8
    device: torch.device = CPU

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self.about, "prepare": self.prepare.model_dump(mode="json")}

    @torch.inference_mode()
    def __call__(self, clips: Sequence[UInt8[Tensor, "_t 3 _h _w"]]) -> Float[Tensor, "n d"]:
        rows: list[Float[Tensor, "_b d"]] = []
        for start in range(0, len(clips), self.batch):
            together = [prepared(clip, self.prepare) for clip in clips[start : start + self.batch]]
            alike = len({clip.shape for clip in together}) == 1
            parts = [torch.stack(together)] if alike else [clip[None] for clip in together]
            rows += [self.network(part.to(self.device)).cpu() for part in parts]
        return torch.cat(rows).float()


@dataclass(frozen=True, eq=False)
class FrameReader:
    """Features of single frames. `one`: of one frame drawn from each clip, so that the rows are independent."""

    network: Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b d"]]
    about: Mapping[str, Any]
    prepare: Prepare
    one: bool = False
    seed: int = 0
    batch: int = 32
    device: torch.device = CPU

    @property
    def identity(self) -> Mapping[str, Any]:
        which = {"frame": "one at random", "frame_seed": self.seed} if self.one else {"frame": "all"}
        return {**self.about, **which, "prepare": self.prepare.model_dump(mode="json")}

    @torch.inference_mode()
    def __call__(self, clips: Sequence[UInt8[Tensor, "_t 3 _h _w"]]) -> Float[Tensor, "n d"]:
        parts = [part for clip in clips for part in self._chosen(clip).split(self.batch)]
        rows: list[Float[Tensor, "_b d"]] = []
        while parts:
            together, parts = _first(parts, self.batch)
            frames = torch.cat([prepared(part, self.prepare) for part in together])
            rows.append(self.network(frames.to(self.device)).cpu())
        return torch.cat(rows).float()

    def _chosen(self, clip: UInt8[Tensor, "t 3 h w"]) -> UInt8[Tensor, "_n 3 h w"]:
        if not self.one:
            return clip
        digest = hashlib.blake2b(clip.numpy().tobytes(), digest_size=8).hexdigest()
        number = int(torch.randint(len(clip), (), generator=generator_for(self.seed, "frame", digest)))
        return clip[number : number + 1]


def _first(
    parts: list[UInt8[Tensor, "_n 3 _h _w"]], most: int
) -> tuple[list[UInt8[Tensor, "_n 3 _h _w"]], list[UInt8[Tensor, "_n 3 _h _w"]]]:
    """As many of the parts as hold `most` frames together, and the rest."""
    held = list(accumulate(map(len, parts)))
    num = max(1, bisect_right(held, most))
    return parts[:num], parts[num:]


class RandomNetwork(nn.Module):
    """Three random 3-D convolutions; features are means and deviations of their channels over time and space.

    It sees colour, texture and motion a little, and has learned nothing: good for tests and for noticing that two sets
    differ, no measure of quality.
    """

    def __init__(self, seed: int = 0, width: int = 16) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 2 * width)
        self.layers = nn.ModuleList(
            nn.Conv3d(one, other, 3, stride=(1 if number else 2, 2, 2), padding=1)
            for number, (one, other) in enumerate(pairwise(widths))
        )
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
                parameter.copy_(torch.randn(parameter.shape, generator=generator_for(seed, name)) * spread * 2)
        self.requires_grad_(False)

    def forward(self, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b d"]:
        hidden, seen = channels_first(clips), []
        for layer in self.layers:
            hidden = torch.nn.functional.gelu(layer(hidden))
            flat = rearrange(hidden, "b c t h w -> b c (t h w)")
            seen += [flat.mean(2), flat.std(2)]
        return torch.cat(seen, 1)


class ScriptedVideo(nn.Module):
    """A TorchScript file that maps `b 3 t h w` to features; frames are prepared outside."""

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script

    def forward(self, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b d"]:
        return self.script(channels_first(clips).contiguous()).flatten(1)


class ScriptedI3d(nn.Module):
    """`i3d_torchscript.pt`: the 400 logits, before softmax. `inside`: it squashes and scales bytes by itself."""

    def __init__(self, script: nn.Module, inside: bool) -> None:
        super().__init__()
        self.script, self.inside = script, inside

    def forward(self, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b d"]:
        read = channels_first(clips).contiguous()
        return self.script(read, rescale=self.inside, resize=self.inside, return_features=True)


@dataclass(frozen=True)
class Source:
    """A network that users bring: where its file comes from, and under what licence. Nothing is downloaded.

    `sha256`: by the name of a released file what it must be, or how that begins, where it is known. A file of another
    name is one of the user's own.
    """

    file: str
    source: str
    licence: str
    fetch: str
    sha256: Mapping[str, str] = field(default_factory=dict)


def checked(name: str, path: Path | None) -> dict[str, str]:
    """File name and sha256 of a user's file; what is missing, or not what it should be, says where it comes from."""
    row = SOURCES.get(name)
    if row is None:
        raise UserError(f"there is no network '{name}'; {nearest(name, list(SOURCES))}")
    where = f"'{name}' is {row.file} ({row.licence}), from {row.source}; fetch it with: {row.fetch}"
    if path is None:
        raise UserError(f"the network {where} and pass --network {name}=PATH")
    if not path.exists():
        raise UserError(f"there is nothing at '{path}'. The network {where}")
    try:
        found = sha256_known(path, row.sha256)
    except UserError as error:
        raise UserError(f"{error}. The network {where}") from None
    return {"network": name, "file": path.name, "sha256": found}


def sha256_known(path: Path, known: Mapping[str, str]) -> str:
    """Of a file or folder; refused if it is another than is known by its name, or told in NAME.sha256 beside it."""
    found = sha256_of(path)
    for wanted in filter(None, (known.get(path.name), _first_word(path.parent / f"{path.name}.sha256"))):
        if not found.startswith(wanted.lower()):
            raise UserError(
                f"'{path}' is not the file it should be: its sha256 is {found} and must begin with {wanted}"
            )
    return found


def _first_word(path: Path) -> str | None:
    """The digest in a file as `sha256sum` writes it."""
    words = path.read_text(errors="replace").split() if path.is_file() else []
    return words[0] if words else None


def load_weights(path: Path, plain: Callable[[], nn.Module] | None = None) -> nn.Module:
    """A TorchScript file, or a state dict of what `plain` builds."""
    try:
        if zipfile.is_zipfile(path) and any("/code/" in name for name in zipfile.ZipFile(path).namelist()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # torch would have such files replaced; they exist
                return torch.jit.load(str(path), map_location="cpu").eval()
        if plain is None:
            raise UserError(f"'{path}' must be a TorchScript file and is none; save the network with torch.jit.save")
        network = plain()
        network.load_state_dict(load_state(path))
        return network.eval().requires_grad_(False)
    except (RuntimeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"'{path}' cannot be loaded ({first_line(error)}); fetch it again") from None


def load_state(path: Path) -> dict[str, Tensor]:
    """A state dict."""
    state = load_checkpoint(path)
    if strange := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise UserError(f"'{path}' must hold a state dict, and its '{strange[0]}' is no tensor; fetch it again")
    return state


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A state dict, or several of them by name; nothing else that a file may hold is run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"'{path}' holds no weights ({first_line(error)}); fetch it again") from None
    if not isinstance(state, dict):
        raise UserError(f"'{path}' must hold a state dict, got {type(state).__name__}; fetch it again")
    return state


SOURCES: dict[str, Source] = {
    "i3d": Source(
        "i3d_torchscript.pt, or i3d_pretrained_400.pt for all protocols but styleganv",
        "Hugging Face flateon/FVD-I3D-torchscript (or dropbox.com/s/ge9e5ujwgetktms); "
        "github.com/songweige/TATS tats/fvd/",
        "DeepMind I3D, Apache-2.0", "hf download flateon/FVD-I3D-torchscript --local-dir i3d",
        {"i3d_torchscript.pt": "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"},
    ),
    "inception": Source(
        "pt_inception-2015-12-05-6726825d.pth", "the releases of github.com/mseitzer/pytorch-fid", "Apache-2.0",
        "curl -LO https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        {"pt_inception-2015-12-05-6726825d.pth": "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"},
    ),
    "c3d": Source(
        "c3d_ucf101.pt", "dropbox.com/s/jxpu7avzdc9n97q", "for research",
        "curl -L -o c3d_ucf101.pt 'https://www.dropbox.com/s/jxpu7avzdc9n97q/c3d_ucf101.pt?dl=1'",
    ),
    "clip": Source(
        "the folder of openai/clip-vit-base-patch32", "Hugging Face openai/clip-vit-base-patch32", "MIT",
        "hf download openai/clip-vit-base-patch32 --local-dir clip",
    ),
    "dino": Source(
        "the folder of facebook/dino-vitb16", "Hugging Face facebook/dino-vitb16", "Apache-2.0",
        "hf download facebook/dino-vitb16 --local-dir dino",
    ),
    "videomae": Source(
        "a folder that `vitascope evaluate convert videomae vit_g_hybrid_pt_1200e_ssv2_ft.pth --out videomae` wrote",
        "Hugging Face OpenGVLab/VideoMAE2 mae-g/ (or OpenGVLab/InternVideoMAE_models)", "see its page",
        "hf download OpenGVLab/VideoMAE2 mae-g/vit_g_hybrid_pt_1200e_ssv2_ft.pth --local-dir .",
    ),
    "vjepa": Source(
        "vjepa.pt that `vitascope evaluate convert vjepa vith16.pth.tar ssv2-probe.pth.tar --out vjepa.pt` wrote",
        "dl.fbaipublicfiles.com/jepa/vith16/", "see its repository",
        "curl --remote-name-all 'https://dl.fbaipublicfiles.com/jepa/vith16/{vith16,ssv2-probe}.pth.tar'",
    ),
    "alexnet": Source(
        "alexnet-owt-7be5be79.pth", "download.pytorch.org/models", "BSD-3-Clause",
        "curl -LO https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        {"alexnet-owt-7be5be79.pth": "7be5be79"},
    ),
    "lpips": Source(
        "alex.pth of LPIPS v0.1, the learned weights of its layers", "github.com/richzhang/PerceptualSimilarity",
        "BSD-2-Clause",
        "curl -LO https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/alex.pth",
        {"alex.pth": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"},
    ),
    "toyland": Source(
        "toyland.safetensors, which comes with the package: give none, or another that you trained", "this package",
        "Apache-2.0", "python -m vitascope.recipes.toyland_network --out toyland.safetensors",
    ),
}  # fmt: skip
