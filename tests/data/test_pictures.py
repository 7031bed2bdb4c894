"""Laws of pictures: what an autoencoder is shown of clips."""

from __future__ import annotations

import torch

from tiny import NUM_FRAMES, SIZE, Stripes, StripesConfig
from vitascope.data.pictures import FRAMES_OF_EACH, pictures_of
from vitascope.types import Clip


class ClipsOnly:
    """The least that a source of clips can be."""

    identity = "stripes"

    def __init__(self) -> None:
        self.stripes, self.asked = Stripes(StripesConfig()), list[int]()

    def clip(self, index: int) -> Clip:
        self.asked.append(index)
        return self.stripes.clip(index)

    def captions(self, index: int) -> tuple[str, ...]:
        return self.stripes.captions(index)


def test_a_source_that_has_pictures_shows_its_own() -> None:
    source = StripesConfig().build()
    assert pictures_of(source) is source


def test_pictures_are_frames_of_new_clips_at_each_step_and_the_same_when_asked_again() -> None:
    source = ClipsOnly()
    shown = pictures_of(source)
    of_each = min(FRAMES_OF_EACH, NUM_FRAMES)
    num = 2 * of_each + 1
    first, second = shown.pictures(0, num), shown.pictures(1, num)
    assert len(set(source.asked)) == len(source.asked) == 6  # three clips a step, and no clip in two of them
    assert first.shape == second.shape == (num, 3, SIZE, SIZE)
    frames = torch.cat([source.stripes.clip(index).pixels for index in source.asked[:3]])
    assert all((frames == picture).all((1, 2, 3)).any() for picture in first)
    assert torch.equal(first, shown.pictures(0, num))
    assert len({tuple(picture.flatten().tolist()) for picture in first[:of_each]}) == of_each  # none twice


def test_details_are_pieces_of_pictures() -> None:
    source = ClipsOnly()
    shown = pictures_of(source)
    details = shown.details(3, 5)
    assert details.shape == (5, 3, SIZE // 2, SIZE // 2)
    assert torch.equal(details, shown.details(3, 5))
    clips = torch.cat([source.stripes.clip(index).pixels for index in source.asked])
    windows = clips.unfold(2, SIZE // 2, 1).unfold(3, SIZE // 2, 1)  # t 3 y x h w
    assert all((windows == piece[:, None, None]).all(-1).all(-1).all(1).any() for piece in details)
