"""Single pictures, and many clips in one picture or film."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitascope import media
from vitascope.types import Clip, UserError, generator_for


def noisy(num_frames: int = 16, width: int = 64, height: int = 48) -> Clip:
    return Clip(torch.rand(num_frames, 3, height, width, generator=generator_for(num_frames, "noisy")), 8.0)


def test_a_picture_is_the_same_however_it_is_given(tmp_path: Path) -> None:
    eighths = torch.randint(256, (3, 5, 7), generator=generator_for(3, "eighths"), dtype=torch.uint8)
    wanted, array = eighths.float() / 255, eighths.permute(1, 2, 0).numpy()
    given = [
        wanted, wanted.double(), eighths, array, array / 255, np.float32(array / 255), array[:, ::-1].copy()[:, ::-1],
        (array / 255).astype(">f4"),
        Image.fromarray(array), Image.fromarray(array).convert("RGBA"),
    ]  # fmt: skip
    for one in given:
        torch.testing.assert_close(media.as_picture(one), wanted)
    for none in (
        array[..., :1],
        array.transpose(2, 0, 1),
        array.astype(int),
        eighths.float(),
        wanted / 0,
        wanted[None],
        "x",
    ):
        with pytest.raises(UserError, match=r"frame 3 must be an image of PIL, or numbers .* got "):
            media.as_picture(none, "frame 3")
    with pytest.raises(UserError, match="frame 3 has pixels that cannot be read"):
        media.as_picture(Image.new("F", (4, 4)), "frame 3")


def test_picture_as_text_is_exact() -> None:
    picture = torch.rand(3, 9, 5, generator=generator_for(5)).mul(255).round() / 255
    assert torch.equal(media.picture_from_base64png(media.picture_to_base64png(picture)), picture)


@pytest.mark.parametrize("size", [(1, 1), (8, 4), (20, 20), (40, 10), (64, 64)])
def test_resize_keeps_flat_colours_and_the_middle(size: tuple[int, int]) -> None:
    flat = torch.tensor([0.2, 0.5, 0.8]).view(3, 1, 1).expand(3, 30, 50)
    assert torch.allclose(media.resize(flat, size), flat[:, :1, :1].expand(3, size[1], size[0]), atol=1e-5)
    cross = torch.zeros(2, 3, 40, 80)
    cross[..., 19:21, :] = cross[..., 39:41] = 1
    assert torch.allclose(media.resize(cross, size), media.resize(cross, size).flip(-1, -2), atol=1e-4)


def test_resize_to_the_same_size_changes_nothing_and_nonsense_is_refused() -> None:
    pixels = noisy(2).pixels
    assert torch.equal(media.resize(pixels, (64, 48)), pixels)
    for size in ((0, 4), (4, -1)):
        with pytest.raises(UserError, match="at least 1x1"):
            media.resize(pixels, size)


def test_filmstrip_goes_from_the_first_frame_to_the_last() -> None:
    clip = noisy(9)
    strip = media.filmstrip(clip, 3)
    assert strip.shape == (3, 48, 3 * 64 + 2)
    for place, frame in enumerate((0, 4, 8)):
        assert torch.equal(strip[:, :, place * 65 : place * 65 + 64], clip.pixels[frame])
    assert torch.equal(media.filmstrip(Clip(clip.pixels[:1]), 8), clip.pixels[0])


def test_contact_sheet_holds_every_clip_and_its_label() -> None:
    clips = [noisy(width=40, height=32), noisy(), noisy(width=40, height=32)]
    plain = media.contact_sheet(clips, columns=2, num=2)
    assert plain.shape == (3, 2 * 48 + 4, 2 * (2 * 64 + 1) + 4)
    assert torch.equal(plain[:, :32, :81], media.filmstrip(clips[0], 2))
    labels = ["short", "a label that is much too long for one line and goes on", ""]
    labelled = media.contact_sheet(clips, columns=2, labels=labels, num=2)
    assert labelled.shape[1] > plain.shape[1]
    assert (labelled[:, 32:49, :81] < 0.5).any()  # dark letters under the first
    with pytest.raises(ValueError, match="shorter"):
        media.contact_sheet(clips, labels=["only one"])


def test_a_mosaic_plays_clips_side_by_side_and_holds_the_last_frame_of_a_short_one() -> None:
    long, short = noisy(5), noisy(2)
    film = media.mosaic([long, short, long], columns=2, gap=3)
    assert film.pixels.shape == (5, 3, 2 * 48 + 3, 2 * 64 + 3)
    assert film.fps == long.fps
    assert torch.equal(film.pixels[:, :, :48, :64], long.pixels)
    held = torch.cat([short.pixels, short.pixels[-1:].expand(3, -1, -1, -1)])
    assert torch.equal(film.pixels[:, :, :48, 67:], held)
    assert (film.pixels[:, :, 51:, 67:] == 1).all()  # no fourth clip
    with pytest.raises(UserError, match="at least one clip"):
        media.mosaic([])
