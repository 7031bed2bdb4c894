"""Where shots begin and end, told from what the pass over the file wrote down; no frame is decoded again.

Hard cuts are those of PySceneDetect's adaptive detector, confirmed by the pictures. Gradual changes are found by what
they are: in a dissolve the frames lie on the straight line between its two ends, in a fade between one end
and a colour. Where the shots move they leave the line; but two pictures laid over each other have less fine detail
than either, since what is fine in one is none in the other: half the energy midway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from vitascope.engine.config import Scenes

REACHES = (2, 3, 4, 6, 8, 11, 15, 20, 27, 36)  # frames to both sides of the middle of a dissolve
STANDS_OUT = 1.25
FINE = 0.5  # of the weight of the pictures has their detail, where a dissolve is fitted
BLOCK = 2048  # frames compared at once, so that long files need no more memory


@dataclass(frozen=True)
class Transition:
    """`start` is its first frame, `stop` the first frame of the new shot; a cut takes no time: both are one."""

    start: int
    stop: int
    kind: str


def transitions(frames: np.ndarray, fps: float, settings: Scenes) -> list[Transition]:
    """Every change of shot in order, none of which overlap."""
    cuts = hard_cuts(frames, settings)
    fades = list(_fades(frames, fps, settings))
    gradual = fades + _without(list(_dissolves(frames, cuts, settings)), fades)
    sharp = _without([Transition(cut, cut, "cut") for cut in cuts], gradual)
    return sorted(gradual + sharp, key=lambda found: (found.start, found.stop))


def _without(some: list[Transition], others: list[Transition]) -> list[Transition]:
    """Those that neither lie in nor overlap with one of the others."""
    return [one for one in some if all(one.stop < other.start or one.start > other.stop for other in others)]


def hard_cuts(frames: np.ndarray, settings: Scenes) -> list[int]:
    """First frames of new shots."""
    content = frames["content"].astype(np.float64)
    candidates = [int(number) for number in np.flatnonzero(adaptive_ratio(content, settings.window) >= settings.ratio)]
    thumbs = frames["thumb"]
    cuts = [
        number
        for number in candidates
        if number
        and content[number] >= settings.least_content
        and _differ(thumbs[number - 1], thumbs[number], settings)
    ]
    return _without_flashes(cuts, thumbs, settings)


def adaptive_ratio(content: Float[np.ndarray, "n"], window: int) -> Float[np.ndarray, "n"]:
    """Each change over the mean of those up to `window` frames before and after; at the ends, of those there are."""
    n = len(content)
    around, count = np.zeros(n), np.zeros(n)
    for offset in range(1, window + 1):
        around[offset:] += content[: n - offset] if offset < n else 0
        count[offset + 1 :] += 1  # the first frame has no change of its own
        if offset < n:
            around[: n - offset] += content[offset:]
            count[: n - offset] += 1
    mean = around / np.maximum(count, 1)
    return np.where(mean > 1e-5, np.minimum(content / np.maximum(mean, 1e-5), 255.0), 255.0)


def _differ(one: np.ndarray, other: np.ndarray, settings: Scenes) -> bool:
    first, second = one.astype(np.float32), other.astype(np.float32)
    if np.abs(first - second).mean() < settings.least_change:
        return False
    return float(_alike(first.reshape(1, -1), second.reshape(1, -1))[0]) < settings.most_alike


def _without_flashes(cuts: list[int], thumbs: np.ndarray, settings: Scenes) -> list[int]:
    """Two cuts with next to nothing between them, after which the picture is what it was before, are no cuts."""
    kept, position = [], 0
    while position < len(cuts):
        cut = cuts[position]
        back = next(
            (
                later
                for later in range(position + 1, len(cuts))
                if cuts[later] - cut <= settings.flash_frames
                and not _differ(thumbs[cut - 1], thumbs[cuts[later]], settings)
            ),
            None,
        )
        if back is None:
            kept.append(cut)
            position += 1
        else:
            position = back + 1
    return kept


def _alike(one: Float[np.ndarray, "n d"], other: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n"]:
    """Correlation of pictures; plain ones are like nothing."""
    one, other = one - one.mean(1, keepdims=True), other - other.mean(1, keepdims=True)
    size = np.sqrt(np.square(one).sum(1) * np.square(other).sum(1) + one.shape[1])
    return (one * other).sum(1) / size


def _rms(values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n"]:
    return np.sqrt(np.square(values).mean(1))


def _dissolves(frames: np.ndarray, cuts: list[int], settings: Scenes) -> Iterator[Transition]:
    found: list[tuple[float, int, int, bool]] = []
    most, thumbs, detail = max(REACHES), frames["thumb"], frames["detail"].astype(np.float64)
    for begin in range(0, len(frames), BLOCK):
        low, high = max(0, begin - most), min(len(frames), begin + BLOCK + most)
        block = thumbs[low:high].astype(np.float32)
        found += [
            (-change, low + middle, reach, is_straight)
            for middle, reach, change, is_straight in _mixed(block, detail[low:high], settings)
            if begin <= low + middle < begin + BLOCK
        ]
    taken: list[tuple[int, int]] = []
    for _, middle, reach, is_straight in sorted(found):
        crosses = any(middle - reach < cut <= middle + reach for cut in cuts)
        if crosses or any(abs(middle - other) <= reach + more for other, more in taken):
            continue
        one = _ramp(thumbs, detail, middle, reach)
        if one is None or not _stands_out(thumbs, one):
            continue
        if is_straight or _dips(detail, one, settings):
            taken.append((middle, reach))
            yield one


def _mixed(
    pixels: Float[np.ndarray, "n h w 3"], detail: Float[np.ndarray, "n"], settings: Scenes
) -> Iterator[tuple[int, int, float, bool]]:
    """Middles of stretches of frames that mix ends that differ, their reach, how much changes there, and whether the
    frames on the way lie on a straight line; else the detail alone tells.

    Of several reaches around one middle the shortest that spans the whole change counts.
    """
    n, flat = len(pixels), pixels.reshape(len(pixels), -1)
    # A picture without its mean does not change with the exposure.
    even = (pixels - pixels.mean((1, 2), keepdims=True)).reshape(n, -1)
    lengths, residuals = np.zeros((len(REACHES), n)), np.full((len(REACHES), n), np.inf)
    straight = np.zeros((len(REACHES), n), bool)
    for number, reach in enumerate(REACHES):
        if n <= 2 * reach:
            continue
        changed = _rms(even[2 * reach :] - even[: n - 2 * reach]) > settings.dissolve_change
        begins = np.flatnonzero(changed)
        if not begins.size:
            continue
        alike = _alike(flat[begins], flat[begins + 2 * reach])
        faint = 2 * detail[begins + reach] < settings.dissolve_detail * (detail[begins] + detail[begins + 2 * reach])
        differs = alike < settings.dissolve_alike
        likely = differs | faint & (alike < settings.most_alike)
        begins, faint, differs = begins[likely], faint[likely], differs[likely]
        if begins.size:
            lengths[number, begins + reach], off = _off_the_line(flat, begins, reach)
            near = np.where(faint, settings.dissolve_residual_faint, settings.dissolve_residual)
            residuals[number, begins + reach] = np.where(off < near, off, np.inf)
            straight[number, begins + reach] = differs & (off < settings.dissolve_residual)
    good = np.isfinite(residuals)
    spans = good & (lengths >= 0.9 * np.where(good, lengths, 0).max(0))
    for middle in np.flatnonzero(spans.any(0)):
        number = int(spans[:, middle].argmax())
        change = float(lengths[number, middle] * (1 - residuals[number, middle]))
        yield int(middle), REACHES[number], change, bool(straight[number, middle])


def _off_the_line(
    flat: Float[np.ndarray, "n d"], begins: np.ndarray, reach: int
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Length of the change over 2 * `reach` frames, and the share of it by which frames on the way are off."""
    a, b, half = flat[begins], flat[begins + 2 * reach], reach // 2
    length, off = _rms(b - a), np.zeros(len(begins))
    for place in (reach - half, reach, reach + half):
        share = place / (2 * reach)
        off = np.maximum(off, _rms(flat[begins + place] - (1 - share) * a - share * b))
    return length, off / np.maximum(length, 1e-6)


def _ramp(thumbs: np.ndarray, detail: Float[np.ndarray, "n"], middle: int, reach: int) -> Transition | None:
    """Where the mixture leaves the one end and reaches the other: a straight ramp fitted to its share and detail."""
    low, high = max(0, middle - 2 * reach - 6), min(len(thumbs), middle + 2 * reach + 7)
    near = thumbs[low:high].reshape(high - low, -1).astype(np.float32)
    before, after = max(0, middle - reach - 1 - low), min(len(near) - 1, middle + reach + 1 - low)
    a, b = near[before], near[after]
    way = b - a
    share = ((near - a) @ way / max(1e-6, float(way @ way))).clip(-0.25, 1.25)
    fine, fine_a, fine_b = (
        detail[low:high],
        np.median(detail[low : low + before + 1]),
        np.median(detail[low + after : high]),
    )
    weight = FINE / max(1e-6, float(fine_a + fine_b) / 2)
    # Before a ramp there is nothing but the one end: that is added up once for all ramps.
    until = np.concatenate([[0], np.cumsum(np.abs(share) + weight * np.abs(fine - fine_a))])
    share, fine = share.astype(np.float32), (weight * (fine - fine_a)).astype(np.float32)
    first, last = max(low, middle - 2 * reach - 2), min(high, middle + 2 * reach + 3)
    lengths, places = np.arange(last - first + 1)[:, None], np.arange(1, high - low + 1)
    mixed = np.minimum(places / (lengths + 1), 1)  # of each length, counted from its first frame
    left = weight * ((1 - mixed) ** 2 * fine_a + mixed**2 * fine_b - fine_a)
    mixed, left, one = mixed.astype(np.float32), left.astype(np.float32), np.ones(high - low, np.float32)
    best, found = np.inf, None
    for start in range(first, middle + 1):
        shortest, rest = max(middle + 1 - start, 2), slice(start - low, None)
        some, num = slice(shortest, last - start + 1), high - start
        off = np.abs(mixed[some, :num] - share[rest]) + np.abs(left[some, :num] - fine[rest])
        error = until[start - low] + off @ one[:num]
        if error.size and error.min() < best:
            best, found = error.min(), (start, start + shortest + int(error.argmin()))
    return Transition(*found, "dissolve") if found else None


def _dips(detail: Float[np.ndarray, "n"], found: Transition, settings: Scenes) -> bool:
    """Fine detail falls to the middle of it and rises again, as that of a mixture does; where words or things appear
    in a picture that stays, it does not fall."""
    before, after = max(0, found.start - 1), min(len(detail) - 1, found.stop)
    ends = np.median(detail[max(0, before - 8) : before + 1]), np.median(detail[after : after + 9])
    come = np.clip((np.arange(before, after + 1) - found.start + 1) / (found.stop - found.start + 1), 0, 1)
    seen, more = detail[before : after + 1], come if ends[1] > ends[0] else 1 - come
    as_mixture = np.abs(seen - (1 - come) ** 2 * ends[0] - come**2 * ends[1]).mean()
    as_overlay = np.abs(seen - min(ends) - more**2 * abs(ends[1] - ends[0])).mean()
    is_faint = 2 * detail[(before + after) // 2] < settings.dissolve_detail * sum(ends)
    return bool(is_faint and 2 * as_mixture < as_overlay)


def _stands_out(thumbs: np.ndarray, found: Transition) -> bool:
    """The picture changes faster in it than around it: a camera that turns or nears something does not stop there."""
    length = found.stop - found.start

    def pace(start: int, stop: int) -> float:
        start, stop = max(0, start), min(len(thumbs) - 1, stop)
        if stop - start < 2:
            return 0.0
        return float(_rms((thumbs[stop].astype(np.float32) - thumbs[start]).reshape(1, -1))[0]) / (stop - start)

    inside = pace(found.start - 1, found.stop)
    around = max(pace(found.start - 1 - length, found.start - 1), pace(found.stop, found.stop + length))
    return inside > STANDS_OUT * around


def _fades(frames: np.ndarray, fps: float, settings: Scenes) -> Iterator[Transition]:
    """Around each stretch of plain frames the ramps from and to a picture; a sudden end is a ramp of no length."""
    plain = _plain(frames["thumb"], settings.flat)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], plain.astype(np.int8), [0]])))
    longest = max(2, round(settings.fade_seconds * fps))
    ends = edges.reshape(-1, 2)
    for number, (start, stop) in enumerate(ends):
        earlier = int(ends[number - 1][1]) if number else 0
        later = int(ends[number + 1][0]) if number + 1 < len(ends) else len(frames)
        colour = frames["thumb"][start:stop].reshape(stop - start, -1, 3).mean((0, 1))
        before = frames["thumb"][max(earlier, start - 2 * longest) : start][::-1]
        after = frames["thumb"][stop : min(later, stop + 2 * longest)]
        out, into = _fade_length(before, colour, longest), _fade_length(after, colour, longest)
        is_flash = stop - start <= settings.flash_frames and out == into == 0
        if not is_flash:
            yield Transition(int(start) - out, int(stop) + into, "fade" if out or into else "plain")


def _plain(thumbs: np.ndarray, flat: float) -> Bool[np.ndarray, "n"]:
    plain = np.zeros(len(thumbs), bool)
    for begin in range(0, len(thumbs), BLOCK):
        part = thumbs[begin : begin + BLOCK].reshape(len(thumbs[begin : begin + BLOCK]), -1, 3).astype(np.float32)
        plain[begin : begin + BLOCK] = part.std(1).max(1) < flat
    return plain


def _fade_length(away: UInt8[np.ndarray, "n h w 3"], colour: np.ndarray, longest: int) -> int:
    """Frames, counted away from the plain ones, until the picture is fully there: a ramp that then stays level."""
    if len(away) < 4:
        return 0
    size = _rms((away.astype(np.float32) - colour).reshape(len(away), -1))
    if size[0] > 0.6 * size[: longest + 1].max():
        return 0  # at once
    best, length = np.inf, 0
    for tried in range(1, min(longest, len(away) - 2) + 1):
        level = float(np.median(size[tried : tried + 8]))
        seen = size[: min(len(size), tried + 8)]
        wanted = level * np.minimum(1, (np.arange(len(seen)) + 1) / (tried + 1))
        error = float(np.abs(seen - wanted).mean()) / max(level, 1.0)
        if error < best - 1e-3:
            best, length = error, tried
    return length
