"""From pixels to things: which background it is, what lies on it, and in which of the eight colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped
from numpy import ndarray
from scipy import ndimage

from vitascope.toyland.render import BLOCKS, SCENERY
from vitascope.toyland.scene import BACKGROUNDS, COLOURS, LUMA, PLAIN

Video = Float32[ndarray, "t h w 3"]
Lines = Float32[ndarray, "_ 2 3"]

UNEXPLAINED = 0.12  # a colour further than this from all colours of a background says nothing about which one it is
FOREGROUND = 0.15  # a pixel further than this from the background may belong to a thing
MIN_AREA = 5 / 32**2  # of a thing, in square units: five pixels at 64
MAX_PATCHES = 8  # of one colour in a frame
HORIZONS = (-0.4, 0.85)  # between which a camera can bring the horizon
PATCH = 21  # rows and columns of the picture of a thing
REACH = 1.75  # half its side, in radii of the disc of the same area

NAMES = tuple(COLOURS)
TINTS = np.array([COLOURS[name] for name in NAMES], np.float32) / 255


class Backdrop(NamedTuple):
    """The background of a clip, as each frame votes and as all do together; its horizon in each frame, a row."""

    name: str
    votes: tuple[str, ...]
    horizons: Int[ndarray, "t"]


@dataclass(frozen=True, eq=False)
class Sight:
    """What is seen in a clip: every patch of colour that could be a thing, frame by frame.

    `x`, `y` are in units of the world; `spread` is the radius of the disc of the same area. `pictures` show how much of
    each pixel a thing covers, centred on it and scaled by `spread`. `colour` counts in `NAMES`. A thing is `whole`
    unless the border cuts it off; it may touch one of another colour. `free` is background beyond doubt.
    """

    backdrop: Backdrop
    background: Video
    free: Bool[ndarray, "t h w"]
    frame: Int[ndarray, "n"]
    colour: Int[ndarray, "n"]
    x: Float[ndarray, "n"]
    y: Float[ndarray, "n"]
    spread: Float[ndarray, "n"]
    whole: Bool[ndarray, "n"]
    touches: Bool[ndarray, "n"]
    pictures: Float32[ndarray, "n 21 21"]
    unit: float  # pixels


def look(
    video: Video,
    *,
    moving_camera: bool = False,
    gray: bool = False,
    outlined: bool = False,
    blended: bool = False,
    coarse: bool = False,
) -> Sight:
    """Find the background and the things.

    `gray`: colours say nothing; `outlined`: things are drawn as their outlines; `blended`: they may have mixed colours;
    `coarse`: pixels are so large that the parts of a thing may meet at their corners only.
    """
    unit = min(video.shape[1:3]) / 2
    backdrop = find_backdrop(video, gray)
    far = far_from(video, backdrop, gray)
    free = ~grown(far, round(unit / 16))
    background = fill(video, free, moving_camera)
    return find_things(video, backdrop, background, far, free, gray, outlined, blended, coarse)


def small(video: Video) -> Float32[ndarray, "t rows columns 3"]:
    """A clip of a larger picture, shrunk by the whole number that leaves at least 64 rows and columns."""
    times = min(video.shape[1:3]) // 64
    if times < 2:
        return video
    height, width = (side // times * times for side in video.shape[1:3])
    return video[:, :height, :width].reshape(len(video), height // times, times, width // times, times, 3).mean((2, 4))


# The background.


@lru_cache(maxsize=16)
def lines(name: str, gray: bool) -> tuple[Lines, Lines, Lines]:
    """The colours of a background as lines between two: above its horizon, below it, and on it."""
    if name in PLAIN:
        above = below = edge = np.array([[PLAIN[name]] * 2], np.float32)
    else:
        look = SCENERY[name]
        high = [scatter.colour for scatter in look.scatters if scatter.y[0] < 0]
        low = [scatter.colour for scatter in look.scatters if scatter.y[0] >= 0]
        above = np.array([[look.sky, colour] for colour in high], np.float32)
        below = np.array([[look.ground, colour] for colour in low or [look.ground]], np.float32)
        across = [[one, other] for one in (look.sky, *high) for other in (look.ground, *low)]
        edge = np.concatenate([above, below, np.array(across, np.float32)])
    if gray:
        above, below, edge = (
            np.repeat((part @ np.array(LUMA, np.float32))[..., None], 3, -1) for part in (above, below, edge)
        )
    return above / 255, below / 255, edge / 255


def squared_distances(pixels: Float32[ndarray, "*n 3"], to: Lines) -> Float32[ndarray, "*n m"]:
    """To the nearest point of each line."""
    start, along = to[:, 0], to[:, 1] - to[:, 0]
    length = np.maximum((along**2).sum(1), 1e-6)
    square = np.einsum("...c,...c->...", pixels, pixels)[..., None] - 2 * pixels @ start.T + (start**2).sum(1)
    projection = pixels @ along.T - (start * along).sum(1)
    return square - projection**2 / length + (projection - np.clip(projection, 0, length)) ** 2 / length


def find_backdrop(video: Video, gray: bool) -> Backdrop:
    """The background whose colours leave the least unexplained; its horizon is where that is least."""
    frames, height, width, _ = video.shape
    side = min(height, width)
    down, right = max(1, side // 32), max(1, side // 16)
    pixels = video[:, down // 2 :: down, right // 2 :: right]
    y = (np.arange(1, pixels.shape[1] + 1) * down * 2 - height) / side  # of the lower edge of each row
    inside = np.flatnonzero((y >= HORIZONS[0]) & (y <= HORIZONS[1]))
    names = tuple(PLAIN) if gray else BACKGROUNDS  # without colours scenery is never asked for
    costs, horizons = np.empty((len(names), frames)), np.zeros((len(names), frames), int)
    parts = [part for name in names for part in lines(name, gray)[:2]]
    table = np.minimum(squared_distances(pixels, np.concatenate(parts)), UNEXPLAINED**2)
    starts = np.cumsum([0] + [len(part) for part in parts[:-1]])
    table = np.minimum.reduceat(table, starts, axis=-1).sum(2)  # t rows parts
    for index, name in enumerate(names):
        above, below = table[..., 2 * index].cumsum(1), table[..., 2 * index + 1].cumsum(1)
        if name in PLAIN or not len(inside):
            costs[index] = above[:, -1]
            continue
        total = (above + below[:, -1:] - below)[:, inside]
        costs[index] = total.min(1)
        horizons[index] = (inside[total.argmin(1)] + 1) * down
    winner = int(costs.sum(1).argmin())
    votes = tuple(names[index] for index in costs.argmin(0))
    return Backdrop(names[winner], votes, horizons[winner])


def far_from(video: Video, backdrop: Backdrop, gray: bool) -> Bool[ndarray, "t h w"]:
    """The pixels that do not have the colours of the background."""
    above, below, edge = lines(backdrop.name, gray)
    if backdrop.name in PLAIN:
        return squared_distances(video, above)[..., 0] > FOREGROUND**2
    row, horizon = np.arange(video.shape[1])[None, :] + 0.5, backdrop.horizons[:, None]
    margin = 1 + video.shape[1] // 32
    distance = np.where(
        (row < horizon)[..., None], squared_distances(video, above).min(-1), squared_distances(video, below).min(-1)
    )
    near = abs(row - horizon) < margin
    distance[near] = squared_distances(video[near], edge).min(-1)
    return distance > FOREGROUND**2


def spread_out(values: Shaped[ndarray, "t h w"]) -> Shaped[ndarray, "t h w"]:
    """The largest value among each pixel and its eight neighbours."""
    wide = values.copy()
    np.maximum(wide[:, :, 1:], values[:, :, :-1], out=wide[:, :, 1:])
    np.maximum(wide[:, :, :-1], values[:, :, 1:], out=wide[:, :, :-1])
    tall = wide.copy()
    np.maximum(tall[:, 1:], wide[:, :-1], out=tall[:, 1:])
    np.maximum(tall[:, :-1], wide[:, 1:], out=tall[:, :-1])
    return tall


def grown(mask: Shaped[ndarray, "t h w"], times: int) -> Shaped[ndarray, "t h w"]:
    """Each patch spread by so many pixels to all sides, over zeros only."""
    for _ in range(times):
        mask = np.where(mask > 0, mask, spread_out(mask))
    return mask


def fill(video: Video, free: Bool[ndarray, "t h w"], moving_camera: bool) -> Video:
    """The background behind the things: from other frames where the camera stands still, then from both sides."""
    known, seen = free, video
    if not moving_camera:
        count = free.sum(0, keepdims=True, dtype=np.float32)
        known = count > 0
        seen = np.einsum("thwc,thw->hwc", video, free.astype(np.float32))[None] / np.maximum(count, 1)[..., None]
    if not known.all():
        column = np.arange(video.shape[2])
        left = np.maximum.accumulate(np.where(known, column, -1), 2)
        right = np.minimum.accumulate(np.where(known, column, len(column))[:, :, ::-1], 2)[:, :, ::-1]
        frame, row, at = np.nonzero(~known)
        one, other = left[frame, row, at], right[frame, row, at]
        one, other = np.where(one < 0, other, one), np.where(other == len(column), one, other)
        share = np.where(other > one, (at - one) / np.maximum(other - one, 1), 0)[:, None].astype(np.float32)
        one, other = (
            np.minimum(one, len(column) - 1),
            np.maximum(other, 0),
        )  # a row without any background stays as it is
        seen = seen.copy()
        seen[frame, row, at] = (1 - share) * seen[frame, row, one] + share * seen[frame, row, other]
    return np.broadcast_to(seen, video.shape)


# The things.


def find_things(
    video: Video,
    backdrop: Backdrop,
    background: Video,
    far: Bool[ndarray, "t h w"],
    free: Bool[ndarray, "t h w"],
    gray: bool,
    outlined: bool,
    blended: bool,
    coarse: bool,
) -> Sight:
    frames, height, width, _ = video.shape
    unit = min(height, width) / 2
    offset = video - background
    at = np.flatnonzero(np.einsum("thwc,thwc->thw", offset, offset) > FOREGROUND**2)
    offset, base = offset.reshape(-1, 3)[at], background.reshape(-1, 3)[at]
    cover, misfit = unmix(offset, grays(offset, base) if gray else TINTS, base)
    nearest = misfit.argmin(0)
    opaque = cover[nearest, np.arange(len(at))] > (0.35 if outlined else 0.5)
    label = np.zeros((frames, height, width), np.int16)
    label.ravel()[at] = np.where(opaque & far.ravel()[at], nearest + 1, 0)
    label = vote(label)
    parts, colour = components(label, MIN_AREA * unit**2, outlined, blended or outlined, coarse or outlined)
    parts, touches = without_slivers(parts, 4 * MIN_AREA * unit**2)
    owner, hidden = joined(grown(parts, round(unit / 16)), colour)
    alpha = np.zeros(owner.shape, np.float32)
    alpha.ravel()[at] = np.clip(cover[colour[owner.ravel()[at]], np.arange(len(at))], 0, 1)
    solid = np.maximum(alpha, ndimage.binary_erosion(parts > 0, np.ones((1, 3, 3)))) if outlined else alpha

    place = np.flatnonzero(owner)
    who, weight = owner.ravel()[place], solid.ravel()[place]
    frame, row, column = np.unravel_index(place, owner.shape)
    number = len(colour)
    area = np.maximum(np.bincount(who, weight, number), 1e-6)[1:]
    x = np.bincount(who, weight * (column + 0.5), number)[1:] / area
    y = np.bincount(who, weight * (row + 0.5), number)[1:] / area
    spread = np.sqrt(area / np.pi)
    when = np.zeros(number, int)
    when[who] = frame
    border = np.zeros((height, width), bool)
    border[[0, -1]] = border[:, [0, -1]] = True
    hidden[1:] |= np.bincount(owner[(label > 0) & border], minlength=number)[1:] > 0
    pictures = crop(alpha, owner, when[1:], x, y, spread)
    things = np.flatnonzero(area > 1e-6)
    whole, touches = ~hidden[1:][things], touches[1:][things]
    colour, when = colour[1:][things], when[1:][things]
    x, y, spread, pictures = x[things] - width / 2, y[things] - height / 2, spread[things], pictures[things]
    x, y, spread = x / unit, y / unit, spread / unit
    return Sight(backdrop, background, free, when, colour, x, y, spread, whole, touches, pictures, unit)


def grays(offset: Float32[ndarray, "n 3"], base: Float32[ndarray, "n 3"]) -> Float32[ndarray, "2 3"]:
    """The grey of things that are lighter than the background, and of those that are darker."""
    lighter, level = offset.mean(1) > 0, (offset + base).mean(1)
    light = np.quantile(level[lighter], 0.9) if lighter.any() else 2.0
    dark = np.quantile(level[~lighter], 0.1) if not lighter.all() else -1.0
    return np.array([[light] * 3, [dark] * 3], np.float32)


def unmix(
    offset: Float32[ndarray, "n 3"], tints: Float32[ndarray, "k 3"], base: Float32[ndarray, "n 3"]
) -> tuple[Float32[ndarray, "k n"], Float32[ndarray, "k n"]]:
    """For each colour, how much of it lies over the background at a pixel, and what that leaves unexplained."""
    length = (tints**2).sum(1)[:, None] - 2 * tints @ base.T + np.einsum("nc,nc->n", base, base)
    along = tints @ offset.T - np.einsum("nc,nc->n", base, offset)
    cover = along / np.maximum(length, 1e-6)
    part = np.clip(cover, 0, 1)
    return cover, part**2 * length - 2 * part * along


def vote(label: Int[ndarray, "t h w"]) -> Int[ndarray, "t h w"]:
    """Each coloured pixel takes the colour that most of its neighbours have."""
    present = np.flatnonzero(np.bincount(label.ravel()))[1:]
    if len(present) < 2:
        return label
    votes = np.stack([ndimage.uniform_filter((label == k).astype(np.float32), (0, 3, 3)) for k in present])
    return np.where(label > 0, present[votes.argmax(0)], 0).astype(label.dtype)


def components(
    label: Int[ndarray, "t h w"], min_area: float, outlined: bool, blended: bool, by_corners: bool
) -> tuple[Int[ndarray, "t h w"], Int[ndarray, "m"]]:
    """Connected patches of one colour, or of any, numbered from 1, and the colour of each; the smallest are left out.

    The inside of an outline belongs to it.
    """
    structure = np.zeros((3, 3, 3), bool)
    structure[1] = ndimage.generate_binary_structure(2, 2 if by_corners else 1)
    solid = np.stack([ndimage.binary_fill_holes(frame) for frame in label > 0]) if outlined else label > 0
    masks = [solid] if blended else [label == k for k in np.flatnonzero(np.bincount(label.ravel())) if k]
    owner, total = np.zeros(label.shape, np.int32), 0
    for mask in masks:
        parts, count = ndimage.label(mask, structure)
        kept = largest(np.bincount(parts.ravel(), minlength=count + 1), parts.max((1, 2)), min_area)
        number = np.zeros(count + 1, np.int32)
        number[kept] = total + 1 + np.arange(len(kept))
        owner += number[parts]
        total += len(kept)
    votes = np.zeros((total + 1, len(NAMES) + 1))
    np.add.at(votes, (owner[label > 0], label[label > 0]), 1)
    return owner, np.maximum(votes.argmax(1) - 1, 0)


def largest(area: Int[ndarray, "m"], last: Int[ndarray, "t"], min_area: float) -> Int[ndarray, "k"]:
    """The numbers of the patches to keep: the largest of each frame, so that noise does not take for ever."""
    number = 1 + np.flatnonzero(area[1:] >= min_area)
    frame = np.searchsorted(np.maximum.accumulate(last), number)  # patches are numbered frame by frame
    order = np.lexsort((-area[number], frame))
    rank = np.arange(len(number)) - np.searchsorted(frame[order], frame[order])
    return np.sort(number[order][rank < MAX_PATCHES])


def without_slivers(owner: Int[ndarray, "t h w"], max_area: float) -> tuple[Int[ndarray, "t h w"], Bool[ndarray, "m"]]:
    """Small patches that lie along another, where colours run together, join it; who touches others."""
    other = np.where(owner > 0, owner, np.iinfo(owner.dtype).max)
    lowest = -spread_out(-other)
    highest = spread_out(owner)
    neighbour = np.where(highest != owner, highest, lowest)
    touching = (owner > 0) & (neighbour != owner)
    area, contact = np.bincount(owner.ravel()), np.bincount(owner[touching], minlength=int(owner.max()) + 1)
    nearest = np.zeros(len(area), owner.dtype)
    np.maximum.at(nearest, owner[touching], neighbour[touching])
    sliver = (contact > 0.75 * area) & (area < max_area) | (contact > 0.9 * area) & (area < 3 * max_area)
    sliver &= area < area[nearest]
    sliver[0] = False
    number = np.where(sliver, nearest, np.arange(len(area), dtype=owner.dtype))
    touches = np.bincount(number, contact * (number == np.arange(len(area))), len(area)) > 1
    return number[owner], touches


def joined(owner: Int[ndarray, "t h w"], colour: Int[ndarray, "m"]) -> tuple[Int[ndarray, "t h w"], Bool[ndarray, "m"]]:
    """Patches of one colour on both sides of another become one thing, of which a part is hidden."""
    across = np.stack([owner[:, :, 1:].ravel(), owner[:, :, :-1].ravel()])
    along = np.stack([owner[:, 1:].ravel(), owner[:, :-1].ravel()])
    pairs = np.concatenate([across, along], 1)
    pairs = pairs[:, (pairs > 0).all(0) & (pairs[0] != pairs[1])]
    first: dict[tuple[int, int], int] = {}
    number, hidden = np.arange(len(colour)), np.zeros(len(colour), bool)
    for one, other in sorted(set(zip(*np.concatenate([pairs, pairs[::-1]], 1).tolist(), strict=True))):
        if colour[one] != colour[other]:
            root = first.setdefault((other, int(colour[one])), int(number[one]))
            if number[one] != root:
                hidden[root] = True
                number[number == number[one]] = root
    return number[owner], hidden


def crop(
    alpha: Float32[ndarray, "t h w"],
    owner: Int[ndarray, "t h w"],
    frame: Int[ndarray, "n"],
    x: Float[ndarray, "n"],
    y: Float[ndarray, "n"],
    spread: Float[ndarray, "n"],
) -> Float32[ndarray, "n 21 21"]:
    """The picture of each thing alone, sampled on a grid that is centred on it and scaled by its size."""
    _, height, width = alpha.shape
    grid = np.linspace(-REACH, REACH, PATCH) * spread[:, None]
    down, right = y[:, None] + grid - 0.5, x[:, None] + grid - 0.5
    top, left = np.floor(down).astype(int), np.floor(right).astype(int)
    result = np.zeros((len(frame), PATCH, PATCH), np.float32)
    for row in (top, top + 1):
        for column in (left, left + 1):
            share_down = (1 - np.abs(down - row)) * ((row >= 0) & (row < height))
            share_right = (1 - np.abs(right - column)) * ((column >= 0) & (column < width))
            at = frame[:, None, None], np.clip(row, 0, height - 1)[:, :, None], np.clip(column, 0, width - 1)[:, None]
            mine = owner[at] == np.arange(1, len(frame) + 1)[:, None, None]
            share = (share_down[:, :, None] * share_right[:, None]).astype(np.float32)
            result += alpha[at] * mine * share
    return result


# Styles are seen in the pixels, not in the things.


def chroma(video: Video) -> float:
    """How coloured the most coloured part of a clip is."""
    smooth = ndimage.uniform_filter(video[:: max(1, len(video) // 4)], (0, 3, 3, 0))
    return float(np.quantile(smooth.max(-1) - smooth.min(-1), 0.995))


def blocks(side: int, short: int) -> Int[ndarray, "side"]:
    """To which block of pixel art each row or column belongs."""
    return np.arange(side) * max(1, round(BLOCKS * side / short)) // side


def blockiness(video: Video) -> float:
    """The share of edges that lie between blocks of pixel art; a quarter by chance where blocks are four pixels."""
    between = total = 1e-6
    for axis in (1, 2):
        side = video.shape[axis]
        steps = np.square(np.diff(video, axis=axis)).sum(-1)
        strong = np.where(steps > 0.02, steps, 0).sum((0, 3 - axis))
        between += float(strong[np.diff(blocks(side, min(video.shape[1:3]))) > 0].sum())
        total += float(strong.sum())
    return between / total


def mosaic(video: Video) -> Float32[ndarray, "t rows columns 3"]:
    """A clip of pixel art with one pixel for each block."""
    short = min(video.shape[1:3])
    for axis in (1, 2):
        starts = np.flatnonzero(np.diff(blocks(video.shape[axis], short), prepend=-1))
        sizes = np.diff([*starts, video.shape[axis]]).astype(np.float32)
        video = np.add.reduceat(video, starts, axis=axis) / (sizes[:, None, None] if axis == 1 else sizes[:, None])
    return video
