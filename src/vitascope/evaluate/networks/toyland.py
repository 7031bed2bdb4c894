"""A small video network that has learned to describe Toyland: the one trained network that comes with the package.

Its features are to Toyland what I3D's are to the field's videos. It has seen nothing else: a distance of them is no FVD
and cannot stand beside one. `toyland.json` says how it was trained and how often it is right;
`python -m vitascope.recipes.toyland_network` trains it anew.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vitascope.checksums import sha256_of
from vitascope.errors import first_line
from vitascope.evaluate.prepare import channels_first
from vitascope.evaluate.protocol import Prepare
from vitascope.toyland.scene import (
    BACKGROUNDS,
    CAMERAS,
    COLOURS,
    INTERACTIONS,
    MOTIONS,
    SHAPES,
    SIZES,
    SPEEDS,
    STYLES,
    Scene,
)
from vitascope.types import UserError

HOW = Prepare(size=64, antialias=True)
NUM_FEATURES = 64
ONE_OF: dict[str, tuple[str, ...]] = {
    "kind": ("one", "two", "relation", "count", "change", "interaction", "camera", "style"),
    "background": BACKGROUNDS,
    "number of things": ("1", "2", "3", "4"),
    "camera": ("", *CAMERAS),
    "style": ("", *STYLES),
}
"""Questions with one answer a clip."""
ANY_OF: dict[str, tuple[str, ...]] = {
    "shapes": SHAPES,
    "colours": tuple(COLOURS),
    "motions": (*MOTIONS, *INTERACTIONS),
    "sizes": tuple(SIZES),
    "speeds": tuple(SPEEDS),
}
"""Questions with a set of answers a clip: what any of its things is or does."""


def truth(scene: Scene) -> dict[str, set[str]]:
    """The answers to all questions about a scene."""
    things, change = scene.things, scene.change
    return {
        "kind": {scene.kind},
        "background": {scene.background},
        "number of things": {str(len(things))},
        "camera": {scene.camera},
        "style": {scene.style},
        "shapes": {thing.shape for thing in things} | ({change.shape} if change else set()),
        "colours": {thing.colour for thing in things} | ({change.colour} if change else set()),
        "motions": {scene.interaction} if scene.interaction else {thing.motion for thing in things},
        "sizes": {thing.size for thing in things},
        "speeds": {thing.speed for thing in things},
    }


class ToylandNetwork(nn.Module):
    """Convolutions in space, then in time, then in both, over clips in [-1, 1] of 64x64 pixels at 8 frames a second.

    Features are 64 numbers, each of mean 0 and variance 1 over Toyland's training scenes.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        middle, last = 4 * width, 6 * width
        self.channels = middle
        self.places = nn.Sequential(  # b 64 8 8 8
            *layer(3, width, (1, 5, 5), (1, 2, 2)),
            *layer(width, 2 * width, (1, 3, 3), (1, 2, 2)),
            *layer(2 * width, 2 * width, (3, 1, 1), (2, 1, 1)),
            *layer(2 * width, middle, (1, 3, 3), (1, 2, 2)),
            *layer(middle, middle, (3, 1, 1), (1, 1, 1)),
        )
        self.whole = nn.Sequential(  # b 96 2 2 2
            *layer(middle, last, (3, 3, 3), (2, 2, 2)),
            *layer(last, last, (3, 3, 3), (2, 2, 2)),
        )
        self.summary = nn.Sequential(
            nn.BatchNorm1d(2 * (middle + last), affine=False),
            nn.Linear(2 * (middle + last), NUM_FEATURES),
            nn.BatchNorm1d(NUM_FEATURES, affine=False),
        )
        self.answers = nn.Linear(NUM_FEATURES, sum(map(len, (*ONE_OF.values(), *ANY_OF.values()))))

    def forward(self, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b d"]:
        return self.summary(self.pooled(self.places(channels_first(clips))))

    def pooled(self, places: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n"]:
        seen = [places.flatten(2), self.whole(places).flatten(2)]
        return torch.cat([pooled for each in seen for pooled in (each.mean(2), each.amax(2))], 1)

    def answer(self, features: Float[Tensor, "b d"]) -> dict[str, Float[Tensor, "b _n"]]:
        """To every question, the logits of its answers."""
        questions = {**ONE_OF, **ANY_OF}
        parts = self.answers(nn.functional.gelu(features)).split([len(known) for known in questions.values()], 1)
        return dict(zip(questions, parts, strict=True))


def layer(channels: int, width: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> list[nn.Module]:
    around = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    convolution = nn.Conv3d(channels, width, kernel, stride, around, bias=False)
    return [convolution, nn.BatchNorm3d(width), nn.ReLU(inplace=True)]


def load_toyland(path: Path | None = None) -> tuple[ToylandNetwork, dict[str, str]]:
    """The network of a file that the recipe wrote, else the one that comes with the package; and what it is."""
    if path is None:
        with as_file(files(__package__) / "toyland.safetensors") as bundled:
            return load_toyland(bundled)
    network = ToylandNetwork()
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        raise UserError(
            f"'{path}' is no Toyland feature network ({first_line(error)}); "
            "train one with: python -m vitascope.recipes.toyland_network"
        ) from None
    about = {"network": "Toyland features, no I3D", "file": path.name, "sha256": sha256_of(path)}
    return network.eval().requires_grad_(False), about
