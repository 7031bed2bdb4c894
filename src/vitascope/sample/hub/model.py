"""A checkpoint of others as its users meet it: the same requests, files and errors as a model of ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitascope.config import nearest
from vitascope.errors import first_line, is_out_of_memory
from vitascope.sample.hub.decoding import decoding
from vitascope.sample.hub.folder import INDEX, Checkpoint, check_whole, checksum, find, import_diffusers
from vitascope.sample.hub.legal import Route, Wish, arguments_of, legalise, routes_of, settings_of
from vitascope.sample.hub.lora import merge, parse
from vitascope.sample.hub.watching import Watch, heard, watched
from vitascope.sample.latents import StepCallback, read_latents, write_latents
from vitascope.sample.legal import legal_fps, request_of
from vitascope.sample.model import HUB, Model, Source, check_maker
from vitascope.types import Clip, Request, UserError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
OFFLOADS = ("none", "model", "sequential")
STEPS_TO_DECODE = 2  # the fewest that every pipeline can take


class HubModel(Model):
    """The pipelines over a checkpoint's parts, and where they came from."""

    has_previews = False

    def __init__(self, routes: tuple[Route, ...], identity: str, origin: Mapping[str, Any], source: Source) -> None:
        self.routes, self._identity, self.origin, self.source = routes, identity, dict(origin), source
        self.reworked_frames = max((route.traits.num_frames for route in routes if route.traits.video), default=0)

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def sampling(self) -> dict[str, Any]:
        own = self.routes[0].traits
        return {"steps": own.steps, "guidance": own.scale, **self.origin}

    def fulfil(
        self, request: Request, *, progress: StepCallback | None = None, keep_latents: Path | None = None
    ) -> Clip:
        wish = legalise(self.routes, request)
        settings = settings_of(wish, self.identity, self.origin)
        keep = partial(_keep, keep_latents, settings) if keep_latents is not None else None
        watch = Watch(wish.steps, progress)
        with watched(wish.route.pipeline.components, watch), _saying_what_memory_lacks(watch):
            return self._run(wish, settings, wish.steps, watch, keep=keep)

    def _run(self, wish: Wish, settings: dict[str, Any], steps: int, watch: Watch, **latents: Any) -> Clip:
        """The clip of a pipeline's call; `latents`: what to do with those that it decodes."""
        pipeline = wish.route.pipeline
        rng = torch.Generator(pipeline._execution_device).manual_seed(wish.request.seed)
        called = {"callback_on_step_end": watch, "output_type": "pt", "generator": rng}
        called = {name: value for name, value in called.items() if name in wish.route.traits.accepts}
        listening = nullcontext() if "callback_on_step_end" in called else heard(pipeline, watch)
        try:
            with decoding(pipeline.vae, **latents) as through, listening, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # diffusers' own, about its insides
                frames = pipeline(**arguments_of(wish, steps), **called).frames
        except ValueError as error:
            if watch.done:
                raise
            raise UserError(f"the pipeline refuses this request: {first_line(error)}") from error
        finally:
            self.routes[0].pipeline.maybe_free_model_hooks()  # of the one that has them
        pixels = frames[0].float().cpu()
        watch.look_at(pixels)
        how = through.way + (": the memory was full" if through.was_full else "")
        told = {**settings, "num_frames": len(pixels), "hub": {**settings["hub"], "decoded": how}}
        return Clip(pixels.clamp(0, 1), wish.fps, wish.request.prompt, told)

    def batch(self, requests: Sequence[Request]) -> list[Clip]:
        """One after the other, as these models fill the memory one at a time."""
        return [self.fulfil(request) for request in requests]

    def decode(self, latents: Path) -> Clip:
        """The pipeline is run again, as short as it can be, and the kept latents take the place of what comes out: so
        everything that it does around its decoder is done."""
        kept, settings = read_latents(latents)
        check_maker(latents, settings, self)
        request = request_of(settings, with_video=True)
        if settings["hub"]["video"]:  # what stands here in its place is not seen by the decoder
            assert request.size is not None  # settings hold it
            black = torch.zeros(3, request.size[1], request.size[0])
            request = replace(request, frames=dict.fromkeys(range(request.num_frames or 1), black))
        wish = legalise(self.routes, request)
        watch = Watch(STEPS_TO_DECODE, None)
        with _saying_what_memory_lacks(watch):
            return self._run(wish, settings, STEPS_TO_DECODE, watch, kept=kept)

    def notes(self, request: Request) -> tuple[str, ...]:
        return legalise(self.routes, request).changes

    def departures(self, request: Request) -> list[str]:
        return []

    def rate_and_size(self, request: Request) -> tuple[float, tuple[int, int]]:
        own = self.routes[0].traits
        return legal_fps(request.fps, own.fps), request.size or own.size

    def preview(self, z: Tensor) -> Clip:
        raise NotImplementedError("each family keeps its latents in an order of its own")

    @torch.no_grad()
    def encode_decode(self, clip: Clip) -> Clip:
        traits, vae = self.routes[0].traits, self.routes[0].pipeline.vae
        if traits.least != (0, 0):
            (width, height), (least_width, least_height) = clip.size, traits.least
            raise UserError(
                f"this checkpoint's autoencoder works in tiles of {least_width}x{least_height} pixels: a clip of "
                f"{width}x{height} cannot go through it alone; measure its videos (vitascope evaluate videos)"
            )
        more = max(clip.num_frames - traits.first, 0)
        short = traits.first + more + -more % traits.cube - clip.num_frames
        pixels = torch.cat([clip.pixels, clip.pixels[-1:].expand(short, -1, -1, -1)]) * 2 - 1
        weight = next(vae.parameters())
        pixels = pixels.to(weight.device, weight.dtype)
        over_time = any(isinstance(layer, nn.Conv3d) for layer in vae.encoder.modules())
        given = pixels.transpose(0, 1)[None] if over_time else pixels
        latents = vae.encode(given).latent_dist.mode()
        with decoding(vae) as through:
            options = {} if over_time or not hasattr(vae.decoder, "time_conv_out") else {"num_frames": len(pixels)}
            back = through.decode(latents, return_dict=False, **options)[0]
        made = back[0].transpose(0, 1) if over_time else back
        return replace(clip, pixels=(made / 2 + 0.5).clamp(0, 1)[: clip.num_frames].float().cpu())


@contextmanager
def _saying_what_memory_lacks(watch: Watch) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"the memory ran out after step {watch.done} of {watch.steps}; try --offload model (or sequential), "
            "--dtype bf16, a smaller --size or fewer frames"
        ) from error


def _keep(path: Path, settings: Mapping[str, Any], latents: Tensor | None) -> None:
    if latents is None:
        path.unlink(missing_ok=True)
    else:
        write_latents(path, latents, settings)


def load_checkpoint(
    name: str,
    revision: str | None = None,
    dtype: str | None = None,
    offload: str | None = None,
    loras: tuple[str, ...] = (),
    device: str = "cpu",
) -> HubModel:
    """The checkpoint of a hub's id or a folder, whole, with its LoRA files added, where it is to run."""
    chosen = dtype or ("bf16" if device.startswith("cuda") else "fp32")
    for option, value, known in (("--dtype", chosen, tuple(DTYPES)), ("--offload", offload or "none", OFFLOADS)):
        if value not in known:
            raise UserError(f"{option} must be one of {', '.join(known)}, got '{value}'; {nearest(value, list(known))}")
    if offload not in (None, "none") and device == "cpu":
        raise UserError("--offload keeps parts in memory until the GPU needs them, and there is no GPU; leave it out")
    wanted = [parse(text) for text in loras]
    found = find(name, revision)
    check_whole(found.folder)
    pipeline = _loaded(found, DTYPES[chosen])
    added = [(merge(pipeline, lora), lora.scale) for lora in wanted]
    identity = checksum(found.folder, tuple(f"{told} {scale:g}" for told, scale in added))
    routes = routes_of(pipeline, found.name)
    if offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
    origin = {
        "checkpoint": name, "revision": found.revision, "dtype": chosen, "device": device.partition(":")[0],
        "loras": [list(one) for one in added],
    }  # fmt: skip
    return HubModel(routes, identity, origin, Source(f"{HUB}{name}", revision, dtype, offload, loras))


def _loaded(found: Checkpoint, dtype: torch.dtype) -> Any:
    diffusers = import_diffusers()
    try:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            found.folder, dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise UserError(f"'{found.name}' cannot be loaded: {first_line(error)}") from error
    if getattr(pipeline, "vae", None) is None:
        raise UserError(f"'{found.name}' has no autoencoder named 'vae' in its '{INDEX}': it is no pipeline of videos")
    return pipeline
