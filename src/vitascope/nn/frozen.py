"""A network that never learns, kept out of sight of optimizers, averages and checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """Moves and casts with the module that holds it; has no parameters of its own: gigabytes that never change."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._hidden: tuple[nn.Module] = (network.eval().requires_grad_(False),)
        self._digest: str | None = None
        self._fingerprint: str | None = None

    @property
    def network(self) -> Any:
        return self._hidden[0]

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def digest(self) -> str:
        """Of the weights alone."""
        if self._digest is None:
            self._digest = digest_of(self.network.state_dict())
        return self._digest

    @property
    def fingerprint(self) -> str:
        """A digest of the weights and of the settings that shape the forward pass (a `config` of Hugging Face), made
        once for each place and type that the network is moved to."""
        if self._fingerprint is None:
            settings = self.network.config
            settings = dict(settings) if isinstance(settings, Mapping) else settings.to_dict()
            told = {name: value for name, value in settings.items() if not name.startswith("_")}
            self._fingerprint = self.digest + json.dumps(told, sort_keys=True, default=str)
        return self._fingerprint

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        self.network._apply(fn, recurse)
        self._digest = self._fingerprint = None
        return super()._apply(fn, recurse)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=20)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
