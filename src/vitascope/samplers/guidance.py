"""Guidance wraps an estimator and returns an estimator; models and solvers never hear of it.

Every guided estimate remembers the plain one it came from, so that wrappers which compare the two (`renormalised`,
`within`) cost no further pass. In the slots of known frames it is the estimate of the weakest pass: there is nothing to
steer, and what a model says of a frame it was given was never trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from vitascope.choices import GuidanceKind
from vitascope.conditions import Conditions, TextFeatures, per_frame
from vitascope.noise import SMALLEST, Estimate, Level, Path, Video, from_velocity, velocity
from vitascope.protocols import Estimator


@dataclass(frozen=True, eq=False)
class Guided(Estimate):
    """A guided estimate and the plain conditional one it came from."""

    plain: Estimate


GuidedEstimator = Callable[[Tensor, Tensor, Conditions], Guided]


def text_guidance(estimate: Estimator, scale: float) -> GuidedEstimator:
    """Classifier-free guidance (Ho and Salimans 2022, equation 6) away from no text; both passes know the frames."""
    return _blend(estimate, [(1 - scale, _without_text), (scale, _told_all)])


def joint_guidance(estimate: Estimator, scale: float) -> GuidedEstimator:
    """STIV's JIT-CFG (its table 4): one scale away from neither text nor frames. Without known frames this is CFG."""
    return _blend(estimate, [(1 - scale, _told_nothing), (scale, _told_all)])


def separate_guidance(estimate: Estimator, scale: float, image_scale: float) -> GuidedEstimator:
    """STIV's SIT-CFG (its figure 7), in three passes: `image_scale` from nothing to frames, `scale` from there to text.

    F(0, 0) + image_scale (F(image, 0) - F(0, 0)) + scale (F(image, text) - F(image, 0)), its terms gathered by pass.
    """
    weights = (1 - image_scale, image_scale - scale, scale)
    return _blend(estimate, list(zip(weights, (_told_nothing, _without_text, _told_all), strict=True)))


def blank_guidance(estimate: Estimator, scale: float) -> GuidedEstimator:
    """STIV's guidance of novel views (appendix J.3): away from no text and known frames whose latents are zero."""
    return _blend(estimate, [(1 - scale, _told_of_blanks), (scale, _told_all)])


def renormalised(guided: GuidedEstimator, path: Path) -> GuidedEstimator:
    """STIV's CFG-renorm (appendix A): the direction of the guided velocity, the length of the plain one.

    The length is that of a whole sample, over the frames to be made only.
    """

    def shortened(z: Tensor, level: Tensor, cond: Conditions) -> Guided:
        ends = guided(z, level, cond)
        guided_velocity = velocity(path, ends, level)
        length = _length(velocity(path, ends.plain, level), cond.known)
        excess = length / _length(guided_velocity, cond.known).clamp_min(SMALLEST) - 1
        change = per_frame(torch.where(cond.known, 0, excess[:, None])) * guided_velocity
        # z stays: a change of velocity alone moves both ends so that their mixture is still z.
        move = from_velocity(path, change, torch.zeros_like(z), level)
        return Guided(ends.clean + move.clean, ends.noise + move.noise, ends.plain)

    return shortened


def within(guided: GuidedEstimator, estimate: Estimator, low: float, high: float) -> GuidedEstimator:
    """Guide only at levels from `low` to `high` (Kynkaanniemi et al. 2024); elsewhere the plain pass alone is made."""

    def sometimes(z: Tensor, level: Tensor, cond: Conditions) -> Guided:
        inside = (level >= low) & (level <= high)
        if not inside.any():
            return _unguided(estimate(z, level, cond))
        ends, here = guided(z, level, cond), per_frame(inside)
        clean, noise = torch.where(here, ends.clean, ends.plain.clean), torch.where(here, ends.noise, ends.plain.noise)
        return Guided(clean, noise, ends.plain)

    return sometimes


def _told_all(cond: Conditions) -> Conditions:
    return cond


def _without_text(cond: Conditions) -> Conditions:
    return cond.without(text=True)


def _told_nothing(cond: Conditions) -> Conditions:
    return cond.without(text=True, frames=True)


def _told_of_blanks(cond: Conditions) -> Conditions:
    return replace(cond.without(text=True), frames=torch.zeros_like(cond.frames))


def _unguided(plain: Estimate) -> Guided:
    return Guided(plain.clean, plain.noise, plain)


def _blend(estimate: Estimator, passes: list[tuple[float, Callable[[Conditions], Conditions]]]) -> GuidedEstimator:
    """A weighted sum of estimates, least told first, weights summing to one. A weaker one of weight 0 is left out;
    the full pass, the plain estimate, is always made."""
    *weaker, full = passes
    passes = [one for one in weaker if one[0] != 0] + [full]

    def guided(z: Tensor, level: Tensor, cond: Conditions) -> Guided:
        if len(passes) == 1:
            return _unguided(estimate(z, level, cond))
        estimates = _together(estimate, z, level, [told(cond) for _, told in passes])
        weakest, plain = estimates[0], estimates[-1]
        known, weights = per_frame(cond.known), [weight for weight, _ in passes]
        clean = sum(weight * ends.clean for weight, ends in zip(weights, estimates, strict=True))
        noise = sum(weight * ends.noise for weight, ends in zip(weights, estimates, strict=True))
        return Guided(torch.where(known, weakest.clean, clean), torch.where(known, weakest.noise, noise), plain)

    return guided


def _together(estimate: Estimator, z: Video, level: Level, conds: Sequence[Conditions]) -> list[Estimate]:
    """One estimate for each of `conds`, all of the same z, in one call of the model."""
    num = len(conds)
    ends = estimate(z.repeat(num, 1, 1, 1, 1), level.repeat(num, 1), _stacked(conds))
    return [Estimate(*pair) for pair in zip(ends.clean.chunk(num), ends.noise.chunk(num), strict=True)]


def _stacked(conds: Sequence[Conditions]) -> Conditions:
    return Conditions(
        known=torch.cat([cond.known for cond in conds]),
        frames=torch.cat([cond.frames for cond in conds]),
        text=_stacked_text([cond.text for cond in conds]),
        empty_text=_stacked_text([cond.empty_text for cond in conds]),
        micro=torch.cat([cond.micro for cond in conds]),
    )


def _stacked_text(texts: Sequence[TextFeatures]) -> TextFeatures:
    """Captions of different lengths in one batch: the shorter ones end in tokens that are not real."""
    longest = max(text.mask.shape[1] for text in texts)
    spare = [longest - text.mask.shape[1] for text in texts]
    return TextFeatures(
        tokens=torch.cat([functional.pad(text.tokens, (0, 0, 0, n)) for text, n in zip(texts, spare, strict=True)]),
        mask=torch.cat([functional.pad(text.mask, (0, n)) for text, n in zip(texts, spare, strict=True)]),
        pooled=torch.cat([text.pooled for text in texts]),
    )


def _length(velocity: Video, known: Bool[Tensor, "b t"]) -> Float[Tensor, "b"]:
    return velocity.masked_fill(per_frame(known), 0).flatten(1).norm(dim=1)


# From an estimator, the scale, and that for the frames.
GUIDANCE: dict[GuidanceKind, Callable[[Estimator, float, float], GuidedEstimator]] = {
    "joint": lambda estimate, scale, _: joint_guidance(estimate, scale),
    "text": lambda estimate, scale, _: text_guidance(estimate, scale),
    "separate": separate_guidance,
    "blank": lambda estimate, scale, _: blank_guidance(estimate, scale),
}
