"""How far each optimizer brings the autoencoder of `laptop:stiv` in the same number of steps.

python benchmarks/optimizers.py [--steps 150]

Held-out PSNR and seconds a step, from the same initial weights and pictures, each at the learning rate that served it
best.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from vitascope.config import Config
from vitascope.recipes import laptop
from vitascope.system import VideoModel
from vitascope.train.loop import fit
from vitascope.train.muon import MuonConfig
from vitascope.train.optim import AdafactorConfig, AdamWConfig

RIVALS: dict[str, tuple[Config, float]] = {
    "Muon": (MuonConfig(), 0.01),
    "AdamW": (AdamWConfig(), 1e-3),
    "AdaFactor": (AdafactorConfig(), 1e-3),
}
HELD_OUT_STEP = 10**6


@torch.no_grad()
def psnr(model: VideoModel, pictures: Tensor) -> float:
    """Mean over pictures, in dB."""
    made = model.tokenizer.decode(model.tokenizer.encode(pictures[None]))[0]
    return -10 * (made - pictures).square().mean((1, 2, 3)).log10().mean().item()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=150)
    steps = options.parse_args().steps
    run = laptop.stiv()
    pictures = run.data.build().pictures(HELD_OUT_STEP, 128)
    for name, (optimizer, rate) in RIVALS.items():
        changes = {"steps": steps, "optimizer": optimizer, "learning_rate": rate, "decay_share": 0.4}
        stage = run.stages[0].model_copy(update=changes)
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            model = fit(run.model_copy(update={"stages": (stage,)}), Path(folder) / "run")
            spent = time.monotonic() - begun
        print(f"{name:10s} {psnr(model, pictures):.2f} dB after {steps} steps of {spent / steps:.2f} s")


if __name__ == "__main__":
    main()
