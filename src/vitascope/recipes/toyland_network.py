"""Trains the network whose features compare sets of Toyland clips.

    python -m vitascope.recipes.toyland_network --out toyland.safetensors

It learns from what is true of a scene, which the world knows: for the clip, the answers of `ONE_OF` and `ANY_OF`; for
each place at which there is a thing, its shape and colour, which makes it learn shapes in a tenth of the time.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn

from vitascope import toyland
from vitascope.evaluate.networks.toyland import ANY_OF, ONE_OF, ToylandNetwork, load_toyland, truth
from vitascope.evaluate.prepare import channels_first
from vitascope.toyland.scene import COLOURS, SHAPES, Scene, camera_at, poses
from vitascope.types import generator_for

FPS, FRAMES, PIXELS, CELLS = 8.0, 16, 64, 8
FIRST_SCENE = 800_000_000
"""Training scenes from this number on: no model of the recipes has seen them."""
RATE, SCHEDULE, LANDING = 4e-3, 800, 120
"""The learning rate follows a schedule of so many steps, and falls to nothing in a line over the last steps asked for."""

HELD_OUT = 128


@dataclass(frozen=True, eq=False)
class Lesson:
    """Clips with all that is asked about them. In maps 0 is nothing, then come the shapes or colours in order."""

    clips: UInt8[Tensor, "b t 3 h w"]
    one_of: dict[str, Int[Tensor, "b"]]
    any_of: dict[str, Float[Tensor, "b _n"]]
    shapes: Int[Tensor, "b times rows columns"]
    colours: Int[Tensor, "b times rows columns"]

    @property
    def pictures(self) -> Float[Tensor, "b t 3 h w"]:
        """As the network reads clips."""
        return self.clips.float() / 127.5 - 1

    def of(self, which: Int[Tensor, "n"]) -> Lesson:
        one_of = {name: answers[which] for name, answers in self.one_of.items()}
        any_of = {name: answers[which] for name, answers in self.any_of.items()}
        return Lesson(self.clips[which], one_of, any_of, self.shapes[which], self.colours[which])

    def mirrored(self) -> Lesson:
        """Left for right. All shapes are their own mirror images."""
        cameras, motions = (
            torch.tensor([known.index(_mirrored(word)) for word in known])
            for known in (ONE_OF["camera"], ANY_OF["motions"])
        )
        one_of = {**self.one_of, "camera": cameras[self.one_of["camera"]]}
        any_of = {**self.any_of, "motions": self.any_of["motions"][:, motions]}
        return Lesson(self.clips.flip(-1), one_of, any_of, self.shapes.flip(-1), self.colours.flip(-1))


def _mirrored(word: str) -> str:
    """ "pans left" to "pans right", and back."""
    turned = word.replace("right", "RIGHT").replace("left", "right")
    return turned.replace("RIGHT", "left")


def lesson(scenes: list[Scene]) -> Lesson:
    clips = torch.stack([drawn(scene) for scene in scenes])
    answers = [truth(scene) for scene in scenes]
    one_of = {
        name: torch.tensor([known.index(min(answer[name])) for answer in answers]) for name, known in ONE_OF.items()
    }
    any_of = {
        name: torch.tensor([[float(word in answer[name]) for word in known] for answer in answers])
        for name, known in ANY_OF.items()
    }
    maps = torch.stack([where(scene) for scene in scenes])
    return Lesson(clips, one_of, any_of, maps[:, 0], maps[:, 1])


def drawn(scene: Scene) -> UInt8[Tensor, "t 3 h w"]:
    return (toyland.render(scene, FRAMES, PIXELS, PIXELS, FPS).pixels * 255).round().to(torch.uint8)


def where(scene: Scene) -> Int[Tensor, "2 times rows columns"]:
    """Shape and colour of what covers each cell of a coarse grid, at every second frame."""
    maps = torch.zeros(2, FRAMES // 2, CELLS, CELLS, dtype=torch.long)
    middles = (torch.arange(CELLS) + 0.5) * 2 / CELLS - 1
    for index in range(FRAMES // 2):
        seconds = 2 * index / FPS
        left, top, zoom = camera_at(scene, seconds)
        for number, now in enumerate(poses(scene, seconds)):
            if not now.visible:
                continue
            away = ((now.x - left) * zoom - middles)[None] ** 2 + ((now.y - top) * zoom - middles)[:, None] ** 2
            covered = away <= max((0.8 * now.radius * zoom) ** 2, away.min().item())
            change = scene.change if now.blend > 0.5 else None
            maps[0, index, covered] = 1 + SHAPES.index(now.into if change else now.shape)
            colour = change.colour if change else scene.things[number].colour
            maps[1, index, covered] = 1 + list(COLOURS).index(colour)
    return maps


def lessons(num_scenes: int, batch: int, seed: int) -> Iterator[Lesson]:
    """Endless passes through as many scenes, each in an order of its own; every second lesson in the mirror."""
    numbers = range(FIRST_SCENE, FIRST_SCENE + num_scenes)
    book = lesson([toyland.sample(random.Random(toyland.train_seed(number)), None, "seen") for number in numbers])
    for turn in count():
        order = torch.randperm(num_scenes, generator=generator_for(seed, "order", turn))
        for number, which in enumerate(order.split(batch), turn):
            yield book.of(which).mirrored() if number % 2 else book.of(which)


class Student(nn.Module):
    """The network, and two layers that name what is where; only the network is kept."""

    def __init__(self, network: ToylandNetwork) -> None:
        super().__init__()
        self.network = network
        channels = network.whole[0].in_channels
        self.shapes = nn.Conv3d(channels, 1 + len(SHAPES), 1)
        self.colours = nn.Conv3d(channels, 1 + len(COLOURS), 1)

    def loss(self, given: Lesson) -> Float[Tensor, ""]:
        places = self.network.places(channels_first(given.pictures))
        answers = self.network.answer(self.network.summarise(places))
        total = sum(nn.functional.cross_entropy(answers[name], given.one_of[name]) for name in ONE_OF)
        for name, known in ANY_OF.items():
            apart = nn.functional.binary_cross_entropy_with_logits(answers[name], given.any_of[name])
            total = total + apart * math.sqrt(len(known))  # a mean over many answers would hardly count
        rare = torch.tensor([0.15] + [1.0] * len(SHAPES))  # most cells hold nothing
        for head, wanted in ((self.shapes, given.shapes), (self.colours, given.colours)):
            total = total + nn.functional.cross_entropy(head(places), wanted, rare)
        return total


def train(num_scenes: int, steps: int, batch: int, seed: int) -> ToylandNetwork:
    network = ToylandNetwork()
    student = Student(network)
    initialise(student, seed)
    student.to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(student.parameters(), RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, SCHEDULE, pct_start=0.15)
    landing = min(LANDING, steps)
    begun, recent = time.monotonic(), 0.0
    for step, given in zip(range(1, steps + 1), lessons(num_scenes, batch, seed), strict=False):
        optimizer.zero_grad()
        loss = student.loss(given)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        if step <= steps - landing:
            schedule.step()
        else:
            optimizer.param_groups[0]["lr"] = schedule.get_last_lr()[0] * (steps - step) / landing
        recent = loss.item() if step == 1 else 0.95 * recent + 0.05 * loss.item()
        if step % 10 == 0 or step == steps:
            print(f"step {step}/{steps}, loss {recent:.3f}, {time.monotonic() - begun:.0f} s", flush=True)
    return network.eval()


def initialise(student: Student, seed: int) -> None:
    """Weights that follow from the seed and their names alone."""
    for name, module in student.named_modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            fan = module.weight[0].numel()
            draw = torch.randn(module.weight.shape, generator=generator_for(seed, name))
            module.weight.data = draw * math.sqrt(2 / fan)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@torch.inference_mode()
def accuracies(network: ToylandNetwork, split: toyland.Split, num: int = HELD_OUT) -> dict[str, float]:
    """How often it is right on test scenes of all kinds: of a set of answers, when all of it is."""
    right: dict[str, int] = dict.fromkeys((*ONE_OF, *ANY_OF), 0)
    for first in range(0, num, 32):
        numbers = range(first, min(first + 32, num))
        given = lesson([toyland.sample(random.Random(toyland.test_seed(split, n)), None, split) for n in numbers])
        answers = network.answer(network(given.pictures))
        for name in ONE_OF:
            right[name] += int((answers[name].argmax(1) == given.one_of[name]).sum())
        for name in ANY_OF:
            right[name] += int(((answers[name] > 0) == given.any_of[name].bool()).all(1).sum())
    return {name: times / num for name, times in right.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, required=True, help="a .safetensors file; how it was trained goes beside")
    options.add_argument("--scenes", type=int, default=2048)
    options.add_argument("--steps", type=int, default=800)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    if chosen.out.suffix != ".safetensors" or min(chosen.scenes, chosen.steps, chosen.batch) < 2:
        options.error("--out must end in .safetensors, --scenes, --steps and --batch must be at least 2")
    if chosen.steps > SCHEDULE:
        options.error(f"--steps must be at most {SCHEDULE}")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the same numbers on every machine
    begun = time.process_time()
    network = train(chosen.scenes, chosen.steps, chosen.batch, chosen.seed)
    seconds = time.process_time() - begun
    kept = {name: value.half() for name, value in network.state_dict().items() if value.is_floating_point()}
    save_file({name: value.contiguous() for name, value in kept.items()}, chosen.out)
    network, _ = load_toyland(chosen.out)  # judged as it will be read, in half precision
    told = {
        "what": "features of Toyland clips; no I3D, its distances are no FVD",
        "command": f"python -m vitascope.recipes.toyland_network --scenes {chosen.scenes} --steps {chosen.steps} "
        f"--batch {chosen.batch} --seed {chosen.seed} --out {chosen.out.name}",
        "core seconds": round(seconds),
        "parameters": sum(value.numel() for value in network.parameters()),
        "vitascope": version("vitascope"),
        "test scenes": HELD_OUT,
        "right": {split: accuracies(network, split) for split in ("seen", "unseen")},
    }
    chosen.out.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told["right"], indent=1))


if __name__ == "__main__":
    main()
