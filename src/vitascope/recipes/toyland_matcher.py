"""A small network that scores how well a caption fits a Toyland clip: a CLIPScore of a size that can be studied.

Two towers and a cosine, learned by telling the right caption from those of other clips (CLIP, Radford et al. 2021). It
sees the clip through the features of the Toyland network, which stay as they are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitascope import toyland
from vitascope.evaluate.networks.features import ClipReader, Reader
from vitascope.evaluate.networks.toyland import HOW, NUM_FEATURES, load_toyland
from vitascope.objectives.contrast import ContrastConfig
from vitascope.recipes.toyland_network import FIRST_SCENE, drawn
from vitascope.text.tiny import TinyTextConfig
from vitascope.train.initialise import seeded
from vitascope.types import generator_for

WIDTH = 64
RATE = 2e-3


class Matcher(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.video = nn.Sequential(nn.Linear(NUM_FEATURES, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.words = TinyTextConfig(width=WIDTH, depth=2, heads=2).build()
        self.text = nn.Linear(WIDTH, WIDTH)

    def of_captions(self, captions: Sequence[str]) -> Float[Tensor, "b w"]:
        read = self.words(captions)
        mean = (read.tokens * read.mask[..., None]).sum(1) / read.mask.sum(1, keepdim=True)
        return self.text(mean)

    @torch.inference_mode()
    def cosines(self, features: Float[Tensor, "b d"], captions: Sequence[str]) -> Float[Tensor, "b"]:
        """Of each clip with the caption at its place."""
        return nn.functional.cosine_similarity(self.video(features), self.of_captions(captions))


def kept_or_trained(path: Path, tell: Callable[[int, float], None] | None = None) -> Matcher:
    """The matcher of a file; where there is none, it is trained (a core minute) and written there."""
    if not path.exists():
        network, about = load_toyland()
        read = ClipReader(network, about, HOW)
        save_file(trained(read, num_clips=768, steps=160, seed=0, tell=tell).state_dict(), path)
    matcher = Matcher()
    matcher.load_state_dict(load_file(path))
    return matcher.eval().requires_grad_(False)


def trained(
    read: Reader,
    num_clips: int,
    steps: int,
    seed: int,
    batch: int = 96,
    tell: Callable[[int, float], None] | None = None,
) -> Matcher:
    """On scenes of the network's own, each said in new words whenever it comes up."""
    scenes = [
        toyland.sample(random.Random(toyland.train_seed(FIRST_SCENE + number)), None, "seen")
        for number in range(num_clips)
    ]
    features = torch.cat([read([drawn(scene)]) for scene in scenes])
    with seeded(seed, "matcher"):
        matcher = Matcher()
    contrast = ContrastConfig().build()
    optimizer = torch.optim.AdamW(matcher.parameters(), RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    for step in range(1, steps + 1):
        chosen = torch.randperm(num_clips, generator=generator_for(seed, "batch", step))[:batch]
        wording = random.Random(f"{seed} {step}")
        captions = [toyland.caption(scenes[number], wording) for number in chosen.tolist()]
        loss = contrast.loss(matcher.video(features[chosen]), matcher.of_captions(captions))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        schedule.step()
        if tell is not None and (step % 20 == 0 or step == steps):
            tell(step, loss.total.item())
    return matcher.eval().requires_grad_(False)
