"""The door of a pipeline's decoder: what goes through is kept first, and tried again in other ways if memory ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vitascope.errors import is_out_of_memory
from vitascope.types import UserError

Keep = Callable[[Tensor | None], None]
"""What to do with latents that are about to be decoded; None: forget them."""
Way = tuple[str, Callable[..., Tensor]]


class Decoding:
    """How a decoder was used: the latents that it was given, and the way in which it could decode them."""

    def __init__(self, vae: Any, keep: Keep | None, kept: Tensor | None) -> None:
        self.vae, self.keep, self.kept = vae, keep, kept
        self.original, self.num_calls, self.way, self.was_full = vae.decode, 0, "", False

    def decode(self, z: Tensor, *args: Any, **options: Any) -> Any:
        """In place of the decoder's own `decode`. `kept` latents take the place of those that come."""
        from diffusers.models.autoencoders.vae import DecoderOutput  # late: an extra

        self.num_calls += 1
        if self.kept is not None:
            if self.num_calls > 1:
                raise UserError("this pipeline decodes a video in pieces, which kept latents cannot take the place of")
            z = self.kept.to(z.device, z.dtype)
        if self.keep is not None:
            self.keep(z if self.num_calls == 1 else None)  # what is decoded in pieces could not be finished from them
        in_tuple = options.pop("return_dict", True) is False
        video = self._decoded(z, *args, **options)
        return (video,) if in_tuple else DecoderOutput(sample=video)

    def _decoded(self, z: Tensor, *args: Any, **options: Any) -> Tensor:
        ways = self._ways(z)
        for number, (name, decode) in enumerate(ways, 1):
            try:
                video = decode(z, *args, **options)
            except NotImplementedError:  # so Allegro's decoder asks for tiles
                if number == len(ways):
                    raise
            except (RuntimeError, MemoryError) as error:
                if number == len(ways) or not is_out_of_memory(error):
                    raise
                self.was_full = True
            else:
                self.way = name
                return video
            torch.cuda.empty_cache()
        raise AssertionError("the last way returns or raises")

    def _ways(self, z: Tensor) -> list[Way]:
        """From the quickest to the one that needs least."""
        ways: list[Way] = [("at once", self._plain)]
        if z.ndim == 4 and len(z) > 1:
            ways.append(("frame by frame", self._frame_by_frame))
        if hasattr(self.vae, "enable_tiling"):
            ways.append(("in tiles", self._in_tiles))
        return [*ways, ("on the processor", self._on_cpu)]

    def _plain(self, z: Tensor, *args: Any, **options: Any) -> Tensor:
        return self.original(z, *args, return_dict=False, **options)[0]

    def _frame_by_frame(self, z: Tensor, *args: Any, **options: Any) -> Tensor:
        if "num_frames" in options:
            options["num_frames"] = 1
        return torch.cat([self._plain(one, *args, **options) for one in z.split(1)])

    def _in_tiles(self, z: Tensor, *args: Any, **options: Any) -> Tensor:
        self.vae.enable_tiling()
        try:
            return self._plain(z, *args, **options)
        finally:
            self.vae.disable_tiling()

    def _sparing(self, z: Tensor, *args: Any, **options: Any) -> Tensor:
        try:
            return self._in_tiles(z, *args, **options)
        except (NotImplementedError, AttributeError):  # it knows no tiles
            return self._plain(z, *args, **options)

    def _on_cpu(self, z: Tensor, *args: Any, **options: Any) -> Tensor:
        """In single precision, which processors are quick in, and in tiles where there are such."""
        before = next(self.vae.parameters())
        device, dtype = before.device, before.dtype
        offloaded = hasattr(self.vae, "_hf_hook")
        by_layer = offloaded and not hasattr(self.vae._hf_hook, "prev_module_hook")  # whole parts have a hook that has
        if offloaded:
            from accelerate.hooks import remove_hook_from_module  # late: an extra

            remove_hook_from_module(self.vae, recurse=True)
        try:
            self.vae.to("cpu", torch.float32)
            args = tuple(one.to("cpu", torch.float32) if isinstance(one, Tensor) else one for one in args)
            return self._sparing(z.to("cpu", torch.float32), *args, **options).to(z.device)
        finally:
            self.vae.to("cpu" if offloaded else device, dtype)
            if by_layer:  # whole parts are hooked again by the pipeline, after each video
                from accelerate import cpu_offload

                cpu_offload(self.vae, z.device, offload_buffers=bool(self.vae._parameters))


@contextmanager
def decoding(vae: Any, *, keep: Keep | None = None, kept: Tensor | None = None) -> Iterator[Decoding]:
    """While it lasts, everything that `vae` decodes goes through a `Decoding`."""
    through = Decoding(vae, keep, kept)
    vae.decode = through.decode
    try:
        yield through
    finally:
        del vae.decode  # the instance's; its class has the original
