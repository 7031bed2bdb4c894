"""Laws of the model as a whole: its lessons, and the parts that it refuses."""

from __future__ import annotations

import pytest
import torch

from vitascope.backbones.stiv import StivConfig
from vitascope.conditions import MICRO, micro_conditions
from vitascope.objectives.contrast import ContrastConfig
from vitascope.objectives.flow import FlowConfig
from vitascope.system import Defaults, Lesson, ModelConfig, VideoModel, build, tube_mask
from vitascope.tasks import TaskMix
from vitascope.text.tiny import TinyTextConfig
from vitascope.tokenizers.frame_vae import FrameVae, FrameVaeConfig
from vitascope.types import Batch, Framing, Loss, UserError, generator_for

TINY = ModelConfig(
    tokenizer=FrameVaeConfig(channels=4, widths=(8, 16)),
    text=TinyTextConfig(width=16, depth=1, heads=2),
    backbone=StivConfig(channels=4, text_width=16, width=32, heads=2, depth=1, tail_blocks=1, grid=(2, 2)),
    objective=FlowConfig(),
    defaults=Defaults(size=(32, 32), num_frames=4),
)
ALL_TASKS = TaskMix(text=1, image=1, prediction=1, interpolation=1, upsampling=1)


def model(config: ModelConfig = TINY) -> VideoModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return config.build()


def batch(b: int = 4, t: int = 4) -> Batch:
    clean = torch.randn(b, t, 4, 4, 4, generator=generator_for(0, "clean", b, t))
    captions = tuple(f"clip {number}" for number in range(b))
    return Batch(clean, captions, micro_conditions([Framing((32, 32))] * b, t))


class Listener:
    """Stands where the objective stands and keeps what it is told."""

    def __init__(self) -> None:
        self.told = []

    def loss(self, denoise, clean, cond, rng, visible=None) -> Loss:
        self.told.append((clean, cond, visible))
        return Loss(clean.sum() * 0)


def told(lesson: Lesson, given: Batch, name: str = "lesson", config: ModelConfig = TINY):
    """The clean latents, conditions and mask that reach the objective."""
    whole = model(config)
    whole.objective = Listener()
    with torch.no_grad():
        whole.loss(given, lesson, generator_for(0, name))
    return whole.objective.told[0]


class HalvedConfig(FrameVaeConfig):
    """One latent frame of two."""

    def build(self) -> FrameVae:
        vae = super().build()
        vae.stride = (2, 8, 8)
        return vae


def test_a_lesson_gives_a_finite_loss_whose_gradient_reaches_backbone_and_text_but_not_the_tokenizer():
    whole = model()
    whole.backbone.leave.weight.data.normal_(std=0.1)
    loss = whole.loss(batch(), Lesson(tasks=ALL_TASKS), generator_for(0))
    loss.total.backward()
    assert loss.total.isfinite()
    assert any(p.grad is not None and p.grad.any() for p in whole.text.parameters())
    assert any(p.grad is not None and p.grad.any() for p in whole.backbone.parameters())
    assert all(p.grad is None for p in whole.tokenizer.parameters())


def test_the_same_generator_gives_the_same_lesson():
    whole, lesson = model(), Lesson(tasks=ALL_TASKS, mask_share=0.5)
    whole.backbone.leave.weight.data.normal_(std=0.1)
    one, same, other = (whole.loss(batch(), lesson, generator_for(0, name)).total.item() for name in ("a", "a", "b"))
    assert one == same != other


def test_text_and_frames_are_forgotten_at_their_own_rates_independently():
    """STIV: the text of one clip in ten, the frames of eight in a hundred, by independent draws."""
    num = 3000
    lesson = Lesson(tasks=TaskMix(text=0, image=1))
    micro = micro_conditions([Framing((32, 32))] * num, 2)
    _, cond, _ = told(lesson, Batch(torch.zeros(num, 2, 4, 4, 4), ("a red circle",) * num, micro))
    silent = torch.isclose(cond.text.pooled, cond.empty_text.pooled, atol=1e-5).all(1)
    blind = ~cond.known.any(1)
    for dropped, rate in ((silent, 0.1), (blind, 0.08), (silent & blind, 0.008)):
        assert dropped.float().mean().item() == pytest.approx(rate, abs=4 * (rate * (1 - rate) / num) ** 0.5)


def test_nothing_is_forgotten_unless_asked():
    lesson = Lesson(tasks=TaskMix(text=0, image=1), text_dropout=0.0, frame_dropout=0.0)
    _, cond, _ = told(lesson, batch(64))
    assert cond.known[:, 0].all()
    assert not cond.known[:, 1:].any()
    assert not torch.isclose(cond.text.pooled, cond.empty_text.pooled).all(1).any()


def test_known_frames_are_those_of_the_clip_and_the_rest_is_kept_from_the_model():
    given = batch(32)
    _, cond, _ = told(Lesson(tasks=ALL_TASKS), given)
    assert torch.equal(cond.frames[cond.known], given.clean[cond.known])
    assert not cond.frames[~cond.known].any()
    assert cond.known.any()
    assert (~cond.known).any()


def test_blank_frames_are_known_and_show_nothing_and_without_them_no_draw_changes():
    given, tasks = batch(200), TaskMix(text=0, image=1)
    _, cond, _ = told(Lesson(tasks=tasks, blank_dropout=0.3), given)
    _, plain, _ = told(Lesson(tasks=tasks), given)
    assert torch.equal(cond.known, plain.known)
    blank = cond.known[:, 0] & ~cond.frames[:, 0].flatten(1).any(1)
    assert blank.float().mean().item() == pytest.approx(0.3 * 0.92, abs=0.12)
    seen = cond.known[:, 0] & ~blank
    assert torch.equal(cond.frames[seen, 0], given.clean[seen, 0])


def test_images_know_no_frames():
    _, cond, _ = told(Lesson(tasks=ALL_TASKS), batch(16, t=1))
    assert not cond.known.any()


def test_captions_go_to_their_own_clips():
    whole, given = model(), batch(3)
    _, cond, _ = told(Lesson(text_dropout=0.0), given)
    with torch.no_grad():
        alone = whole.text(given.captions[1:2])
    torch.testing.assert_close(cond.text.pooled[1:2], alone.pooled, atol=1e-5, rtol=1e-4)


def test_what_several_clips_say_is_read_once_and_means_the_same_to_each():
    whole, captions = model(), ["clip 1", "clip 22", "clip 1", "", "clip 22"]
    seen = []
    whole.text.register_forward_pre_hook(lambda _, given: seen.append(list(given[0])))
    with torch.no_grad():
        read, each = whole.read(captions), whole.text(captions)
    assert seen == [["clip 1", "clip 22", ""], captions]
    assert torch.equal(read.mask, each.mask)
    torch.testing.assert_close(read.pooled, each.pooled, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(read.tokens[read.mask], each.tokens[each.mask], atol=1e-5, rtol=1e-4)


def test_micro_conditions_tell_how_each_clip_was_cut():
    cuts = [Framing((640, 360), (7, 0), 3.0), Framing((32, 32))]
    given = batch(2, t=3)
    _, cond, _ = told(Lesson(), Batch(given.clean, given.captions, micro_conditions(cuts, 3)))
    assert cond.micro.tolist() == [[360, 640, 0, 7, 3, 3], [32, 32, 0, 0, 1, 3]]
    assert dict(zip(MICRO, cond.micro[0].tolist(), strict=True)) == {
        "height": 360, "width": 640, "top": 0, "left": 7, "stride": 3, "num_frames": 3,
    }  # fmt: skip


@pytest.mark.parametrize("share, side", [(0.5, 2), (0.25, 2), (0.5, 1), (1.0, 2)])
def test_a_tube_mask_hides_its_share_of_whole_patches_anew_for_each_clip(share, side):
    visible = tube_mask(16, 8, 12, side, share, generator_for(0))
    cells = visible.unfold(1, side, side).unfold(2, side, side)
    assert torch.equal(cells.amin((-1, -2)), cells.amax((-1, -2)))
    patches = 8 * 12 // side**2
    assert (visible.sum((1, 2)) == max(round((1 - share) * patches), 1) * side**2).all()
    assert not (visible == visible[:1]).all()


def test_a_lesson_with_a_mask_hides_that_share():
    assert told(Lesson(), batch())[2] is None
    assert told(Lesson(mask_share=0.5), batch())[2].float().mean() == 0.5


@pytest.mark.parametrize("field", ["text_dropout", "frame_dropout", "blank_dropout", "mask_share"])
def test_shares_outside_zero_and_one_are_no_lesson(field):
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Lesson(**{field: 1.5})


@pytest.mark.parametrize(
    ("part", "other", "message"),
    [
        (
            "tokenizer",
            TINY.text,
            r"model\.tokenizer: a TinyText is no Tokenizer .* lacks stride, channels, encode, decode",
        ),
        ("text", FlowConfig(), r"model\.text: a FlowMatching is no TextEncoder .* lacks width, max_tokens, count"),
        ("backbone", TINY.tokenizer, r"model\.backbone: a FrameVae is no Denoiser .* lacks text_width, patch"),
        ("objective", TINY.text, r"model\.objective: a TinyText is no Objective .* lacks path, loss, estimate"),
        ("objective", ContrastConfig(), r"model\.objective: a Contrast is no Objective .* lacks path, estimate;"),
        ("objective", Defaults(), "Defaults describes no part of a model"),
    ],
)
def test_a_part_of_another_kind_is_refused_with_what_it_lacks(part, other, message):
    with pytest.raises(UserError, match=message) as caught:
        model(TINY.model_copy(update={part: other}))
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_joins_frames_is_refused():
    with pytest.raises(UserError, match="one latent frame of 2"):
        model(TINY.model_copy(update={"tokenizer": HalvedConfig(channels=4, widths=(8, 16))}))


@pytest.mark.parametrize("lesson", [Lesson(mask_share=0.5), Lesson(time_mask_share=0.5)])
def test_a_backbone_that_hides_no_tokens_is_given_no_lesson_that_hides_them(lesson):
    whole = model()
    whole.backbone.hides_tokens = False
    with pytest.raises(UserError, match=r"a Stiv hides no tokens .*lesson\.mask_share"):
        whole.loss(batch(), lesson, generator_for(0))
    assert whole.loss(batch(), Lesson(), generator_for(0)).total.isfinite()


def test_parts_that_do_not_fit_each_other_are_refused_with_what_to_set():
    for part, change, message in (
        ("tokenizer", {"channels": 8}, r"set backbone\.channels to 8"),
        ("text", {"width": 32}, r"set backbone\.text_width to 32"),
    ):
        changed = getattr(TINY, part).model_copy(update=change)
        with pytest.raises(UserError, match=message):
            model(TINY.model_copy(update={part: changed}))
    with pytest.raises(UserError, match="Defaults describes no part"):
        build(Defaults())
