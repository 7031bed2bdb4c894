"""Plans: exact where they can be, near what the paper prints, and near what a real step takes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from tiny import tiny_model, tiny_run
from vitascope.backbones.stiv import XL, XXL, M, StivConfig
from vitascope.conditions import micro_conditions
from vitascope.config import Config, override
from vitascope.data.loader import LoaderConfig, MixedConfig
from vitascope.plan import needs, report
from vitascope.plan.calibrating import Stepper, refuse_other_device, step_seconds, timed_here
from vitascope.plan.devices import DEVICES, Device, device, gpu, gpu_called
from vitascope.plan.parts import outline
from vitascope.plan.walking import size_of, walking
from vitascope.recipes import resolve
from vitascope.recipes.stiv import PAPER, PRINTED, TowerConfig, UnseenClipsConfig, by_rule, from_both
from vitascope.sample.candidates import passes_of_judging
from vitascope.system import Lesson, VideoModel
from vitascope.text.pretrained import PretrainedTextConfig
from vitascope.train.initialise import Origin, initialised
from vitascope.train.loop import fit
from vitascope.train.muon import MuonConfig, hidden_matrices
from vitascope.train.optim import AdafactorConfig, AdamWConfig, MovingAverage
from vitascope.train.stages import Run, Stage, VideoStage
from vitascope.train.streaming import StreamStage
from vitascope.types import Batch, Framing, UserError, generator_for

H200 = DEVICES["h200"]
PROCESSOR = Device("cpu", 8.0, 1e11, 1e11, utilisation=0.5, is_gpu=False)  # as it might be measured


def count(config: StivConfig) -> int:
    with walking(is_gpu=False):
        return sum(parameter.numel() for parameter in config.build().parameters())


@pytest.mark.parametrize(
    ("config", "temporal", "billions"),
    [
        (XL, False, 0.603),
        (XXL, False, 1.449),
        (M, False, 7.002),
        (XL, True, 0.751),
        (XXL, True, 1.807),
        (M, True, 8.739),
    ],
)
def test_parameters_are_those_of_the_papers_sizes(config: StivConfig, temporal: bool, billions: float) -> None:
    few = [config.model_copy(update={"temporal": temporal, "tail_blocks": 0, "depth": depth}) for depth in (1, 2)]
    one, two = map(count, few)  # all blocks are alike
    whole, width = one + (config.depth - 1) * (two - one), config.width
    formula = (6 + (20 if temporal else 16) * config.depth) * width**2
    assert formula / 1e9 == pytest.approx(billions, abs=0.001)
    embedders = 4 * width**2 + (2 * 1280 + 256 + 64 * 6 + 2 * 64) * width  # and biases, of less than a hundredth
    assert whole == pytest.approx(formula + embedders, rel=0.01)


def altered(run: Run, **model: Config) -> Run:
    return run.model_copy(update={"model": run.model.model_copy(update=model)})


def shallow(run: Run, depth: int, tail_blocks: int = 1) -> Run:
    return altered(run, backbone=run.model.backbone.model_copy(update={"depth": depth, "tail_blocks": tail_blocks}))


def at_full_depth(run: Run, stage: Stage) -> int:
    """FLOPs of a step of XL from three shallow ones: they grow evenly with blocks of either kind."""
    run = altered(run, text=TowerConfig(depth=1))  # no part of the step
    sizes = shallow(run, 1), shallow(run, 2), shallow(run, 1, tail_blocks=2)
    one, two, three = (needs.stage_needs(small, stage, H200, 512).step_flops for small in sizes)
    return one + 27 * (two - one) + (three - one)


def test_flops_are_within_a_twentieth_of_those_that_the_paper_prints_where_it_tells_the_steps() -> None:
    run = PAPER["xl_256"]()
    for printed in PRINTED["stiv_xl_256"][:2]:
        stages = [stage for stage in run.stages if isinstance(stage, VideoStage) and stage.name in printed.stages]
        assert printed.share is not None
        rule = printed.share * sum(stage.steps * by_rule(run, stage) for stage in stages)
        assert rule == pytest.approx(printed.flops, rel=0.05), printed.what
        flops = sum(stage.steps * at_full_depth(run, stage) for stage in stages)
        assert printed.share * flops == pytest.approx(printed.flops, rel=0.05), printed.what


def test_the_progressive_plan_spends_what_the_paper_prints_in_all() -> None:
    run = from_both()
    stages = [stage for stage in run.stages if isinstance(stage, VideoStage)]
    assert [stage.name.removesuffix("_whole") for stage in stages[::2]] == ["t2i_256", "t2v_256", "t2i_512", "t2v_512"]
    rule = sum(stage.steps * by_rule(run.at(stage), stage) for stage in stages)
    assert rule == pytest.approx(5.98e21, rel=0.02)
    assert [stage.steps for stage in stages[:4]] == [400_000, 50_000, 200_000, 50_000]
    sizes = [stage.data.size for stage in stages if isinstance(stage.data, UnseenClipsConfig)]
    assert sizes == [256] * 4 + [512] * 4
    told = [[(origin.of, origin.weights) for origin in run.origins(stage)] for stage in stages]
    every = Origin(of="any").weights
    assert told[2::2] == [
        [("t2i_256_whole", every)],
        [("t2i_256_whole", every)],
        [("t2i_512_whole", every), ("t2v_256_whole", ("backbone.blocks.*.time.*",))],
    ]


def test_a_text_that_is_projected_for_each_frame_costs_more_and_changes_nothing() -> None:
    clip = some_run(AdamWConfig(), {})
    frame = altered(clip, backbone=clip.model.backbone.model_copy(update={"text_per_frame": True}))
    once, often = (needs.stage_needs(run, run.stages[0], PROCESSOR, 1).step_flops for run in (clip, frame))
    assert once < often
    made = []
    for run in (clip, frame):
        model = initialised(run.model, 0)
        with torch.no_grad():
            for place, weights in enumerate(model.parameters()):
                weights.add_(torch.randn(weights.shape, generator=generator_for(0, "weights", place)), alpha=0.1)
        z = torch.randn(2, 4, 4, 2, 2, generator=generator_for(0, "video"))
        known, micro = torch.zeros(2, 4, dtype=torch.bool), micro_conditions([Framing((16, 16))] * 2, 4)
        cond = model.conditions(("stripes number 1", "the same stripes"), known, z, micro)
        made.append(model.estimate(z, torch.full((2, 4), 0.5), cond).clean)
    assert torch.allclose(*made, atol=1e-5)


def test_an_optimizer_that_multiplies_matrices_is_counted_once_a_device() -> None:
    plain, turned = (some_run(optimizer, {}) for optimizer in (AdamWConfig(), MuonConfig()))
    assert needs.stage_needs(plain, plain.stages[0], H200, 1).update_flops == 0
    one, four = (needs.stage_needs(turned, turned.stages[0], H200, number) for number in (1, 4))
    assert one.update_flops == four.update_flops > 0
    matrices = [weight for weight, _ in hidden_matrices(initialised(turned.model, 0).backbone)]
    least = sum(5 * 2 * 2 * weight.numel() * min(weight.shape) for weight in matrices)  # x x^T and its use, five times
    assert least / 3 < one.update_flops < 3 * least  # what is fused is turned apart, and the square comes to it
    assert four.device_flops(4) == pytest.approx(one.step_flops / 4 + one.update_flops, rel=0.02)


def test_a_step_is_foretold_from_smaller_ones_that_were_taken() -> None:
    run = some_run(AdamWConfig(), {})
    seconds = iter(float(n) for n in range(10**6))
    foretold = step_seconds(run, run.stages[0], seconds=3.0, clock=lambda: next(seconds))
    assert foretold == 1.0  # each step between two ticks of this clock, whatever its batch: the line is flat
    made = report.plan(run, PROCESSOR, timed={"videos": foretold})
    assert made.hours == pytest.approx(4 * foretold / 3600)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA GB200", None),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100"),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", None),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("Tesla T4", None),
    ],
)
def test_a_gpu_is_known_by_what_its_driver_calls_it(told: str, name: str | None) -> None:
    assert gpu_called(told) == name


@pytest.mark.parametrize(
    ("asked", "here", "way"),
    [
        (H200, None, "no GPU: add --gpu cpu"),
        (H200, "NVIDIA H100 80GB HBM3", "the GPU 'NVIDIA H100 80GB HBM3': add --gpu h100"),
        (H200, "Tesla T4", "the GPU 'Tesla T4': leave --calibrate out"),
        (PROCESSOR, "NVIDIA H200", "the GPU 'NVIDIA H200': add --gpu h200"),
    ],
)
def test_steps_are_never_told_as_those_of_another_device(asked: Device, here: str | None, way: str) -> None:
    refuse_other_device(H200, "NVIDIA H200")
    refuse_other_device(PROCESSOR, None)
    with pytest.raises(UserError, match=f"--gpu is {asked.name}, and --calibrate times this machine, which has {way}"):
        refuse_other_device(asked, here)
    with pytest.raises(UserError, match="times one device, and --gpus is 2"):
        timed_here(tiny_run(), asked, 2)


def test_what_the_paper_does_not_tell_is_called_an_inference() -> None:
    run = PAPER["xl_512"]()
    lines = list(report.beside_paper(run, ()))
    assert len(lines) == 5 and all("steps of" in line and line.endswith("[inferred]") for line in lines)


def some_run(optimizer: Config, stage: dict[str, Any], **backbone: Any) -> Run:
    """Larger than the tiniest, so that activations outweigh what every tensor costs at least."""
    usual = {"channels": 4, "text_width": 32, "width": 64, "heads": 2, "depth": 2, "tail_blocks": 1, "patch": (2, 1)}
    model = tiny_model().model_copy(update={"backbone": StivConfig(**{**usual, **backbone})})
    videos = VideoStage(name="videos", steps=4, batch=8, num_clips=8, optimizer=optimizer, **stage)
    return tiny_run(videos, precision="fp32").model_copy(update={"model": model})


def two_steps(run: Run) -> tuple[VideoModel, torch.optim.Optimizer, MovingAverage, int]:
    """Really taken; and the most bytes that the second one added at any moment, by the allocator's own record."""
    (stage,) = run.stages
    assert isinstance(stage, VideoStage)
    model = initialised(run.model, run.seed)
    module = nn.ModuleDict({"text": model.text, "backbone": model.backbone}).train()
    learned = list(module.parameters())
    optimizer = stage.optimizer.build(module, 1e-3)  # type: ignore[attr-defined]
    average = MovingAverage(module, 0.999)
    latents = 1 if stage.images else 4
    batch = Batch(
        torch.randn(stage.batch, latents, 4, 2, 2),
        ("stripes number 0",) * stage.batch,
        micro_conditions([Framing((16, 16))] * stage.batch, latents),
    )

    def step() -> None:
        model.loss(batch, stage.lesson, generator_for(0, "test")).total.backward()
        nn.utils.clip_grads_with_norm_(
            learned, 1.0, nn.utils.get_total_norm([p.grad for p in learned if p.grad is not None])
        )
        optimizer.step()

    step()
    optimizer.zero_grad(set_to_none=True)
    return model, optimizer, average, most_added(step)


def most_added(step: Callable[[], None]) -> int:
    """The most bytes at any moment beyond those before, by the allocator's own record."""
    with torch.autograd.profiler.profile(profile_memory=True) as record:
        step()
    changes = [event for event in record.kineto_results.events() if event.name() == "[memory]"]
    most = alive = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most


@pytest.mark.parametrize("optimizer", [AdamWConfig(), AdafactorConfig(), MuonConfig()])
@pytest.mark.parametrize("stage", [{}, {"images": True}, {"lesson": Lesson(mask_share=0.5)}])
def test_memory_is_that_of_a_real_step(optimizer: Config, stage: dict[str, Any]) -> None:
    run = some_run(optimizer, stage)
    held = needs.stage_needs(run, run.stages[0], PROCESSOR, 1).memory
    model, real, average, most = two_steps(run)
    learned = [*model.text.parameters(), *model.backbone.parameters()]

    def of(tensors: Any) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)

    states = of(value for state in real.state.values() for value in state.values() if isinstance(value, torch.Tensor))
    assert held.weights == of(learned)
    assert held.gradients == of(parameter.grad for parameter in learned)
    assert held.optimizer == states
    assert held.average == of(average.weights.values())
    before = of(learned) + of(model.tokenizer.state_dict().values()) + held.average + states
    if isinstance(optimizer, MuonConfig):  # its steps hold more than is walked, which tells in a model so small
        assert 0.8 * (before + most) < held.peak <= before + most
    else:
        assert held.peak == pytest.approx(before + most, rel=0.1)
        assert held.peak - before == pytest.approx(most, rel=0.2)


def test_a_stage_of_the_laptop_takes_the_memory_that_is_planned() -> None:
    """The autoencoder with Muon, as `laptop:stiv` trains it: where tensors are large, what is not walked is little."""
    run = resolve("laptop:stiv").model_copy(update={"precision": "fp32"})
    stage = run.stages[0]
    planned = needs.stage_needs(run, stage, PROCESSOR, 1).memory.peak
    take = Stepper(run, stage)
    take()
    take()
    states = [value for state in take.learner.optimizer.state.values() for value in state.values()]
    held = [*take.model.state_dict().values(), *take.learner.average.weights.values(), *states]
    taken = size_of(one for one in held if isinstance(one, torch.Tensor)) + most_added(take)
    assert planned == pytest.approx(taken, rel=0.1)


def test_a_fitting_run_needs_no_advice_and_the_advised_batch_fits() -> None:
    run = some_run(AdamWConfig(), {})
    stage = run.stages[0].model_copy(update={"batch": 128})  # so that activations are most of what it needs
    run = run.model_copy(update={"stages": (stage,)})
    held = needs.stage_needs(run, stage, PROCESSOR, 1).memory
    small = replace(PROCESSOR, memory_gib=(held.states + (held.peak - held.states) / 2) / 2**30)
    assert not report.plan(run, PROCESSOR).advice
    (advice,) = report.plan(run, small).advice
    batch = int(advice.rpartition("stages.videos.batch=")[2])
    assert 1 <= batch < stage.batch
    fitting = run.model_copy(update={"stages": (stage.model_copy(update={"batch": batch}),)})
    assert not report.plan(fitting, small).advice
    assert "--set recompute=true" in advice
    assert not report.plan(run.model_copy(update={"recompute": True}), small).advice
    (hopeless,) = report.plan(run, replace(PROCESSOR, memory_gib=1e-6)).advice
    assert "no batch is small enough" in hopeless


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"solver": "euler", "guidance": 1.0}, 4),
        ({"solver": "euler"}, 8),
        ({"solver": "heun"}, 14),  # the last step to a clean video asks once
        ({"solver": "euler", "guidance_kind": "separate"}, 12),
        ({"solver": "euler", "guidance_interval": (0.4, 0.6)}, 5),  # levels 1, 0.75, 0.5, 0.25
    ],
)
def test_passes_are_those_of_solver_and_guidance(changes: dict[str, Any], passes: int) -> None:
    run = tiny_run().model_copy(update={"model": tiny_model(**{"steps": 4, "guidance": 3.0, **changes})})
    assert needs.sampling_needs(run, PROCESSOR).passes == passes


def test_sampling_grows_by_the_pass() -> None:
    flops = []
    for steps in (1, 2, 3):
        run = tiny_run().model_copy(update={"model": tiny_model(steps=steps, solver="euler", guidance=3.0)})
        flops.append(needs.sampling_needs(run, PROCESSOR).flops)
    assert flops[2] - flops[1] == flops[1] - flops[0] > 0


def test_a_picture_made_first_is_sampled_as_a_picture_is() -> None:
    """Both walks, but the picture's latents are not decoded by themselves."""
    at_once, begun, picture = (
        needs.sampling_needs(tiny_run().model_copy(update={"model": tiny_model(**changes)}), PROCESSOR)
        for changes in ({}, {"image_first": True}, {"num_frames": 1})
    )
    assert begun.passes == at_once.passes + picture.passes
    assert at_once.flops < begun.flops < at_once.flops + picture.flops


def test_candidates_are_sampled_and_judged() -> None:
    one, four, film = (
        needs.sampling_needs(tiny_run().model_copy(update={"model": tiny_model(steps=4, **changes)}), PROCESSOR)
        for changes in ({"num_frames": 1}, {"num_frames": 1, "picture_candidates": 4}, {"picture_candidates": 4})
    )
    assert four.passes == 4 * (one.passes + passes_of_judging(4))
    assert one.flops < four.flops
    assert film == needs.sampling_needs(tiny_run().model_copy(update={"model": tiny_model(steps=4)}), PROCESSOR)


def test_pictures_beside_are_split_over_devices_too() -> None:
    stage = VideoStage(name="videos", steps=1, batch=4, num_clips=8, pictures_beside=6)
    run = tiny_run(stage)
    assert needs.stage_needs(run, stage, H200, 2).step_flops > 0
    with pytest.raises(UserError, match=r"6 pictures beside .* over 4 devices; set pictures_beside to 8"):
        needs.stage_needs(run, stage, H200, 4)


def test_more_devices_share_the_work_and_not_the_states() -> None:
    run = some_run(AdamWConfig(), {})
    one, four = (report.plan(run, H200, number) for number in (1, 4))
    assert one.flops == pytest.approx(four.flops, rel=0.01)  # each device encodes the empty caption too
    assert four.hours == pytest.approx(one.hours / 4, rel=0.01)
    assert one.stages[0].memory.optimizer == four.stages[0].memory.optimizer
    assert one.stages[0].memory.activations > 3 * four.stages[0].memory.activations


def test_a_price_is_only_what_the_user_gives() -> None:
    run = some_run(AdamWConfig(), {})
    assert report.plan(run, H200).cost is None
    priced = report.plan(run, H200, 2, 3.0)
    assert priced.cost == pytest.approx(priced.hours * 6)


def test_bf16_keeps_less_for_the_backward_pass() -> None:
    run = some_run(AdamWConfig(), {})
    big = run.stages[0].model_copy(update={"batch": 128})  # autocast keeps copies of the weights too
    single, half = (
        needs.stage_needs(run.model_copy(update={"precision": precision}), big, H200, 1).memory
        for precision in ("fp32", "bf16")
    )
    assert single.weights == half.weights and single.optimizer == half.optimizer
    assert half.activations < single.activations


def test_all_of_a_plan_is_told() -> None:
    told = io.StringIO()
    report.print_plan(report.plan(tiny_run(), PROCESSOR), Console(file=told, width=200))
    for word in ("autoencoder", "videos", "parameters: tokenizer", "peak", "device hours", "passes", "main memory"):
        assert word in told.getvalue()


def test_presets_are_whole_runs_that_nobody_can_start(tmp_path: Path) -> None:
    assert {
        f"{size}_{side}{frames}" for size in ("xl", "xxl", "m") for side in (256, 512) for frames in ("", "_40")
    } == {*PAPER}
    for key, make in PAPER.items():
        run = make()
        assert run.name == f"stiv_{key}" and len(run.stages) == 6
    with pytest.raises(UserError, match="not public"):
        fit(run, tmp_path / "run")


def test_the_text_tower_is_counted_and_not_loaded() -> None:
    run = shallow(PAPER["xl_256"](), 1)
    tower = 12 * 1280**2 * 32 + (32_128 + 120) * 1280
    assert needs.parameters(run)["text"] == pytest.approx(tower, rel=0.01)
    stage = needs.stage_needs(run, run.stages[1], H200, 512)
    assert stage.memory.frozen["text"] == pytest.approx(2 * tower, rel=0.01)  # bf16
    per_caption = stage.frozen_flops / (stage.batch + 512)  # each of the 512 devices reads the empty one too
    assert per_caption == pytest.approx(2 * 120 * 12 * 1280**2 * 32, rel=0.05)


def test_of_a_stage_that_cannot_be_planned_nothing_is_reckoned() -> None:
    """Neither latents, which a stream does not keep, nor other stages, which may take minutes."""
    stream = StreamStage(name="stream", steps=1, batch=2, loader=LoaderConfig(sources=(MixedConfig(path="films"),)))
    run, walked = tiny_run(*tiny_run().stages, stream), list[int]()
    with pytest.raises(UserError, match=r"stage stream: no plan is known for a StreamStage; .*Stage or VideoStage in"):
        report.plan(run, H200, progress=lambda done, total: walked.append(done))
    assert not walked
    assert needs.cache_needs(tiny_run(stream)) is None
    assert needs.cache_needs(run) == needs.cache_needs(tiny_run())


def test_what_cannot_be_planned_is_one_line() -> None:
    with pytest.raises(UserError, match=r"'h300' is not known; known are cpu, .*h200.*did you mean"):
        device("h300")
    run = some_run(AdamWConfig(), {})
    with pytest.raises(UserError, match="batch of 8 cannot be split over 3 devices; take 2 of them or a batch of 9"):
        report.plan(run, H200, 3)
    with pytest.raises(UserError, match="--gpus must be at least 1, got 0"):
        report.plan(run, H200, 0)
    with pytest.raises(UserError, match="--gpus is for GPUs"):
        report.plan(run, PROCESSOR, 2)
    with pytest.raises(UserError, match="--price"):
        report.plan(run, H200, 1, -1.0)
    with pytest.raises(UserError, match=r"stage autoencoder: .* make the clips 24x24"):
        report.plan(override(tiny_run(), "model.backbone.patch", "[2, 3]"), H200)
    with pytest.raises(UserError, match="stage videos: these settings do not fit together"):
        report.plan(override(tiny_run(), "model.text.heads", "32"), H200)
    text = PretrainedTextConfig(family="t5", source="no/such-encoder")
    model = run.model.model_copy(update={"text": text})
    with pytest.raises(UserError, match=r"config\.json is all that a plan needs"):
        report.plan(run.model_copy(update={"model": model}), H200)


def test_known_devices_say_what_they_are() -> None:
    assert device("H200") == H200
    for name in DEVICES:
        assert device(name).name == name and device(name).rate("bf16") > device(name).rate("fp32")
    assert gpu("one", 1.0, 2.0, 1.0).usable_bytes < 2**30


def test_a_plan_allocates_nothing() -> None:
    run = PAPER["m_512_40"]()
    with walking(is_gpu=True) as walk:
        model = outline(shallow(run, 1).model, walk)
        assert walk.alive > 2**30 and isinstance(model, VideoModel)
        assert all(parameter.untyped_storage().device.type == "meta" for parameter in model.backbone.parameters())
