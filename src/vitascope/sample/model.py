"""A loaded model as its users meet it: words in, a clip out."""

from __future__ import annotations

import shlex
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitascope.card import Card
from vitascope.errors import is_out_of_memory
from vitascope.sample.generate import clip_of, decode, frames_at_once, generate
from vitascope.sample.latents import StepCallback, read_latents
from vitascope.sample.legal import departures, grain_of, legal_fps, legal_size, legalise, of_plain_types, strange_to
from vitascope.sample.memory import refuse_beyond_memory
from vitascope.system import VideoModel
from vitascope.types import Clip, Picture, Request, UserError

HUB = "hub:"


@dataclass(frozen=True)
class Source:
    """Where a model came from, in the words in which `load` was asked for it; all absent: the bundled one."""

    model: str | None = None
    revision: str | None = None
    dtype: str | None = None
    offload: str | None = None
    loras: tuple[str, ...] = ()
    code: tuple[str, ...] = ()  # files with classes of the user's own, to be imported first


class Model(ABC):
    """What makes clips of requests: a model of ours, or a checkpoint of others."""

    has_previews = True  # `preview` can show a video while it is sampled
    reworked_frames = 0  # of a given video that is worked over, if no length is asked for; ours go on from its end
    source = Source()

    @property
    @abstractmethod
    def identity(self) -> str:
        """A checksum of everything that was learnt, kept in the settings of its clips."""

    @property
    @abstractmethod
    def sampling(self) -> dict[str, Any]:
        """What a request gets that does not say, but for size, length and rate."""

    @abstractmethod
    def fulfil(
        self, request: Request, *, progress: StepCallback | None = None, keep_latents: Path | None = None
    ) -> Clip:
        """The clip of one request. `keep_latents`: where to write them before they are decoded."""

    @abstractmethod
    def batch(self, requests: Sequence[Request]) -> list[Clip]:
        """Clips of requests that agree in size, length and all that rules the sampling."""

    @abstractmethod
    def decode(self, latents: Path) -> Clip:
        """The clip of latents that an interrupted `fulfil` kept."""

    @abstractmethod
    def notes(self, request: Request) -> tuple[str, ...]:
        """What would be changed of a request to make it legal, and what of it may be strange to the model, in words.

        UserError where it cannot be made: before any note.
        """

    @abstractmethod
    def departures(self, request: Request) -> list[str]:
        """In which rules a request departs from the model's own, in words."""

    @abstractmethod
    def rate_and_size(self, request: Request) -> tuple[float, tuple[int, int]]:
        """Frames a second and the size that the clip of a request will have."""

    @abstractmethod
    def preview(self, z: Tensor) -> Clip:
        """What a noisy video looks like so far, from what `progress` is told."""

    @abstractmethod
    def encode_decode(self, clip: Clip) -> Clip:
        """The clip through the autoencoder, which no sampler can better."""

    def generate(
        self,
        prompt: str = "",
        *,
        image: Picture | None = None,
        last: Picture | None = None,
        frames: Mapping[int, Picture] | None = None,
        num_frames: int | None = None,
        seconds: float | None = None,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        solver: str | None = None,
        rules: Mapping[str, Any] | None = None,
        negative: str = "",
        progress: StepCallback | None = None,
    ) -> Clip:
        """A clip of `prompt`. `image` is the first frame, `last` the last; `frames` gives any by its number.

        A picture is a tensor `3 h w`, a NumPy array `h w 3` (numbers from 0 to 1, or uint8) or an image of PIL, of any
        size. `rules` are fields of `vitascope.system.Rules` by name, such as `{"guidance_kind": "separate"}`; all that
        is not given is the model's choice. What cannot be made is a UserError; what has to be changed to make the
        request legal, such as its size, or may be strange to the model is a warning.
        """
        request = of_plain_types(Request(
            prompt=prompt, frames={} if frames is None else frames, num_frames=num_frames, seconds=seconds, fps=fps,
            size=size, seed=seed, steps=steps, guidance=guidance, solver=solver,
            rules={} if rules is None else rules, negative=negative,
        ))  # fmt: skip
        ends = {number: picture for number, picture in ((0, image), (-1, last)) if picture is not None}
        if twice := ends.keys() & request.frames.keys():
            raise UserError(f"frame {min(twice)} is given alone (image or last) and among frames; give it once")
        request = replace(request, frames={**ends, **request.frames})
        for note in self.notes(request):
            warnings.warn(note, stacklevel=2)
        return self.fulfil(request, progress=progress)


class OwnModel(Model):
    """A video model of ours with the card that came with its weights."""

    def __init__(self, system: VideoModel, card: Card, source: Source | None = None) -> None:
        self.system, self.card, self.source = system, card, source or Source()

    @property
    def identity(self) -> str:
        return self.card.sha256

    @property
    def sampling(self) -> dict[str, Any]:
        return self.system.config.defaults.model_dump(mode="json", exclude={"size", "num_frames", "fps"})

    def fulfil(
        self, request: Request, *, progress: StepCallback | None = None, keep_latents: Path | None = None
    ) -> Clip:
        """The clip of one request, of any length. `keep_latents`: where to write them before they are decoded."""
        made_by = self.card.sha256
        (clip,) = generate(self.system, [request], progress=progress, keep_latents=keep_latents, made_by=made_by)
        return clip

    def batch(self, requests: Sequence[Request]) -> list[Clip]:
        """Clips of requests that agree in size, length and all that rules the sampling, sampled together."""
        return generate(self.system, requests, made_by=self.card.sha256)

    def decode(self, latents: Path) -> Clip:
        """The clip of latents that an interrupted `fulfil` kept."""
        kept, settings = read_latents(latents)
        check_maker(latents, settings, self)
        if kept.ndim != 4 or kept.shape[1] != self.system.tokenizer.channels:
            raise UserError(
                f"'{latents}' has latents of {kept.shape[1]} channels and this model's have "
                f"{self.system.tokenizer.channels}; give the file that generate left behind"
            )
        try:
            return clip_of(settings, decode(self.system, kept))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # One frame at a time was too much already, so that another length would not help.
            (width, height), num_frames = settings["size"], settings["num_frames"]
            raise UserError(
                f"the memory ran out in decoding {num_frames} frames of {width}x{height}; "
                f"end other programs and decode '{latents}' again: it is kept"
            ) from error

    def notes(self, request: Request) -> tuple[str, ...]:
        legal = legalise(self.system, request)
        refuse_beyond_memory(self.system, legal, frames_at_once(self.system, legal), 1)
        return *legal.changes, *strange_to(self.system.config.defaults, legal)

    def departures(self, request: Request) -> list[str]:
        return departures(self.system.config.defaults, request)

    def rate_and_size(self, request: Request) -> tuple[float, tuple[int, int]]:
        own = self.system.config.defaults
        return legal_fps(request.fps, own.fps), legal_size(request.size or own.size, grain_of(self.system), [])

    def preview(self, z: Tensor) -> Clip:
        return Clip(decode(self.system, z[0]))

    @torch.no_grad()
    def encode_decode(self, clip: Clip) -> Clip:
        pixels = clip.pixels[None].to(self.system.device)
        return replace(clip, pixels=self.system.tokenizer.decode(self.system.tokenizer.encode(pixels))[0].cpu())


def check_maker(path: Path, settings: Mapping[str, Any], model: Model) -> None:
    """Refuse latents that another model made."""
    if settings.get("model") != model.identity:
        origin = settings.get("hub")
        how = f": {options_of(origin)}" if origin else ""
        raise UserError(f"'{path}' was made by another model: its latents mean nothing to this one; give --model{how}")


def options_of(origin: Mapping[str, Any]) -> str:
    """What to type to have the checkpoint that a clip's settings name, as it was loaded."""
    checkpoint = shlex.quote(f"{HUB}{origin['checkpoint']}")
    revision = f" --revision {origin['revision']}" if origin["revision"] else ""
    loras = "".join(f" --lora FILE:{scale:g} (checksum {sha256[:12]})" for sha256, scale in origin["loras"])
    return f"--model {checkpoint}{revision} --dtype {origin['dtype']}{loras}"
