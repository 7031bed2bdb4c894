"""vitascope: make, train and measure text-and-image-to-video models.

import vitascope
model = vitascope.load()
clip = model.generate("a small red circle moves left on a black background", seed=1)
clip.save("red.mp4")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vitascope.errors import UserError as UserError
    from vitascope.sample.loading import load as load
    from vitascope.sample.model import Model as Model
    from vitascope.types import Clip as Clip
    from vitascope.types import Request as Request

_HOMES = {"load": "sample.loading", "Model": "sample.model", "Clip": "types", "Request": "types", "UserError": "errors"}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `vitascope --help` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vitascope' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"vitascope.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
