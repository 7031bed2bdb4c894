"""What a pipeline says of itself: by the signature of its call, and by the settings of its parts, for all families."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vitascope.sample.hub.known import native
from vitascope.types import UserError


@dataclass(frozen=True)
class Traits:
    """What a pipeline takes and makes. A name is that of an argument of its call, empty where it has no such one."""

    accepts: Mapping[str, Any]  # every argument by name, with its default
    words: bool  # it reads a prompt
    negative: str  # empty too where it is taken but passed over
    image: str
    last_image: str
    needs_last: bool
    video: str
    length: str
    guidance: str
    rate: str
    size: tuple[int, int]  # its own, in pixels; the same for all below
    fixed_size: bool
    num_frames: int
    fps: float
    steps: int
    scale: float  # of guidance
    grain: tuple[int, int]  # width and height of the blocks of pixels that it works in
    least: tuple[int, int]  # the smallest size, to which blocks are added; zero where there is none
    cube: int  # frames that are made together
    first: int  # frames that come before them: 1 where time is causal, more where no fewer can be made
    most_frames: int | None
    lengths: tuple[int, ...]  # the only ones, where there are such
    most_words: int  # parts of words (tokens) that are read of a prompt

    def legal_length(self, wished: float) -> int:
        """The nearest length that the pipeline can make."""
        if self.lengths:
            return min(self.lengths, key=lambda some: abs(some - wished))
        most = self.most_frames or math.inf
        between = (min(wished, most) - self.first) / self.cube
        cubes = max(math.floor(between + 0.5), 0 if self.first else 1)  # of two as near the longer
        nearest = self.first + cubes * self.cube
        return nearest if nearest <= most else nearest - self.cube


def read(pipeline: Any, name: str = "") -> Traits:
    """The traits of a pipeline. `name` is the id of its repository, whose makers may state more than it does itself."""
    accepts = {
        key: None if one.default is inspect.Parameter.empty else one.default
        for key, one in inspect.signature(type(pipeline).__call__).parameters.items()
        if key != "self"
    }
    denoiser = denoiser_of(pipeline)
    stated = native(name, type(pipeline).__name__)
    spatial = _first(pipeline, SPATIAL) or 8
    at_once = stated.latents_at_once * (getattr(denoiser.config, "patch_size_t", None) or 1)
    cube = (_first(pipeline, TEMPORAL) or 1) * at_once
    side = spatial * _cells(denoiser)
    length, guidance = _named(accepts, LENGTH), _named(accepts, GUIDANCE)
    rate, only = _named(accepts, RATE), getattr(denoiser.config, "video_length", None)
    adapter = getattr(pipeline, "motion_adapter", None)
    told = only or accepts.get(length) or _frames(denoiser, stated.counts_latents, cube)
    num_frames = stated.num_frames or told or 16
    first, least, grain = num_frames % cube if cube > 1 else 0, (0, 0), (side, side)
    if tiles := _tiles(pipeline):
        (first, *rows_columns), steps = tiles
        cube, rows, columns = map(math.lcm, steps, (cube, side, side))
        least, grain = (rows_columns[1], rows_columns[0]), (columns, rows)
    # A denoiser that sees encoded pictures has room for one of them, or for exactly two (Wan's FLF2V). One that is told
    # a time for each frame (Wan 2.2 TI2V) is given the first alone, though its pipeline's call has both.
    two = getattr(denoiser.config, "pos_embed_seq_len", None) is not None
    per_frame = bool(pipeline.config.get("expand_timesteps"))
    needs_encoded = getattr(pipeline, "image_encoder", None) is not None
    return Traits(
        accepts=accepts,
        words="prompt" in accepts,
        negative=_named(accepts, ("negative_prompt",)) if (accepts.get("true_cfg_scale") or 2.0) > 1 else "",
        image=_named(accepts, ("image",)),
        last_image=_named(accepts, ("last_image",)) if two or not (needs_encoded or per_frame) else "",
        needs_last=two,
        video=_named(accepts, ("video",)),
        length=length,
        guidance=guidance,
        rate=rate,
        size=stated.size or _size(pipeline, accepts, denoiser, spatial, side),
        fixed_size=bool(getattr(denoiser.config, "use_learned_positional_embeddings", False)),
        num_frames=num_frames,
        fps=float(stated.fps or accepts.get(rate) or 8),
        steps=accepts.get("num_inference_steps") or 50,
        scale=float(accepts.get(guidance) or 1.0),
        grain=grain,
        least=least,
        cube=cube,
        first=first,
        most_frames=adapter.config.motion_max_seq_length if adapter is not None else None,
        lengths=(1, only) if only else (),
        most_words=stated.most_words
        or accepts.get("max_sequence_length")
        or getattr(getattr(pipeline, "tokenizer", None), "model_max_length", None)
        or sys.maxsize,
    )


def _tiles(pipeline: Any) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Sides and distances (frames, rows, columns) of the tiles of an autoencoder that decodes in no other way, as
    Allegro's: what they do not cover stays black."""
    vae = pipeline.vae
    kernel, stride = getattr(vae, "kernel", None), getattr(vae, "stride", None)
    return (kernel, stride) if isinstance(kernel, tuple) and isinstance(stride, tuple) else None


def denoiser_of(pipeline: Any) -> Any:
    """The part that takes the noise away, by the names that it has in every pipeline of diffusers."""
    for name in DENOISERS:
        if getattr(pipeline, name, None) is not None:
            return getattr(pipeline, name)
    raise UserError(f"'{type(pipeline).__name__}' has no {' or '.join(DENOISERS)}: it is no pipeline of videos")


def _named(accepts: Iterable[str], names: tuple[str, ...]) -> str:
    return next((name for name in names if name in accepts), "")


def _first(thing: Any, names: tuple[str, ...]) -> int:
    return next((int(getattr(thing, name)) for name in names if getattr(thing, name, None)), 0)


def _cells(denoiser: Any) -> int:
    """Latent cells on a side of the smallest block that the denoiser can work in."""
    patch = getattr(denoiser.config, "patch_size", None)
    if patch is not None:
        return int(patch[-1] if isinstance(patch, (tuple, list)) else patch)
    blocks = getattr(denoiser.config, "block_out_channels", (1,))
    return 2 ** (len(blocks) - 1)  # a U-Net halves the sides once less than it has stages


def _size(pipeline: Any, accepts: Mapping[str, Any], denoiser: Any, spatial: int, side: int) -> tuple[int, int]:
    """In a signature, in the pipeline (Mochi), or counted in latent cells in the settings of the denoiser."""
    width, height = (accepts.get(one) or getattr(pipeline, f"default_{one}", None) for one in ("width", "height"))
    if width and height:
        return width, height
    config = denoiser.config
    cells = [getattr(config, name, None) or getattr(config, "sample_size", None) for name in SAMPLE]
    width, height = (one[-1] if isinstance(one, (tuple, list)) else one for one in cells)
    if width and height:
        return width * spatial, height * spatial
    return 512 // side * side or side, 512 // side * side or side


def _frames(denoiser: Any, counts_latents: bool, cube: int) -> int:
    frames = getattr(denoiser.config, "sample_frames", None) or getattr(denoiser.config, "num_frames", None) or 0
    return frames * cube if counts_latents else frames


SPATIAL = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_spatial_scale_factor", "vae_scale_factor")
TEMPORAL = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
DENOISERS = ("transformer", "unet")
SAMPLE = ("sample_width", "sample_height")
LENGTH = ("num_frames", "video_length", "frames")
GUIDANCE = ("guidance_scale", "max_guidance_scale")
RATE = ("frame_rate", "fps")
