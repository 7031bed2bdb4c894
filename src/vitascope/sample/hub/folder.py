"""A checkpoint in diffusers' layout: found on this disk or fetched, every file whole, and known by its checksum."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitascope.checksums import sha256_of
from vitascope.errors import first_line, install
from vitascope.types import UserError

INDEX = "model_index.json"
AGAIN = "fetch the checkpoint again: what is whole is kept"
STEMS = ("diffusion_pytorch_model", "model")  # of weights, as diffusers and transformers name them
SETTINGS = (
    ".json",
    ".txt",
    ".model",
    ".jinja",
)  # of settings, vocabularies and templates


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint lies, and which one it is."""

    name: str  # as it was asked for
    folder: Path
    revision: str  # of its repository; empty for a folder of the user's own


def find(name: str, revision: str | None = None) -> Checkpoint:
    """The checkpoint in a folder, or that of a repository on the hub, which is fetched unless it is here already."""
    if not name.strip():
        raise UserError("'hub:' must be followed by a folder or the id of a repository; 'vitascope models' lists some")
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UserError(f"'{name}' is a folder, which has no revisions; leave --revision out")
        return Checkpoint(name, folder, "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise UserError(
            f"'{name}' is neither a folder nor the id of a repository (such as Wan-AI/Wan2.1-T2V-1.3B-Diffusers)"
        )
    fetched = _fetched(name, revision)
    return Checkpoint(name, fetched, fetched.name)


def _fetched(name: str, revision: str | None) -> Path:
    diffusers = import_diffusers()
    try:
        return Path(diffusers.DiffusionPipeline.download(name, revision=revision, use_safetensors=True))
    except (OSError, ValueError) as error:  # the hub's errors are of these kinds
        raise UserError(_why_not_fetched(name, revision, error)) from error


def _why_not_fetched(name: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub import errors as hub  # late: it comes with the extra

    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    if any(isinstance(cause, hub.GatedRepoError) for cause in causes):
        return f"'{name}' is gated: accept its licence at https://huggingface.co/{name}, then 'hf auth login'"
    if any(isinstance(cause, hub.RevisionNotFoundError) for cause in causes):
        return f"'{name}' has no revision '{revision}'; look at https://huggingface.co/{name}/commits/main"
    if any(isinstance(cause, hub.RepositoryNotFoundError) for cause in causes):
        return (
            f"there is no repository '{name}' on the hub, or it is not yours to see; check the id, or 'hf auth login'"
        )
    at = f" --revision {revision}" if revision else ""
    return (
        f"'{name}' is not on this disk and could not be fetched ({first_line(causes[-1])}). Two ways to get its files: "
        f"where there is a network, 'hf download {name}{at}', which goes on where it was interrupted; or, on another "
        f"machine, 'hf download {name}{at} --local-dir DIR', copy DIR here and give --model hub:DIR"
    )


def import_diffusers() -> Any:
    """diffusers, quiet but for downloads; what to install where it is missing."""
    try:
        import diffusers
        import huggingface_hub
        import transformers
    except ImportError as error:
        raise UserError(f"checkpoints of others need more packages ({first_line(error)}): {install('hub')}") from error
    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    if huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS is None:  # else its user has said
        huggingface_hub.utils.enable_progress_bars()  # transformers ends these too, and a download is long
    return diffusers


def read_index(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of its parts: the class of its pipeline, and by name the library and class of each."""
    path = folder / INDEX
    if not path.is_file():
        raise UserError(f"'{folder}' holds no checkpoint in diffusers' layout: '{INDEX}' is missing{_instead(folder)}")
    try:
        index = json.loads(path.read_text())
        index["_class_name"] + ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' is damaged ({error!r}); fetch it again") from None
    for name, kind in index.items():
        if isinstance(kind, list) and not (len(kind) == 2 and (kind[0] is None or all(map(_is_word, kind)))):
            raise UserError(f"'{path}' is damaged: '{name}' must be a library and a class, got {kind}; fetch it again")
    return dict(index)


def _is_word(thing: object) -> bool:
    return isinstance(thing, str) and bool(thing)


def _instead(folder: Path) -> str:
    if (folder / "model.json").is_file():
        return f"; it is a model of vitascope: give --model {folder}"
    try:
        kind = json.loads((folder / "config.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return "; give the folder that has it, or the id of a repository"
    return f"; it holds a '{kind}' alone: put it into a whole pipeline and save that (docs/hub.md)"


def check_whole(folder: Path) -> None:
    """Refuse a folder in which weights or a vocabulary are missing or cut off, as an interrupted download leaves it."""
    index = read_index(folder)
    for part in _parts(folder):
        kind = _class_of(*index[part.name])
        if not _weights_in(part) and _is_network(kind):
            raise UserError(f"'{part}' has no weights as safetensors: {_instead_of_weights(part)}")
        if lacking := _lacking_vocabulary(part, kind):  # else it would read no words, and say nothing
            raise UserError(f"'{part}' has no {lacking}: the download was interrupted; {AGAIN}")
    for path in weights_of(folder):
        if not path.is_file():
            raise UserError(f"'{path}' is missing: the download was interrupted; {AGAIN}")
        is_, should = path.stat().st_size, _stated_size(path)
        if is_ != should:
            raise UserError(
                f"'{path}' is damaged: it has {is_:,} bytes and should have {should:,}; delete it and fetch it again"
            )


def looks_whole(folder: Path) -> bool:
    """Whether files of all parts are there, told by names alone: `check_whole` reads them and is slow to import."""
    try:
        parts = all(_weights_in(part) or not (part / "config.json").is_file() for part in _parts(folder))
        return parts and all(path.is_file() for path in weights_of(folder))
    except UserError:
        return False


def weights_of(folder: Path) -> list[Path]:
    """The files of weights that are loaded: of each part one, or the shards that its index names."""
    return [path for part in _parts(folder) for path in _weights_in(part)]


def _parts(folder: Path) -> Iterator[Path]:
    for name, kind in read_index(folder).items():
        if isinstance(kind, list) and kind[0] is not None:
            if not (folder / name).is_dir():
                raise UserError(
                    f"'{folder / name}' is missing: the download was interrupted; fetch the checkpoint again"
                )
            yield folder / name


def _weights_in(part: Path) -> list[Path]:
    for stem in STEMS:
        index = part / f"{stem}.safetensors.index.json"
        if index.is_file():
            try:
                return [part / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
            except (ValueError, KeyError, AttributeError) as error:
                raise UserError(f"'{index}' is damaged ({error!r}); delete it and fetch it again") from None
        if (part / f"{stem}.safetensors").is_file():
            return [part / f"{stem}.safetensors"]
    return []


def _class_of(library: str, kind: str) -> type | None:
    """The class of a part, where it is one of diffusers or transformers."""
    import_diffusers()
    found = getattr(sys.modules.get(library), kind, None)
    return found if isinstance(found, type) else None


def _is_network(kind: type | None) -> bool:
    """Whether a part of this class has weights: not so schedulers, tokenizers and image processors."""
    from torch import nn  # late, with diffusers

    return kind is not None and issubclass(kind, nn.Module)


def _lacking_vocabulary(part: Path, kind: type | None) -> str:
    """The files that a tokenizer lacks: it has its vocabulary in one of its own, or in all of the older ones."""
    from transformers import PreTrainedTokenizerBase  # late: an extra

    if kind is None or not issubclass(kind, PreTrainedTokenizerBase):
        return ""
    tokenizer: Any = kind
    older = dict(tokenizer.vocab_files_names)
    whole = older.pop("tokenizer_file", None)
    if (whole is None and not older) or (whole is not None and (part / whole).is_file()):
        return ""  # such as that of bytes, which has none
    lacking = [f"'{name}'" for name in older.values() if not (part / name).is_file()]
    return " or ".join(([f"'{whole}'"] if whole and (lacking or not older) else []) + lacking)


def _instead_of_weights(part: Path) -> str:
    if any(part.glob("*.bin")):
        return "only as pickles, which can run programs; have them converted"
    if others := sorted(path.name for path in part.glob("*.safetensors")):
        return f"'{others[0]}' is no name that is read; rename it to '{STEMS[0]}.safetensors'"
    return f"the download was interrupted; {AGAIN}"


def _stated_size(path: Path) -> int:
    """How long a safetensors file says it is: the length of its header, the header, and the last byte it speaks of."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < 100_000_000 else {}
        return 8 + length + max(one["data_offsets"][1] for name, one in header.items() if name != "__metadata__")
    except (struct.error, ValueError, KeyError, TypeError):
        raise UserError(f"'{path}' is damaged: it has no header of safetensors; delete it and fetch it again") from None
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({os.strerror(error.errno or 0)}); see to its permissions") from None


def checksum(folder: Path, more: tuple[str, ...] = ()) -> str:
    """One number for all that rules a video: weights, vocabularies, settings by place and content, what was added."""
    files = [folder / INDEX, *weights_of(folder), *(path for part in _parts(folder) for path in _settings_in(part))]
    told = [f"{path.relative_to(folder)} {file_checksum(path)}" for path in files]
    return hashlib.sha256("\n".join([*sorted(told), *more]).encode()).hexdigest()


def _settings_in(part: Path) -> list[Path]:
    """The index of shards is left out: how weights are cut into files does not change a video's making."""
    return [path for path in part.iterdir() if path.suffix in SETTINGS and not path.name.endswith(".index.json")]


def file_checksum(path: Path) -> str:
    """The checksum of a file. In the hub's cache it is the name of what a link leads to, so that nothing is read."""
    kept = path.resolve()
    if kept.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", kept.name):
        return kept.name
    return sha256_of(path)
