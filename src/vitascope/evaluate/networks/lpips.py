"""LPIPS v0.1 (Zhang et al. 2018) with AlexNet: both files are the user's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

TAPS = (1, 4, 7, 9, 11)
"""Of AlexNet's layers, those behind which features are compared."""


class Lpips(nn.Module):
    """The distance of each pair of frames in [0, 1]; it is scaled here, which v0.0 did not do."""

    shift: Tensor
    scale: Tensor

    def __init__(self, alexnet: Mapping[str, Tensor], linear: Mapping[str, Tensor]) -> None:
        """State dicts: torchvision's AlexNet, of which `features` are used, and the learned weights of the layers."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        own = {name.removeprefix("features."): value for name, value in alexnet.items() if name.startswith("features.")}
        self.layers.load_state_dict(own)
        weights = [linear[f"lin{number}.model.1.weight"] for number in range(len(TAPS))]
        self.weights = nn.ParameterList([weight.flatten() for weight in weights])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, made: Float[Tensor, "t 3 h w"], real: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t"]:
        pairs = zip(self.seen(made), self.seen(real), self.weights, strict=True)
        layers = [((one - other).square() * weight[:, None, None]).sum(1).mean((1, 2)) for one, other, weight in pairs]
        return torch.stack(layers).sum(0)

    def seen(self, frames: Float[Tensor, "t 3 h w"]) -> list[Float[Tensor, "t _c _h _w"]]:
        """Features behind each tap, their channels scaled to unit length."""
        pixels = frames.float().to(self.shift.device)
        hidden, found = (2 * pixels - 1 - self.shift) / self.scale, []
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if number in TAPS:
                found.append(functional.normalize(hidden, dim=1, eps=1e-10))
        return found
