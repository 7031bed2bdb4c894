"""Laws of the STIV backbone, for each switch that is a row of the paper's ablations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from vitascope.backbones.stiv import XL, XXL, M, Stiv, StivConfig
from vitascope.conditions import MICRO, Conditions, TextFeatures
from vitascope.types import UserError, generator_for

TINY = StivConfig(channels=4, text_width=16, width=32, heads=2, depth=2, grid=(4, 4))
SWITCHES = {
    "default": {},
    "one frame a cube": {"patch": (1, 2)},
    "four frames a cube": {"patch": (4, 2)},
    "one cell a cube": {"patch": (2, 1)},
    "no time": {"temporal": False},
    "causal": {"causal_time": True},
    "modulated time": {"modulate_time": True},
    "no qk norm": {"qk_norm": False},
    "no sandwich norm": {"sandwich_norm": False},
    "no condition norm": {"condition_norm": False},
    "own modulations": {"shared_modulation": False},
    "sincos": {"positions": "sincos"},
    "both": {"positions": "both"},
    "no micro-conditions": {"micro_conditions": False},
    "extrapolated": {"interpolate_positions": False},
    "text per frame": {"text_per_frame": True},
    "image beside the text": {"image_context": "linear"},
    "image through convolutions": {"image_context": "resnet"},
    "tail": {"tail_blocks": 1},
}


def draw(*shape: int, name: str = "") -> Tensor:
    return torch.randn(shape, generator=generator_for(0, "stiv", name, *shape))


def new(**switches) -> Stiv:
    """As built: gates and outputs are zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TINY.model_copy(update=switches).build()


def trained(**switches) -> Stiv:
    """As if it had learned something: no weight is zero."""
    model = new(**switches)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator_for(0, "trained", name))
    return model.eval()


def conditions(b: int, t: int, h: int = 8, w: int = 8) -> Conditions:
    tokens, mask = draw(b, 5, 16, name="text"), torch.ones(b, 5, dtype=torch.bool)
    text = TextFeatures(tokens, mask, tokens[:, -1])
    micro = torch.tensor([[64.0, 64, 0, 0, 1, 16]]).expand(b, -1)
    assert micro.shape[1] == len(MICRO)
    return Conditions(torch.zeros(b, t, dtype=torch.bool), torch.zeros(b, t, 4, h, w), text, text, micro)


def answer(model: Stiv, z: Tensor, level: float | Tensor = 0.4, cond: Conditions | None = None, visible=None) -> Tensor:
    b, t, _, h, w = z.shape
    levels = level if isinstance(level, Tensor) else torch.full((b, t), level)
    with torch.no_grad():
        return model(z, levels, cond or conditions(b, t, h, w), visible)


# Sizes


@pytest.mark.parametrize("config, heads", [(XL, 18), (XXL, 24), (M, 48)], ids=["XL", "XXL", "M"])
@pytest.mark.parametrize("temporal, per_block", [(False, 16), (True, 20)])
def test_presets_have_the_parameters_of_the_paper(config, heads, temporal, per_block):
    """(6 + 16 N) d^2 without and (6 + 20 N) d^2 with temporal attention, N counting the blocks before the tail.

    Exactly so for the matrices of blocks and shared AdaLN. Left out of that: biases and scales of the QK norm, the
    embedders of cubes, level, micro-conditions and text (4 d^2 and some thousand d), and the last layer.
    """
    config = config.model_copy(update={"temporal": temporal, "tail_blocks": 0})
    with torch.device("meta"):
        model = config.build()
    square = config.width**2
    expected = (6 + per_block * config.depth) * square
    assert config.heads == heads
    assert config.width == 64 * heads
    assert matrices(model.blocks) + matrices(model.modulation) == expected
    total = sum(parameter.numel() for parameter in model.parameters())
    assert expected < total < 1.02 * expected


def test_the_paper_names_its_sizes_without_time_but_the_largest_with_it():
    """600M and 1.5B are counts of image models, 8.7B that of a video model (table 1 of the paper)."""
    for config, temporal, label in ((XL, False, 0.603e9), (XXL, False, 1.449e9), (M, True, 8.739e9)):
        per_block = 20 if temporal else 16
        assert (6 + per_block * config.depth) * config.width**2 == pytest.approx(label, rel=1e-3)


def test_each_tail_block_costs_as_much_as_any_other():
    with torch.device("meta"):
        with_tail, without = XL.build(), XL.model_copy(update={"tail_blocks": 0}).build()
    assert matrices(with_tail.blocks) - matrices(without.blocks) == 2 * 20 * XL.width**2


def test_own_modulations_cost_six_squares_a_block():
    shared, own = new(), new(shared_modulation=False)
    assert own.modulation is None
    assert matrices(own.blocks) - matrices(shared.blocks) == TINY.depth * 6 * TINY.width**2
    assert matrices(new(modulate_time=True).modulation) == 9 * TINY.width**2


def matrices(module: nn.Module) -> int:
    return sum(p.numel() for name, p in module.named_parameters() if name.endswith("weight") and p.ndim == 2)


# Shapes and beginnings


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
@pytest.mark.parametrize("frames, rows, columns", [(1, 8, 8), (2, 4, 4), (5, 8, 4), (16, 8, 8)])
def test_an_answer_has_the_shape_of_the_question(switches, frames, rows, columns):
    z = draw(2, frames, 4, rows, columns)
    y = answer(trained(**switches), z)
    assert y.shape == z.shape
    assert y.isfinite().all()


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_a_new_model_answers_zero(switches):
    assert not answer(new(**switches), draw(2, 4, 4, 8, 8)).any()


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_the_gradient_reaches_every_parameter_after_a_few_steps(switches):
    model, z = new(**switches), draw(2, 8, 4, 8, 8)
    visible = half(2) if model.config.tail_blocks else None
    cond = conditions(2, 8)
    cond.known[:, 0] = True  # the first frame, clean, for those that look at it
    cond.frames[:, 0] = z[:, 0]
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    for _ in range(4):  # what is zero at first lets the gradient through once it is not
        optimizer.zero_grad()
        loss = (model(z, torch.full((2, 8), 0.4), cond, visible) - draw(2, 8, 4, 8, 8, name="y")).square()
        loss.mean().backward()
        optimizer.step()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # Without micro-conditions their embedder rests; it stays so that the weights of both variants have the same names.
    assert silent == [n for n in silent if n.startswith("micro.") and not model.config.micro_conditions]


def test_latents_that_the_cubes_do_not_tile_are_refused():
    with pytest.raises(ValueError, match="multiples of the patch 2"):
        answer(new(), draw(1, 2, 4, 5, 8))


def test_heads_that_cannot_hold_a_row_and_a_column_are_refused():
    with pytest.raises(UserError, match="width 36 and 6 heads"):
        new(width=36, heads=6)


def test_the_same_seed_builds_the_same_model_whatever_its_batch():
    z = draw(3, 4, 4, 8, 8)
    torch.testing.assert_close(answer(trained(), z)[1:2], answer(trained(), z[1:2], cond=row(conditions(3, 4), 1)))


def row(cond: Conditions, index: int) -> Conditions:
    here = slice(index, index + 1)
    text = TextFeatures(cond.text.tokens[here], cond.text.mask[here], cond.text.pooled[here])
    return Conditions(cond.known[here], cond.frames[here], text, text, cond.micro[here])


# Images and videos


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_a_video_model_begins_as_the_image_model_it_comes_from(patch):
    """With temporal attention as new, cubes do not see each other; a still video is in each cube an image.

    An image is a cube of one repeated frame, and its answer the mean of the cube's answers.
    """
    model = trained(patch=(patch, 2))
    for block in model.blocks:
        nn.init.zeros_(block.time.leave.weight)  # as a new model has them, and its recipe makes them
        nn.init.zeros_(block.time.leave.bias)
    image, cond = draw(2, 1, 4, 8, 8), conditions(2, 1)
    still = answer(model, image.expand(-1, 8, -1, -1, -1), cond=frames_of(cond, 8))
    of_cubes = still.unflatten(1, (8 // patch, patch)).mean(2)
    torch.testing.assert_close(of_cubes, answer(model, image, cond=cond).expand_as(of_cubes), atol=1e-5, rtol=1e-4)


def test_with_cubes_of_one_frame_it_begins_so_for_any_video():
    model, z = trained(patch=(1, 2)), draw(2, 4, 4, 8, 8)
    for block in model.blocks:
        nn.init.zeros_(block.time.leave.weight)
        nn.init.zeros_(block.time.leave.bias)
    cond = conditions(2, 4)
    by_frame = [answer(model, z[:, t : t + 1], cond=frames_of(cond, 1)) for t in range(4)]
    torch.testing.assert_close(answer(model, z, cond=cond), torch.cat(by_frame, 1), atol=1e-5, rtol=1e-4)


def frames_of(cond: Conditions, t: int) -> Conditions:
    b, _, *shape = cond.frames.shape
    return replace(cond, known=torch.zeros(b, t, dtype=torch.bool), frames=torch.zeros(b, t, *shape))


def test_new_temporal_attention_is_silent_though_the_rest_has_learned():
    model = trained()
    fresh = new().state_dict()
    model.load_state_dict({name: value for name, value in fresh.items() if ".time." in name}, strict=False)
    z = draw(1, 6, 4, 8, 8)
    other = z.clone()
    other[:, 4:] += 1
    torch.testing.assert_close(answer(model, other)[:, :4], answer(model, z)[:, :4])


@pytest.mark.parametrize("frames", [3, 5, 7])
def test_an_odd_length_answers_as_the_video_whose_last_frame_is_repeated(frames):
    model, z = trained(), draw(2, frames, 4, 8, 8)
    level = torch.rand(2, frames, generator=generator_for(0))
    repeated = answer(model, torch.cat([z, z[:, -1:]], 1), torch.cat([level, level[:, -1:]], 1))
    expected = torch.cat([repeated[:, : frames - 1], repeated[:, frames - 1 :].mean(1, keepdim=True)], 1)
    torch.testing.assert_close(answer(model, z, level), expected)


def test_cutting_into_cubes_and_back_loses_nothing():
    model = new()
    cube = nn.Identity()
    model.enter = cube
    for t in (1, 4, 5):
        z = draw(2, t, 4, 8, 4)
        cubes, rows, _ = model.cubify(z)
        torch.testing.assert_close(model.uncubify(cubes, t, rows), z)


# Who sees whom


def touched(model: Stiv, frame: int, frames: int = 8) -> list[int]:
    """The frames whose answer changes when one frame of the question does."""
    z = draw(1, frames, 4, 8, 8)
    other = z.clone()
    other[:, frame] += 1
    change = (answer(model, other) - answer(model, z)).abs().amax((0, 2, 3, 4))
    return (change > 1e-6).nonzero()[:, 0].tolist()


def test_space_and_text_never_mix_cubes():
    assert touched(trained(temporal=False), 3) == [2, 3]
    assert touched(trained(temporal=False, patch=(1, 2)), 3) == [3]


def test_time_mixes_all_cubes():
    assert touched(trained(), 3) == list(range(8))


@pytest.mark.parametrize("switches", [{}, {"modulate_time": True}], ids=["plain", "modulated"])
def test_causal_time_sees_no_later_cube(switches):
    assert touched(trained(causal_time=True, **switches), 5) == [4, 5, 6, 7]


def test_each_cube_has_its_own_level():
    """A level per frame: without temporal attention a cube answers to the mean level of its own frames only."""
    model, z = trained(temporal=False), draw(1, 4, 4, 8, 8)
    low, mixed = torch.tensor([[0.2, 0.4, 0.3, 0.3]]), torch.tensor([[0.3, 0.3, 0.8, 0.8]])
    torch.testing.assert_close(answer(model, z, mixed)[:, :2], answer(model, z, low)[:, :2])
    assert not torch.allclose(answer(model, z, mixed)[:, 2:], answer(model, z, low)[:, 2:])


def test_padded_text_has_no_influence():
    model, z, cond = trained(), draw(2, 4, 4, 8, 8), conditions(2, 4)
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    masked = replace(cond, text=replace(cond.text, mask=mask))
    noisy = replace(cond, text=replace(cond.text, mask=mask, tokens=torch.where(mask[..., None], cond.text.tokens, 99)))
    torch.testing.assert_close(answer(model, z, cond=noisy), answer(model, z, cond=masked))
    short = TextFeatures(cond.text.tokens[:1, :3], mask[:1, :3], cond.text.pooled[:1])
    alone = answer(model, z[:1], cond=replace(row(cond, 0), text=short))
    torch.testing.assert_close(answer(model, z, cond=masked)[:1], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("part", ["tokens", "pooled"])
def test_text_is_heard_by_token_and_as_a_whole(part):
    model, z, cond = trained(), draw(2, 4, 4, 8, 8), conditions(2, 4)
    other = replace(cond, text=replace(cond.text, **{part: getattr(cond.text, part) + 1}))
    assert not torch.allclose(answer(model, z, cond=other), answer(model, z, cond=cond))


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("number", range(len(MICRO)), ids=MICRO)
def test_micro_conditions_are_heard_where_they_are_switched_on(number, heard):
    model, z, cond = trained(micro_conditions=heard), draw(1, 2, 4, 8, 8), conditions(1, 2)
    other = cond.micro.clone()
    other[:, number] += 7
    same = torch.allclose(answer(model, z, cond=replace(cond, micro=other)), answer(model, z, cond=cond))
    assert same != heard


def test_normed_conditions_forget_the_size_of_their_projections():
    level = torch.full((1, 2), 0.4)
    for normed in (True, False):
        model = trained(condition_norm=normed)
        before = model.singleton(level, conditions(1, 2))
        with torch.no_grad():
            model.pooled.weight *= 10
            model.pooled.bias *= 10
        same = torch.allclose(model.singleton(level, conditions(1, 2)), before, atol=1e-3)
        assert same == normed


def test_sandwich_norm_bounds_what_a_branch_adds():
    """With a norm on both sides a branch's output keeps its size however large its weights."""
    z = draw(1, 2, 4, 8, 8)
    for normed in (True, False):
        model = trained(sandwich_norm=normed, temporal=False)
        before = answer(model, z)
        with torch.no_grad():
            for block in model.blocks:
                for layer in (block.space.leave, block.mlp[2]):
                    layer.weight *= 100
                    layer.bias *= 100
        assert torch.allclose(answer(model, z), before, atol=1e-3) == normed


@pytest.mark.parametrize("positions", ["rope", "sincos", "both"])
@pytest.mark.parametrize("dim", [1, 3, 4], ids=["time", "rows", "columns"])
def test_places_in_time_and_space_matter(positions, dim):
    """A model without positions would answer the mirrored question with the mirrored answer."""
    model, z = trained(positions=positions, patch=(1, 1)), draw(1, 4, 4, 4, 4)
    assert not torch.allclose(answer(model, z.flip(dim)), answer(model, z).flip(dim), atol=1e-3)


@pytest.mark.parametrize("positions", ["rope", "sincos", "both"])
def test_interpolation_and_extrapolation_agree_up_to_the_trained_grid_and_differ_beyond(positions):
    inside, outside = draw(1, 8, 4, 8, 8), draw(1, 16, 4, 8, 8)
    squeezed, stretched = (trained(positions=positions, interpolate_positions=on) for on in (True, False))
    torch.testing.assert_close(answer(squeezed, inside), answer(stretched, inside))
    assert not torch.allclose(answer(squeezed, outside), answer(stretched, outside), atol=1e-4)


# Masking (MaskDiT)


def half(b: int, rows: int = 4, columns: int = 4) -> Tensor:
    """A different half of the patches for each sample, as latent cells."""
    rank = torch.rand(b, rows * columns, generator=generator_for(0, "half")).argsort(1).argsort(1)
    patches = (rank < rows * columns // 2).view(b, rows, columns)
    return patches.repeat_interleave(2, 1).repeat_interleave(2, 2)


@pytest.mark.parametrize("positions", ["rope", "sincos", "both"])
def test_a_mask_that_shows_everything_is_no_mask(positions):
    model, z = trained(tail_blocks=1, positions=positions), draw(2, 4, 4, 8, 8)
    torch.testing.assert_close(answer(model, z, visible=torch.ones(2, 8, 8).bool()), answer(model, z))


@pytest.mark.parametrize("positions", ["rope", "sincos", "both"])
def test_hidden_cells_have_no_influence_at_all(positions):
    """They enter as mask tokens, so what they held is gone even for the tail."""
    model, z, visible = trained(tail_blocks=2, positions=positions), draw(2, 4, 4, 8, 8), half(2)
    other = torch.where(visible[:, None, None], z, 99.0)
    torch.testing.assert_close(answer(model, other, visible=visible), answer(model, z, visible=visible))


@pytest.mark.parametrize("positions", ["rope", "sincos", "both"])
def test_visible_tokens_keep_their_places(positions):
    """Only the left half of the columns is shown: the main blocks see what they would see of a narrower video."""
    model = trained(tail_blocks=1, positions=positions)
    for name, parameter in model.blocks[-1].named_parameters():
        if "leave" in name or "mlp" in name:
            nn.init.zeros_(parameter)  # a tail that adds nothing
    z, visible = draw(1, 4, 4, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
    visible[:, :, :4] = True
    narrow = answer(model, z[..., :4].contiguous(), cond=conditions(1, 4, 8, 4))
    torch.testing.assert_close(answer(model, z, visible=visible)[..., :4], narrow, atol=1e-5, rtol=1e-4)
    if positions == "rope":  # which a shift of the shown columns does not change, and a gap between them does
        shifted, gapped = visible.roll(2, 2), visible.clone()
        gapped[:, :, 2:4], gapped[:, :, 6:8] = False, True
        moved = answer(model, z.roll(2, 4), visible=shifted)[..., 2:6]
        torch.testing.assert_close(moved, narrow, atol=1e-4, rtol=1e-3)
        wide = torch.cat([z[..., :2], z[..., :2], z[..., 2:4], z[..., 2:4]], -1)
        apart = answer(model, wide, visible=gapped)
        assert not torch.allclose(torch.cat([apart[..., :2], apart[..., 6:]], -1), narrow, atol=1e-4)


@pytest.mark.parametrize("positions", ["rope", "sincos", "both"])
def test_hidden_tokens_know_where_they_are(positions):
    model, z, visible = trained(tail_blocks=1, positions=positions), draw(1, 2, 4, 8, 8), torch.zeros(1, 8, 8).bool()
    visible[:, :2, :2] = True
    patches = rearrange(answer(model, z, visible=visible), "1 t c (h p) (w q) -> (h w) (t c p q)", p=2, q=2)
    apart = torch.cdist(patches, patches) + torch.eye(16)
    assert apart.min() > 1e-4


@pytest.mark.parametrize("projection", ["linear", "resnet"])
def test_the_first_frame_is_heard_beside_the_text_only_where_it_is_known(projection):
    model, z, cond = trained(image_context=projection), draw(2, 4, 4, 8, 8), conditions(2, 4)
    frames = draw(2, 4, 4, 8, 8, name="given")
    unknown = answer(model, z, cond=replace(cond, frames=frames))
    torch.testing.assert_close(unknown, answer(model, z, cond=cond))
    known = torch.tensor([[True, False, False, False], [False] * 4])
    told = answer(model, z, cond=replace(cond, frames=frames, known=known))
    torch.testing.assert_close(told[1], unknown[1])
    assert not torch.allclose(told[0], unknown[0], atol=1e-3)
    mirrored = answer(model, z, cond=replace(cond, frames=frames.flip(-1), known=known))
    assert not torch.allclose(told[0], mirrored[0], atol=1e-4)  # where things are in it is heard


def in_time(*seen: int, t: int = 8) -> Tensor:
    """Half of the places, in some of the frames."""
    return half(1)[:, None] & torch.tensor([frame in seen for frame in range(t)])[None, :, None, None]


@pytest.mark.parametrize(
    "switches", [{}, {"positions": "sincos"}, {"shared_modulation": False}, {"modulate_time": True}]
)
def test_frames_can_be_hidden_too_and_then_have_no_influence(switches):
    model, z = trained(tail_blocks=1, **switches), draw(1, 8, 4, 8, 8)
    all_frames = half(1)[:, None].expand(-1, 8, -1, -1)
    torch.testing.assert_close(answer(model, z, visible=all_frames), answer(model, z, visible=half(1)))
    visible = in_time(0, 1, 6, 7)  # cubes of two frames
    other = torch.where(visible[:, :, None], z, 99.0)
    torch.testing.assert_close(answer(model, other, visible=visible), answer(model, z, visible=visible))
    assert not torch.allclose(answer(model, z, visible=in_time(0, 1, 4, 5)), answer(model, z, visible=visible))


def test_frames_that_are_seen_keep_their_places_in_time():
    model, z = trained(tail_blocks=0), draw(1, 4, 4, 8, 8)
    model.mask_token = nn.Parameter(torch.zeros(model.config.width))  # no block after the hidden cubes came back
    level = torch.full((1, 8), 0.4)
    apart = torch.cat([z[:, :2], draw(1, 4, 4, 8, 8, name="hidden"), z[:, 2:]], 1)
    seen = torch.ones(1, 8, 8, 8, dtype=torch.bool)
    seen[:, 2:6] = False
    with torch.no_grad():
        gapped = model(apart, level, conditions(1, 8), seen)
    near = answer(model, z)
    assert not torch.allclose(gapped[:, [0, 1, 6, 7]], near)  # three cubes apart is not next to each other
    own = trained(tail_blocks=0, temporal=False)
    own.mask_token = nn.Parameter(torch.zeros(own.config.width))
    with torch.no_grad():
        torch.testing.assert_close(own(apart, level, conditions(1, 8), seen)[:, [0, 1, 6, 7]], answer(own, z))


def test_masks_that_cannot_be_used_are_refused():
    uneven = torch.ones(2, 8, 8, dtype=torch.bool)
    uneven[1, :2] = False
    with pytest.raises(ValueError, match=r"same number of tokens, got \[16, 12\]"):
        answer(trained(tail_blocks=1), draw(2, 2, 4, 8, 8), visible=uneven)
    with pytest.raises(UserError, match=r"set backbone\.tail_blocks to 2"):
        answer(trained(), draw(2, 2, 4, 8, 8), visible=half(2))
