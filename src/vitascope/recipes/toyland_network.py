"""Trains the network whose features compare sets of Toyland clips.

    python -m vitascope.recipes.toyland_network --out toyland.safetensors

It learns from what is true of a scene, which the world knows, in three parts, each on top of the last. First all of it,
above all to name shape and colour at each place: asked only about whole clips it would need far longer to see a thing.
Then, with the places as they are, what to make of them; then the features and the answers alone.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn

from vitascope import toyland
from vitascope.evaluate.networks.toyland import ANY_OF, ONE_OF, ToylandNetwork, load_toyland, truth
from vitascope.evaluate.prepare import channels_first
from vitascope.toyland.scene import Scene, Split, camera_at, poses
from vitascope.types import generator_for

FPS, FRAMES, PIXELS, CELLS = 8.0, 16, 64, 8
FIRST_SCENE = 800_000_000
"""Training scenes from this number on: no model of the recipes has seen them."""
RATE = 4e-3
HELD_OUT = 128
MAPPED = {name: ANY_OF[name] for name in ("shapes", "colours")}
"""What the network also has to say of each place."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """Clips with all that is asked about them. In maps 0 is nothing, then come the words of `MAPPED` in order."""

    clips: UInt8[Tensor, "b t 3 h w"]
    one_of: dict[str, Int[Tensor, "b"]]
    any_of: dict[str, Float[Tensor, "b _n"]]
    maps: Int[Tensor, "b maps times rows columns"]

    @property
    def pictures(self) -> Float[Tensor, "b t 3 h w"]:
        """As the network reads clips."""
        return self.clips.float() / 127.5 - 1

    def of(self, which: Int[Tensor, "n"]) -> Lesson:
        one_of = {name: answers[which] for name, answers in self.one_of.items()}
        any_of = {name: answers[which] for name, answers in self.any_of.items()}
        return Lesson(self.clips[which], one_of, any_of, self.maps[which])

    def mirrored(self) -> Lesson:
        """Left for right. All shapes are their own mirror images."""
        cameras, motions = (
            torch.tensor([known.index(_mirrored(word)) for word in known])
            for known in (ONE_OF["camera"], ANY_OF["motions"])
        )
        one_of = {**self.one_of, "camera": cameras[self.one_of["camera"]]}
        any_of = {**self.any_of, "motions": self.any_of["motions"][:, motions]}
        return Lesson(self.clips.flip(-1), one_of, any_of, self.maps.flip(-1))


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
    return Lesson(clips, one_of, any_of, torch.stack([where(scene) for scene in scenes]))


def drawn(scene: Scene) -> UInt8[Tensor, "t 3 h w"]:
    return (toyland.render(scene, FRAMES, PIXELS, PIXELS, FPS).pixels * 255).round().to(torch.uint8)


def where(scene: Scene) -> Int[Tensor, "maps times rows columns"]:
    """What covers each cell of a coarse grid, at every second frame."""
    maps = torch.zeros(len(MAPPED), FRAMES // 2, CELLS, CELLS, dtype=torch.long)
    middles = (torch.arange(CELLS) + 0.5) * 2 / CELLS - 1
    for index in range(FRAMES // 2):
        seconds = 2 * index / FPS
        left, top, zoom = camera_at(scene, seconds)
        for number, now in enumerate(poses(scene, seconds)):
            if not now.visible:
                continue
            away = ((now.x - left) * zoom - middles)[None] ** 2 + ((now.y - top) * zoom - middles)[:, None] ** 2
            covered = away <= max((0.8 * now.radius * zoom) ** 2, away.min().item())
            thing = scene.things[number]
            if scene.change and now.blend > 0.5:
                thing = replace(thing, shape=scene.change.shape, colour=scene.change.colour)
            for place, (known, word) in enumerate(zip(MAPPED.values(), (thing.shape, thing.colour), strict=True)):
                maps[place, index, covered] = 1 + known.index(word)
    return maps


class Student(nn.Module):
    """The network, and a layer that names what is where; only the network is kept."""

    def __init__(self, network: ToylandNetwork) -> None:
        super().__init__()
        self.network = network
        self.maps = nn.Conv3d(network.channels, sum(1 + len(known) for known in MAPPED.values()), 1)

    def loss(self, given: Lesson) -> Float[Tensor, ""]:
        places = self.network.places(channels_first(given.pictures))
        total = loss_of_answers(self.network, self.network.pooled(places), given)
        parts = self.maps(places).split([1 + len(known) for known in MAPPED.values()], 1)
        for part, wanted in zip(parts, given.maps.unbind(1), strict=True):
            rare = torch.tensor([0.15] + [1.0] * (part.shape[1] - 1))  # most cells hold nothing
            total = total + nn.functional.cross_entropy(part, wanted, rare)
        return total


def loss_of_answers(network: ToylandNetwork, pooled: Float[Tensor, "b n"], given: Lesson) -> Float[Tensor, ""]:
    answers = network.answer(network.summary(pooled))
    total = torch.stack([nn.functional.cross_entropy(answers[name], given.one_of[name]) for name in ONE_OF]).sum()
    for name, known in ANY_OF.items():
        apart = nn.functional.binary_cross_entropy_with_logits(answers[name], given.any_of[name])
        total = total + apart * math.sqrt(len(known))  # a mean over many answers would hardly count
    return total


def learn_places(student: Student, book: Lesson, steps: int, batch: int, seed: int) -> None:
    """All of the network; what takes time is to learn to see."""
    student.train().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stub lacks it

    def loss(which: Int[Tensor, "b"], step: int) -> Float[Tensor, ""]:
        given = book.of(which)
        return student.loss(given.mirrored() if step % 2 else given)

    descend("places", student.parameters(), loss, len(book.clips), steps, batch, generator_for(seed, "places"))


@torch.no_grad()
def read_places(network: ToylandNetwork, book: Lesson) -> Float[Tensor, "n c t h w"]:
    network.eval()
    parts = [part.float() / 127.5 - 1 for part in book.clips.split(8)]
    return torch.cat([network.places(channels_first(part)).half() for part in parts])


def learn_whole(
    network: ToylandNetwork, places: Float[Tensor, "n c t h w"], book: Lesson, steps: int, batch: int, seed: int
) -> None:
    """What is made of the places, which were read once and stay: a step costs a fifth."""
    network.whole.train()
    network.summary.train()

    def loss(which: Int[Tensor, "b"], step: int) -> Float[Tensor, ""]:
        del step
        return loss_of_answers(network, network.pooled(places[which].float()), book.of(which))

    learning = [*network.whole.parameters(), *network.summary.parameters(), *network.answers.parameters()]
    descend("whole", learning, loss, len(places), steps, batch, generator_for(seed, "whole"))


def learn_answers(
    network: ToylandNetwork, places: Float[Tensor, "n c t h w"], book: Lesson, steps: int, batch: int, seed: int
) -> None:
    """The features themselves, and the answers from them: a step costs next to nothing."""
    network.eval()
    with torch.no_grad():
        pooled = torch.cat([network.pooled(part.float()) for part in places.split(8)])
    network.summary.train()

    def loss(which: Int[Tensor, "b"], step: int) -> Float[Tensor, ""]:
        del step
        return loss_of_answers(network, pooled[which], book.of(which))

    learning = [*network.summary.parameters(), *network.answers.parameters()]
    descend("answers", learning, loss, len(pooled), steps, batch, generator_for(seed, "answers"))


def descend(
    name: str,
    parameters: Iterable[nn.Parameter],
    loss_of: Callable[[Int[Tensor, "b"], int], Float[Tensor, ""]],
    num: int,
    steps: int,
    batch: int,
    rng: torch.Generator,
) -> None:
    """Steps on lessons of `batch` scenes of `num`, in a new order each time all have come up."""
    learning = list(parameters)
    optimizer = torch.optim.AdamW(learning, RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.15)
    begun, recent, order = time.monotonic(), math.nan, torch.empty(0, dtype=torch.long)
    for step in range(1, steps + 1):
        if len(order) < batch:
            order = torch.randperm(num, generator=rng)
        which, order = order[:batch], order[batch:]
        optimizer.zero_grad()
        loss = loss_of(which, step)
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 5.0)
        optimizer.step()
        schedule.step()
        recent = loss.item() if step == 1 else 0.95 * recent + 0.05 * loss.item()
        if step % 20 == 0 or step == steps:
            print(f"{name}, step {step}/{steps}, loss {recent:.3f}, {time.monotonic() - begun:.0f} s", flush=True)


def train(num_scenes: int, steps: Sequence[int], batch: Sequence[int], seed: int) -> ToylandNetwork:
    numbers = range(FIRST_SCENE, FIRST_SCENE + num_scenes)
    book = lesson([toyland.sample(random.Random(toyland.train_seed(number)), None, "seen") for number in numbers])
    network = ToylandNetwork()
    student = Student(network)
    initialise(student, seed)
    learn_places(student, book, steps[0], batch[0], seed)
    places = read_places(network, book)
    learn_whole(network, places, book, steps[1], batch[1], seed)
    learn_answers(network, places, book, steps[2], batch[2], seed)
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
def accuracies(network: ToylandNetwork, split: Split, num: int = HELD_OUT) -> dict[str, float]:
    """How often it is right on test scenes of all kinds: of a set of answers, when all of it is."""
    right: dict[str, int] = dict.fromkeys((*ONE_OF, *ANY_OF), 0)
    for first in range(0, num, 32):
        numbers = range(first, min(first + 32, num))
        given = lesson([toyland.sample(random.Random(toyland.held_out_seed(split, n)), None, split) for n in numbers])
        answers = network.answer(network(given.pictures))
        for name in ONE_OF:
            right[name] += int((answers[name].argmax(1) == given.one_of[name]).sum())
        for name in ANY_OF:
            right[name] += int(((answers[name] > 0) == given.any_of[name].bool()).all(1).sum())
    return {name: times / num for name, times in right.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, required=True, help="a .safetensors file; how it was trained goes beside")
    options.add_argument("--scenes", type=int, default=4096)
    options.add_argument("--steps", type=int, nargs=3, default=(3600, 400, 2000), help="of each part")
    options.add_argument("--batch", type=int, nargs=3, default=(8, 16, 128), help="scenes a step, likewise")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    if chosen.out.suffix != ".safetensors" or min(chosen.scenes, *chosen.steps, *chosen.batch) < 2:
        options.error("--out must end in .safetensors, and all numbers but the seed must be at least 2")
    if max(chosen.batch) > chosen.scenes:
        options.error(f"--batch must be at most --scenes, {chosen.scenes}")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the same numbers on every machine
    begun = time.process_time()
    network = train(chosen.scenes, chosen.steps, chosen.batch, chosen.seed)
    seconds = round(time.process_time() - begun)
    kept = {name: value.half() for name, value in network.state_dict().items() if value.is_floating_point()}
    save_file({name: value.contiguous() for name, value in kept.items()}, chosen.out)
    told = {
        "what": "features of Toyland clips; no I3D, its distances are no FVD",
        "command": "python -m vitascope.recipes.toyland_network",
        **{name: getattr(chosen, name) for name in ("scenes", "steps", "batch", "seed")},
        "core seconds": seconds,
        **record(chosen.out),
    }
    chosen.out.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


def record(path: Path) -> dict[str, Any]:
    """How often a network's file is right: judged as it will be read, in half precision."""
    network, _ = load_toyland(path)
    return {
        "parameters": sum(value.numel() for value in network.parameters()),
        "vitascope": version("vitascope"),
        "test scenes": HELD_OUT,
        "right": {split: accuracies(network, split) for split in ("seen", "unseen")},
    }


if __name__ == "__main__":
    main()
