"""Near copies: whichever bits differ, none that the setting allows is missed."""

from __future__ import annotations

import random

import pytest

from vitascope.config import override
from vitascope.engine.config import Curate, Duplicates
from vitascope.engine.duplicates import without_duplicates
from vitascope.engine.pieces import Piece
from vitascope.errors import UserError


def kept(hashes: list[tuple[int, ...]], most_bits: int) -> list[int]:
    """Which stay, the earlier ones being the better."""
    features = {"width": 320, "height": 240, "clarity": 10.0}
    pieces = [Piece(f"{number:04d}", 0, 30, features=features) for number in range(len(hashes))]
    judged = without_duplicates(pieces, hashes, Duplicates(most_bits=most_bits))
    return [number for number, piece in enumerate(judged) if not piece.dropped]


@pytest.mark.parametrize("most_bits", [0, 1, 7, 8, 9, 20, 31])
def test_pictures_are_the_same_up_to_the_most_bits_and_not_beyond(most_bits: int) -> None:
    rng = random.Random(most_bits)
    spread = [64 * number // max(most_bits, 1) for number in range(most_bits)]  # evenly, so that no long part agrees
    for bits in (spread, rng.sample(range(64), most_bits)):
        one, unlike = rng.getrandbits(64), next(bit for bit in range(64) if bit not in bits)
        near = one ^ sum(1 << bit for bit in bits)
        assert kept([(one,), (near,)], most_bits) == [0]
        assert kept([(one,), (near ^ (1 << unlike),)], most_bits) == [0, 1]


@pytest.mark.parametrize("most_bits", [3, 8, 14])
def test_what_is_found_is_what_comparing_all_with_all_finds(most_bits: int) -> None:
    rng, hashes = random.Random(most_bits), list[tuple[int, ...]]()
    for _ in range(40):
        first = tuple(rng.getrandbits(64) for _ in range(5))
        hashes += [first, tuple(one ^ _some_bits(rng, rng.randrange(2 * most_bits)) for one in first)]
    stay = list[int]()
    for number, one in enumerate(hashes):
        same = [sum((a ^ b).bit_count() <= most_bits for a, b in zip(one, hashes[k], strict=True)) for k in stay]
        if not any(count >= 4 for count in same):
            stay.append(number)
    assert 40 < len(stay) < 80 and kept(hashes, most_bits) == stay


def _some_bits(rng: random.Random, num: int) -> int:
    return sum(1 << bit for bit in rng.sample(range(64), num))


def test_more_bits_than_can_tell_pictures_apart_are_refused() -> None:
    with pytest.raises(UserError, match="most_bits"):
        override(Curate(), "duplicates.most_bits", "32")
