"""What is measured of a model. Errors against clips that were held out tell small differences apart that a few dozen
sampled clips, judged right or wrong, do not."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitascope.ablate.distances import distances, drawn_again, stilled, true_clip
from vitascope.conditions import Conditions, framing_of, micro_conditions, per_frame
from vitascope.config import Amount, AmountOrZero, Config, Count, Share
from vitascope.data.cache import ClipSource
from vitascope.errors import UserError
from vitascope.evaluate.questions import NUM_FRAMES, SCENES_PER_SEED, Question, question, test_scene
from vitascope.evaluate.vbench.dimensions import dis_flow, dynamic_degree, halfway, motion_smoothness
from vitascope.noise import Estimate, Path, Straight, log_snr_half, mix, velocity
from vitascope.sample.generate import generate
from vitascope.sample.latents import guided
from vitascope.system import Rules, VideoModel, build
from vitascope.tasks import MASKS
from vitascope.toyland.oracle import ASKED, judge, passed
from vitascope.toyland.scene import Kind
from vitascope.types import Clip, Request, generator_for

REVISION = 3
"""Of what the numbers mean: results of another one are not mixed with these."""

FIRST_HELD_OUT = 400_000_000
"""Clips from this number on are held out: the trainings of tables number theirs from zero."""

Task = Literal["text", "image", "prediction", "interpolation", "upsampling"]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Clips as a model is shown them, with all that is known of them."""

    clean: Float[Tensor, "b t c h w"]
    cond: Conditions


def held_out(
    model: VideoModel, data: Config, num: int, seed: int, task: Task, given: int, *, images: bool, silent: bool
) -> HeldOut:
    """The clips of a seed. Of images one frame each, another in every clip."""
    source: ClipSource = build(data)
    numbers = range(FIRST_HELD_OUT + seed * num, FIRST_HELD_OUT + (seed + 1) * num)
    clips = [source.clip(number) for number in numbers]
    shown = [clip.pixels[[n % clip.num_frames]] if images else clip.pixels for n, clip in enumerate(clips)]
    clean = torch.cat([model.tokenizer.encode(pixels[None].to(model.device)) for pixels in shown])
    known = (MASKS["text"] if images else MASKS[task])(clean.shape[1], given).expand(num, -1)
    micro = micro_conditions([framing_of(clip) for clip in clips], clean.shape[1])
    captions = ["" if silent else source.captions(number)[0] for number in numbers]
    return HeldOut(clean, model.conditions(captions, known, clean, micro))


class HeldOutError(Config):
    """The squared error of the velocity on the straight path, in clips that no training has seen.

    Every model is asked at levels of its own path that are as noisy, and its estimate of the clean clip is read as a
    velocity of the straight one: so models of different paths and predictions are compared in one unit.
    """

    data: Config
    num: Count = 64
    batch: Count = 32
    levels: tuple[Share, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    task: Task = "text"
    given: Count = 1  # frames, of a prediction
    images: bool = False
    silent: bool = False  # without words
    name: str = "error"

    def measure(self, model: VideoModel, seed: int) -> dict[str, float]:
        shown = held_out(
            model, self.data, self.num, seed, self.task, self.given, images=self.images, silent=self.silent
        )
        noise = torch.randn(shown.clean.shape, generator=generator_for(seed, "held out")).to(shown.clean)
        errors = {f"{self.name} at {level:g}": self._error(model, shown, noise, level) for level in self.levels}
        return {self.name: statistics.fmean(errors.values()), **errors}

    def _error(self, model: VideoModel, shown: HeldOut, noise: Tensor, level: float) -> float:
        own = same_noisiness(model.objective.path, level)
        total = count = 0.0
        for rows in torch.arange(self.num).split(self.batch):
            clean, cond = shown.clean[rows], taken(shown.cond, rows)
            levels = torch.full(clean.shape[:2], own, device=clean.device)
            z = mix(model.objective.path, Estimate(clean, noise[rows]), levels)
            wrong = (model.estimate(z, levels, cond).clean - clean) / level
            made = per_frame(~cond.known).expand_as(wrong)
            total, count = total + (wrong.square() * made).sum().item(), count + made.sum().item()
        return total / count


def same_noisiness(path: Path, level: float) -> float:
    """The level of `path` that has the signal-to-noise ratio of the straight path at `level`."""
    if isinstance(path, Straight):
        return level
    wanted = log_snr_half(Straight(), torch.full((1, 1), level, dtype=torch.float64))
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    if log_snr_half(path, high) > wanted:
        raise UserError(f"the path never gets as noisy as the straight one at level {level:g}; measure at lower levels")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if log_snr_half(path, middle) > wanted else (low, middle)
    return float(low)


def taken(cond: Conditions, rows: Tensor) -> Conditions:
    """The conditions of some samples."""
    text, empty = (
        replace(one, tokens=one.tokens[rows], mask=one.mask[rows], pooled=one.pooled[rows])
        for one in (cond.text, cond.empty_text)
    )
    return Conditions(cond.known[rows], cond.frames[rows], text, empty, cond.micro[rows])


class GuidedLength(Config):
    """How long the guided velocity is, before any renorm, and how far apart its two passes are, by level.

    Root mean squares over the frames to be made, of clips mixed with noise.
    """

    data: Config
    num: Count = 32
    scale: Amount = 7.5
    task: Task = "text"
    levels: tuple[Share, ...] = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)

    def measure(self, model: VideoModel, seed: int) -> dict[str, float]:
        shown = held_out(model, self.data, self.num, seed, self.task, 1, images=False, silent=False)
        noise = torch.randn(shown.clean.shape, generator=generator_for(seed, "held out")).to(shown.clean)
        path, made = model.objective.path, ~shown.cond.known
        found: dict[str, float] = {}
        for level in self.levels:
            levels = torch.full(shown.clean.shape[:2], level, device=shown.clean.device)
            z = mix(path, Estimate(shown.clean, noise), levels)
            blend = guided(model.estimate, path, Rules(renorm=False), self.scale)
            ends = blend(z, levels, shown.cond)
            told = velocity(path, ends, levels)
            plain = velocity(path, ends.plain, levels)
            found |= {
                f"guided length at {level:g}": rms(told, made),
                f"plain length at {level:g}": rms(plain, made),
                # guided - plain = (scale - 1) (plain - null)
                f"gap at {level:g}": rms(told - plain, made) / (self.scale - 1),
            }
        return found


def rms(video: Float[Tensor, "b t c h w"], made: Bool[Tensor, "b t"]) -> float:
    return video[made].square().mean().sqrt().item()


class Sampled(Config):
    """Clips of Toyland's test scenes, made by the model and judged.

    By the exact oracle (shares that passed); by VBench's dynamic degree and smoothness with OpenCV's flow; and against
    the true clips: how far apart the sets are (`distances`), and, where frames are known and the words say the rest,
    how wrong the frames that were made are.
    """

    name: str = ""  # before the names of its numbers
    num: Count = 16
    task: Task = "text"
    given: Count = 1
    kind: Kind = "one"
    images: bool = False
    silent: bool = False
    steps: Count | None = None
    solver: str | None = None
    guidance: AmountOrZero | None = None
    rules: Rules = Rules()

    def measure(self, model: VideoModel, seed: int) -> dict[str, float]:
        questions = self.questions(seed)
        requests = [self._request(one.request, one.truth) for one in questions]
        with counting(model) as evaluated:
            made = generate(model, requests)
        frames = self.num * (1 if self.images else NUM_FRAMES)
        evaluations = self.named({"network evaluations": sum(evaluated) / frames})
        return evaluations | self.judged(model, questions, made)

    def questions(self, seed: int) -> list[Question]:
        numbers = [seed * SCENES_PER_SEED + n for n in range(self.num)]
        return [question("seen", self.kind, number, "canonical", "text") for number in numbers]

    @property
    def known(self) -> Bool[Tensor, "t"]:
        return torch.zeros(1, dtype=torch.bool) if self.images else MASKS[self.task](NUM_FRAMES, self.given)

    def judged(self, model: VideoModel, questions: Sequence[Question], made: Sequence[Clip]) -> dict[str, float]:
        truths = [one.truth for one in questions]
        if self.images:  # a picture is judged as a clip in which nothing moves
            made, truths = ([stilled(clip) for clip in clips] for clips in (made, truths))
        numbers_of = distances(model, made, truths, self.kind, self.images) | versus_truth(made, truths, self.known)
        judged = [judge(clip, one.wanted) for clip, one in zip(made, questions, strict=True)]
        for dimension in dict.fromkeys(name for scores in judged for name in scores):
            verdicts = [passed(scores[dimension]) for scores in judged if dimension in scores]
            numbers_of[f"oracle {dimension}"] = statistics.fmean(verdicts)
        asked = ([passed(score) for name, score in scores.items() if name in ASKED] for scores in judged)
        numbers_of["oracle mean"] = statistics.fmean(map(statistics.fmean, asked))
        if not self.images:
            numbers_of["dynamic degree"] = statistics.fmean(dynamic_degree(clip, dis_flow).value for clip in made)
            between = halfway(dis_flow)
            numbers_of["smoothness"] = statistics.fmean(motion_smoothness(clip.pixels, between).value for clip in made)
        return self.named(numbers_of)

    def named(self, numbers_of: Mapping[str, float]) -> dict[str, float]:
        before = f"{self.name} " if self.name else ""
        return {before + name: value for name, value in numbers_of.items()}

    def _request(self, request: Request, truth: Clip) -> Request:
        frames = {} if self.images else {n: truth.pixels[n] for n in self.known.nonzero().flatten().tolist()}
        return replace(
            request,
            prompt="" if self.silent else request.prompt,
            frames=frames,
            num_frames=1 if self.images else NUM_FRAMES,
            steps=self.steps,
            solver=self.solver,
            guidance=self.guidance,
            rules=self.rules.model_dump(),
        )


class Floor(Config):
    """What true clips score in the place of made ones. It depends on the number of clips, the seed, what is asked and
    the autoencoder alone; nothing is trained."""

    of: Sampled
    copied: bool  # the very clips that they are compared with; else others of the same captions

    def measure(self, model: VideoModel, seed: int) -> dict[str, float]:
        questions = self.of.questions(seed)
        numbers = [one.number for one in questions]
        again = [drawn_again(test_scene("seen", self.of.kind, number)) for number in numbers]
        made = [one.truth for one in questions] if self.copied else [true_clip(scene, False) for scene in again]
        return self.of.judged(model, questions, made)


@contextmanager
def counting(model: VideoModel) -> Iterator[list[int]]:
    """How many frames each call of the backbone had: guidance doubles them, Heun's solver calls twice a step."""
    evaluated: list[int] = []
    hook = model.backbone.register_forward_pre_hook(lambda _, given: evaluated.append(given[0].shape[:2].numel()))
    try:
        yield evaluated
    finally:
        hook.remove()


def versus_truth(made: Sequence[Clip], truths: Sequence[Clip], known: Bool[Tensor, "t"]) -> dict[str, float]:
    """How much moves and how strong contrasts are, as shares of the truth's; where frames are known also the error."""

    def moved(clips: Sequence[Clip]) -> float:
        return statistics.fmean((clip.pixels[1:] - clip.pixels[:-1]).abs().mean().item() for clip in clips)

    def contrast(clips: Sequence[Clip]) -> float:
        return statistics.fmean(clip.pixels.std().item() for clip in clips)

    found = {"contrast": contrast(made) / contrast(truths)}
    if len(known) > 1:
        found["motion energy"] = moved(made) / moved(truths)
    if known.any():
        errors = [(one.pixels - true.pixels)[~known].square().mean() for one, true in zip(made, truths, strict=True)]
        found["error of pixels"] = torch.stack(errors).mean().sqrt().item()
    return found
