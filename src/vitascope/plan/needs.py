"""What the stages of a run and one video need: a step of the real code, walked through without numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitascope.conditions import micro_conditions
from vitascope.config import Config
from vitascope.data.cache import ClipSource
from vitascope.plan.devices import Device
from vitascope.plan.parts import outline, tokenizer
from vitascope.plan.walking import Walk, size_of, walking
from vitascope.protocols import checked
from vitascope.sample.candidates import passes_of_judging, pictures_at_once
from vitascope.sample.generate import FRAMES_DECODED_AT_ONCE
from vitascope.sample.latents import guided
from vitascope.sample.passes import passes_in_all
from vitascope.system import VideoModel, build
from vitascope.text.pretrained import PretrainedText
from vitascope.tokenizers.hub import HubVae
from vitascope.train.check import refuse_what_does_not_divide, told_of
from vitascope.train.initialise import freeze
from vitascope.train.optim import MovingAverage, learned
from vitascope.train.stages import CaptionStage, Run, Stage, TokenizerStage, VideoCourse, VideoStage, refuse_other_clips
from vitascope.types import Batch, Framing, Loss, UserError, generator_for

Shape = tuple[int, ...]

PLANNED = TokenizerStage, CaptionStage, VideoStage
"""Stages of which a step can be walked through."""


@dataclass(frozen=True)
class Bytes:
    """What one device holds in a step. `peak` is the most at any moment; the parts are not all at their most then."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    frozen: Mapping[str, int]  # weights of the parts that do not learn in this stage
    activations: int  # kept from the forward pass for the backward pass
    peak: int

    @property
    def states(self) -> int:
        """What does not depend on the batch."""
        return self.weights + self.gradients + self.optimizer + self.average + sum(self.frozen.values())


@dataclass(frozen=True)
class StageNeeds:
    name: str
    steps: int
    batch: int
    precision: str
    step_flops: int  # of the whole batch, backward pass included, without what is frozen
    frozen_flops: int  # of a text encoder that does not learn, for the whole batch
    update_flops: int  # of the optimizer: every device does all of them
    memory: Bytes  # of one device

    @property
    def flops(self) -> int:
        """Of the whole stage, as if there were one device."""
        return self.steps * (self.step_flops + self.frozen_flops + self.update_flops)

    def device_flops(self, num_gpus: int) -> float:
        """Of one step, on each of so many devices."""
        return (self.step_flops + self.frozen_flops) / num_gpus + self.update_flops


@dataclass(frozen=True)
class SamplingNeeds:
    """One video as the model makes it when nothing is asked, on one device."""

    num_frames: int
    size: tuple[int, int]
    passes: int  # through the backbone, of the video and of candidates for its first picture; guidance: two or three
    precision: str
    flops: int
    peak: int


@dataclass(frozen=True)
class CacheNeeds:
    """Latents of the clips, encoded once and kept in half precision in main memory."""

    flops: int
    size: int


def parts(model: VideoModel) -> dict[str, nn.Module]:
    """What has weights. Pretrained parts keep their own out of sight of optimizers."""
    text = model.text.encoder.network if isinstance(model.text, PretrainedText) else model.text
    tokenizer = model.tokenizer.frozen.network if isinstance(model.tokenizer, HubVae) else model.tokenizer
    return {"tokenizer": tokenizer, "text": text, "backbone": model.backbone}


def parameters(run: Run) -> dict[str, int]:
    """How many there are, by part."""
    with walking(is_gpu=False) as walk:
        model = outline(run.model, walk)
        return {name: sum(one.numel() for one in part.parameters()) for name, part in parts(model).items()}


def refuse_unplanned(stage: Stage) -> None:
    """A step of any other stage would be walked through as what it is not."""
    if not isinstance(stage, PLANNED):
        *names, last = (kind.__name__ for kind in PLANNED)
        raise UserError(
            f"stage {stage.name}: no plan is known for a {type(stage).__name__}; to plan the others, put a "
            f"{', '.join(names)} or {last} in its place"
        )


def stage_needs(run: Run, stage: Stage, device: Device, num_gpus: int) -> StageNeeds:
    """Walk one step of a stage. The batch is split over the devices; each holds all weights and states."""
    refuse_unplanned(stage)
    if stage.batch % num_gpus:
        most = max(n for n in range(1, num_gpus + 1) if stage.batch % n == 0)
        raise UserError(
            f"stage {stage.name}: a batch of {stage.batch} cannot be split over {num_gpus} devices; take {most} of "
            f"them or a batch of {-(-stage.batch // num_gpus) * num_gpus}"
        )
    run = run.at(stage)
    precision = device.precision(run.precision)
    share = stage.model_copy(update={"batch": stage.batch // num_gpus})
    if isinstance(share, VideoStage):
        if share.pictures_beside % num_gpus:
            raise UserError(
                f"stage {stage.name}: {share.pictures_beside} pictures beside the clips cannot be split over "
                f"{num_gpus} devices; set pictures_beside to {-(-share.pictures_beside // num_gpus) * num_gpus}"
            )
        share = share.model_copy(update={"pictures_beside": share.pictures_beside // num_gpus})
    source = checked(build(run.data), ClipSource, "data")
    clip, caption = source.clip(0), source.captions(0)[0]
    shape = tuple(clip.pixels.shape)
    with told_of(stage), walking(device.is_gpu) as walk:
        model = outline(run.model, walk)
        refuse_what_does_not_divide(clip, stage, model)
        if isinstance(stage, VideoStage):
            refuse_other_clips(clip, run.model.defaults, stage.images)
        module, loss, frozen_flops = _lesson(run, share, model, shape, caption, walk)
        passes, update, held = _step(stage, model, module, loss, precision, walk, recompute=run.recompute)
    frozen, learning = frozen_flops * num_gpus, (passes - frozen_flops) * num_gpus
    return StageNeeds(stage.name, stage.steps, stage.batch, precision, learning, frozen, update, held)


def _step(
    stage: Stage,
    model: VideoModel,
    module: nn.Module,
    loss: Callable[[], Loss],
    precision: str,
    walk: Walk,
    *,
    recompute: bool,
) -> tuple[int, int, Bytes]:
    """As `train.learner` takes it; FLOPs of the passes, of the optimizer, and bytes."""
    module.train()
    parameters = learned(module)
    optimizer = stage.optimizer.build(module, stage.learning_rate)
    average = MovingAverage(module, stage.ema_decay)
    before = walk.alive
    walk.forget_peak()
    flops = walk.flops
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16", cache_enabled=not recompute):
        total = loss().total
    activations = walk.alive - before
    total.backward()
    flops, most_in_passes = walk.flops - flops, walk.most
    walk.forget_peak()
    update = walk.flops
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    nn.utils.clip_grads_with_norm_(parameters, stage.clip_norm, norm)
    optimizer.step()
    update = walk.flops - update
    states = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    kept = size_of(states)
    held = Bytes(
        weights=size_of(module.state_dict().values()),
        gradients=size_of(gradients),
        optimizer=kept,
        average=size_of(average.weights.values()),
        frozen={
            name: size_of(part.state_dict().values())
            for name, part in parts(model).items()
            if part not in set(module.modules())
        },
        activations=activations,
        # From the second step on the optimizer's states are there in the passes too.
        peak=max(most_in_passes + kept, walk.most),
    )
    return flops, update, held


def _lesson(
    run: Run, stage: Stage, model: VideoModel, shape: Shape, caption: str, walk: Walk
) -> tuple[nn.Module, Callable[[], Loss], int]:
    """What learns in a stage, a lesson for it, and the FLOPs that no backward pass follows."""
    rng = generator_for(run.seed, "plan")
    freeze(model, stage.frozen)
    if isinstance(stage, TokenizerStage):
        reconstruction = stage.reconstruction.build()
        pictures = torch.empty(stage.batch, *shape[1:])
        module = nn.ModuleDict({"tokenizer": model.tokenizer, "reconstruction": reconstruction})
        return module, lambda: reconstruction.loss(model.tokenizer, pictures, rng), 0
    if isinstance(stage, CaptionStage):
        contrast = stage.contrast.build()
        module = nn.ModuleDict({"text": model.text})
        return module, lambda: contrast.loss(*model.text([caption] * 2 * stage.batch).pooled.chunk(2)), 0
    assert isinstance(stage, VideoStage)  # others are not planned
    latents = model.tokenizer.encode(torch.empty(1, *shape))
    batches: list[Batch] = []
    for shown in stage.shown:
        clean = torch.empty(shown.count, shown.num_frames(latents.shape[1]), *latents.shape[2:])
        # Captions that several pictures share are read once; blanks make the others differ, and nothing else of them.
        captions = tuple(caption + " " * shown.clip_of(place) for place in range(shown.count))
        micro = micro_conditions([Framing((shape[-1], shape[-2]))] * shown.count, clean.shape[1])
        batches.append(Batch(clean, captions, micro))
    _, t, _, h, w = batches[0].clean.shape
    frames, side = model.backbone.patch
    cubes, tokens = -(-t // frames), (h // side) * (w // side)
    shares = {cubes: stage.lesson.time_mask_share, tokens: stage.lesson.mask_share}
    walk.visible = {number: max(round((1 - share) * number), 1) for number, share in shares.items()}

    course = VideoCourse(stage, run, model, lambda step: batches)
    reading = 0 if learned(model.text) else sum(_reading_flops(model, batch, walk) for batch in batches)
    return course.module, lambda: course.loss(0), reading


def _reading_flops(model: VideoModel, batch: Batch, walk: Walk) -> int:
    """Of the text encoder in a lesson."""
    before = walk.flops
    with torch.no_grad():
        model.text([""])
        model.read(batch.captions)
    return walk.flops - before


def sampling_needs(run: Run, device: Device) -> SamplingNeeds:
    """Words to pixels, by the model's own choices of size, length, steps, guidance and solver."""
    defaults = run.model.defaults
    (width, height), t = defaults.size, defaults.num_frames
    path = build(run.model.objective).path
    count = defaults.picture_candidates
    scale = defaults.guidance if defaults.picture_guidance is None else defaults.picture_guidance
    picture = passes_in_all(defaults.model_copy(update={"guidance": scale}), path) + passes_of_judging(count)
    # What is sampled in turn: how many of how many frames, each in how many passes.
    walks = [(1, t, passes_in_all(defaults, path))] if t > 1 else []
    walks += [(count, 1, picture)] if defaults.image_first or t == 1 else []
    with walking(device.is_gpu) as walk, torch.no_grad():
        model = outline(run.model, walk).eval()
        z = torch.empty_like(model.tokenizer.encode(torch.empty(1, t, 3, height, width)))
        walk.forget_peak()
        begun = walk.flops
        for part in z[0].split(FRAMES_DECODED_AT_ONCE):
            model.tokenizer.decode(part[None])
        decoding = walk.flops - begun
        flops = decoding
        for num, length, passes in walks:
            at_once = pictures_at_once(model, num)
            together = z[:, :length].expand(at_once, -1, -1, -1, -1)
            flops += _sampling_flops(model, together, passes, walk) * num // at_once
        total = sum(num * passes for num, _, passes in walks)
        return SamplingNeeds(t, defaults.size, total, defaults.precision, flops, walk.most)


def _sampling_flops(model: VideoModel, z: Tensor, passes: int, walk: Walk) -> int:
    """From words to latents of the shape of `z`."""
    defaults, (num, t), begun = model.config.defaults, z.shape[:2], walk.flops
    cond = model.conditions(
        ["a prompt"] * num,
        torch.zeros(num, t, dtype=torch.bool),
        z,
        micro_conditions([Framing(defaults.size)] * num, t),
    )
    reading = walk.flops - begun
    model.estimate(z, torch.ones(num, t), cond)
    one_pass = walk.flops - begun - reading
    # All passes of a level at once, at one at which there are all: for the peak.
    level = torch.full((num, t), defaults.guidance_interval[1])
    guided(model.estimate, model.objective.path, defaults, defaults.guidance)(z, level, cond)
    return reading + passes * one_pass


def cache_needs(run: Run) -> CacheNeeds | None:
    """The encoding of the clips of all stages; those of one source are encoded once. None: no stage learns from
    clips."""
    most: dict[Config, int] = {}
    for stage in run.stages:
        if isinstance(stage, VideoStage):
            data = run.at(stage).data
            most[data] = max(most.get(data, 0), stage.num_clips)
    needs = None
    for data, num_clips in most.items():
        shape = build(data).clip(0).pixels.shape
        with walking(is_gpu=False) as walk, torch.no_grad():
            latents = build(tokenizer(run.model)).encode(torch.empty(1, *shape))
            before = needs or CacheNeeds(0, 0)
            needs = CacheNeeds(before.flops + num_clips * walk.flops, before.size + num_clips * latents.numel() * 2)
    return needs


def largest_batch(run: Run, stage: Stage, device: Device, whole: StageNeeds, num_gpus: int) -> int:
    """The most that one device holds of a batch of which it does not hold its share of `whole`; 0: not even one.

    By the straight line from a batch of one, which lies above the true peak: that is the larger of several lines.
    """
    one = {"batch": 1}
    if isinstance(stage, VideoStage):
        one["pictures_beside"] = stage.pictures_beside // num_gpus
    alone = stage_needs(run, stage.model_copy(update=one), device, 1).memory.peak
    share = stage.batch // num_gpus
    if alone > device.usable_bytes:
        return 0
    each = (whole.memory.peak - alone) / (share - 1)
    return 1 + int((device.usable_bytes - alone) // each)
