"""What goes into a file comes out again, and what cannot be done says so and leaves nothing behind."""

import io
import json
import os
import resource
import stat
import struct
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from beside import SHARED, needs
from vitascope import media
from vitascope.media import reading
from vitascope.types import Clip, UserError, generator_for

ENDINGS = [".mp4", ".gif", ".webp", ".png"]
MOVING = [".mp4", ".gif", ".webp"]
SETTINGS = {"prompt": "größer, «rot» 🙂", "seed": 7, "nested": {"steps": [1, 2.5, None, True]}, "long": "x" * 300_000}
REAL = SHARED / "videos" / "real"
PALETTE = torch.tensor([[230, 38, 38], [38, 191, 51], [51, 77, 242], [242, 217, 38], [10, 10, 10]]) / 255


def smooth_clip(num_frames: int = 16, width: int = 64, height: int = 48, fps: float = 8.0) -> Clip:
    """Soft waves of all colours that move: what 4:2:0 can keep."""
    t, y, x = torch.meshgrid(*(torch.arange(n).float() for n in (num_frames, height, width)), indexing="ij")
    waves = [torch.sin(x / 9 + t / 3), torch.sin(y / 11 - t / 5), torch.sin((x + y) / 13 + 1)]
    return Clip(torch.stack(waves, 1) / 2 + 0.5, fps, "soft waves", SETTINGS)


def flat_clip(num_frames: int = 16, fps: float = 8.0) -> Clip:
    """A square that stands still for some frames and then jumps; five colours."""
    pixels = PALETTE[4].view(1, 3, 1, 1).repeat(num_frames, 1, 32, 40)
    for frame in range(num_frames):
        left = 4 * (frame // 4)
        pixels[frame, :, 8:20, left : left + 12] = PALETTE[frame // 4 % 4].view(3, 1, 1)
    return Clip(pixels, fps, "a square jumps")


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return -10 * (one - other).square().mean().clamp_min(1e-12).log10().item()


def save(clip: Clip, path: Path) -> Path:
    media.write(clip, path)
    return path


@pytest.mark.parametrize(("ending", "least"), [(".mp4", 35.0), (".gif", 25.0), (".webp", 58.0)])
@pytest.mark.parametrize("size", [(64, 48), (63, 47), (2, 2), (1, 1)])
def test_pixels_come_back_at_any_size(tmp_path: Path, ending: str, least: float, size: tuple[int, int]) -> None:
    clip = smooth_clip(6, *size)
    back = media.read_video(save(clip, tmp_path / f"clip{ending}"))
    assert back.pixels.shape == clip.pixels.shape
    assert psnr(back.pixels, clip.pixels) > least


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_few_colours_come_back_exactly_and_still_frames_are_not_lost(tmp_path: Path, ending: str) -> None:
    clip = flat_clip()
    back = media.read_video(save(clip, tmp_path / f"clip{ending}"))
    assert torch.equal((back.pixels * 255).round(), (clip.pixels * 255).round())


def test_one_frame_as_png_comes_back_exactly(tmp_path: Path) -> None:
    clip = Clip(torch.rand(1, 3, 5, 7, generator=generator_for(1)).mul(255).round() / 255)
    assert torch.equal(media.read_image(save(clip, tmp_path / "one.png")), clip.pixels[0])


def test_several_frames_as_png_become_a_sheet_of_all(tmp_path: Path) -> None:
    clip = flat_clip(7)
    sheet = media.read_image(save(clip, tmp_path / "seven.png"))
    assert sheet.shape == (3, 3 * 32 + 2 * 4, 3 * 40 + 2 * 4)
    assert torch.allclose(sheet[:, 36:68, 44:84], clip.pixels[4], atol=1 / 255)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("settings", [SETTINGS, {}])
def test_settings_and_caption_travel_inside_every_format(tmp_path: Path, ending: str, settings: dict) -> None:
    path = save(Clip(smooth_clip(3).pixels, 8.0, "ein «Würfel»", settings), tmp_path / f"clip{ending}")
    assert media.read_settings(path) == settings
    back = media.read_video(path)
    assert (back.caption, back.settings) == ("ein «Würfel»", settings)


@pytest.mark.parametrize("ending", MOVING)
@pytest.mark.parametrize("fps", [1.0, 7.5, 8.0, 24.0, 29.97, 60.0])
def test_time_is_kept(tmp_path: Path, ending: str, fps: float) -> None:
    clip = Clip(flat_clip(13).pixels, fps)
    path = save(clip, tmp_path / f"clip{ending}")
    back = media.read_video(path)
    assert back.num_frames == 13
    assert back.fps == pytest.approx(fps, rel=1e-4)
    if ending == ".mp4":
        with av.open(str(path)) as container:
            assert container.duration / av.time_base == pytest.approx(clip.seconds, abs=0.001)


@pytest.mark.parametrize("ending", ENDINGS)
def test_same_clip_same_bytes(ending: str) -> None:
    for size in ((30, 22), (64, 48)):
        assert len({media.encode(smooth_clip(8, *size), ending) for _ in range(5)}) == 1


def test_mp4_is_what_every_player_plays_and_says_its_colours(tmp_path: Path) -> None:
    with av.open(str(save(smooth_clip(), tmp_path / "clip.mp4"))) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.frames) == ("h264", "yuv420p", 16)
        tags = context.colorspace, context.color_primaries, context.color_trc, context.color_range
        assert tags == (1, 1, 1, 1)  # BT.709 three times, limited range
        assert sum(packet.is_keyframe for packet in container.demux(stream)) >= 2  # one a second


def test_mp4_colours_are_converted_by_the_matrix_that_the_tags_name(tmp_path: Path) -> None:
    red, green, blue = (0.9, 0.15, 0.15)
    clip = Clip(torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(2, 3, 32, 32))
    with av.open(str(save(clip, tmp_path / "red.mp4"))) as container:
        frame = next(container.decode(video=0))
    luma, blueness, redness = (plane.mean() for plane in np.split(frame.to_ndarray().reshape(-1), [1024, 1280]))
    bright = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # BT.709
    expected = 16 + 219 * bright, 128 + 224 * (blue - bright) / 1.8556, 128 + 224 * (red - bright) / 1.5748
    assert (luma, blueness, redness) == pytest.approx(expected, abs=1.5)


@pytest.mark.parametrize(
    ("matrix", "clockwise"), [((1, 0, 0, 1), 0), ((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3)]
)
def test_rotation_stated_in_a_video_is_applied(tmp_path: Path, matrix: tuple[int, ...], clockwise: int) -> None:
    def track_matrix(a: int, b: int, c: int, d: int) -> bytes:  # QuickTime: (x, y) is shown at (ax + cy, bx + dy)
        return struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)

    clip, path = smooth_clip(3, 48, 32), tmp_path / "turned.mp4"
    head, tail = media.encode(clip, ".mp4").split(b"tkhd")
    path.write_bytes(head + b"tkhd" + tail.replace(track_matrix(1, 0, 0, 1), track_matrix(*matrix), 1))
    turned = torch.rot90(clip.pixels, -clockwise, dims=(2, 3))
    assert psnr(media.read_video(path).pixels, turned) > 35


def test_only_the_first_frames_and_a_smaller_size_on_the_way(tmp_path: Path) -> None:
    clip = smooth_clip(9, 64, 48)
    for ending in MOVING:
        path = save(clip, tmp_path / f"clip{ending}")
        back = media.read_video(path, num_frames=4, size=(24, 24))
        whole = media.resize(media.read_video(path).pixels[:4], (24, 24))
        assert torch.allclose(back.pixels, whole, atol=0.51 / 255)


@pytest.mark.parametrize("ending", MOVING)
@pytest.mark.parametrize(("seconds", "num"), [(0.0, 1), (0.25, 7), (60.0, 30)])
def test_only_the_end_of_a_video(tmp_path: Path, ending: str, seconds: float, num: int) -> None:
    path = save(smooth_clip(30, 32, 24, fps=24.0), tmp_path / f"clip{ending}")
    back = media.read_end(path, seconds, (16, 12))
    assert torch.equal(back.pixels, media.read_video(path, size=(16, 12)).pixels[-num:])
    assert back.fps == pytest.approx(24, rel=0.02)


def test_the_end_of_a_long_video_takes_no_more_memory_than_that_of_a_short_one(tmp_path: Path) -> None:
    """Counted in frames alive at once, of which there may be one more than are wanted."""
    path, alive = save(smooth_clip(60, 32, 24, fps=24.0), tmp_path / "clip.mp4"), weakref.WeakSet()
    most, shrink = 0, reading.shrink

    def counted(*given: object) -> torch.Tensor:
        nonlocal most
        picture = shrink(*given)
        alive.add(picture)
        most = max(most, len(alive))
        return picture

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "shrink", counted)
        media.read_end(path, 0.25, (16, 12))
    assert most <= 8


def test_video_without_our_note_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "other.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 32, 16, "bgr0"
        for shade in (0, 100, 200):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = media.read_video(path)
    assert (clip.fps, clip.caption, dict(clip.settings)) == (25.0, "", {})
    assert torch.equal((clip.pixels[:, 0, 0, 0] * 255).round(), torch.tensor([0.0, 100.0, 200.0]))
    with pytest.raises(UserError, match="holds no settings"):
        media.read_settings(path)


# What cannot be written.


def test_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "clip.png"
    path.write_bytes(b"precious")
    with pytest.raises(UserError, match="--force"):
        media.write(flat_clip(), path)
    assert path.read_bytes() == b"precious"
    media.write(flat_clip(), path, force=True)
    assert media.read_image(path).shape[0] == 3


def test_check_free_is_for_any_file_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("precious")
    media.check_free(tmp_path / "new.json")
    media.check_free(tmp_path / "report.json", force=True)
    for name, words in {"report.json": "pass --force", "none/new.json": "does not exist", ".": "a folder"}.items():
        with pytest.raises(UserError, match=words):
            media.check_free(tmp_path / name)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["clip.avi", "clip", "clip.mp4.bak", ""])
def test_unknown_ending_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"\.mp4, \.gif, \.webp, \.png"):
        media.write(flat_clip(), tmp_path / name)


def test_ending_may_be_in_capitals(tmp_path: Path) -> None:
    assert media.read_video(save(flat_clip(), tmp_path / "CLIP.MP4")).num_frames == 16


def test_folder_that_is_missing_or_a_file_or_read_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    for path, words in {
        "none/clip.mp4": "does not exist",
        "file/clip.mp4": "does not exist",
        "folder.mp4": "a folder",
    }.items():
        with pytest.raises(UserError, match=words):
            media.write(flat_clip(), tmp_path / path)
    closed = Path("/proc") if os.access(tmp_path, os.W_OK) and os.geteuid() == 0 else tmp_path / "closed"
    if closed.name == "closed":
        closed.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match=r"written"):
        media.write(flat_clip(), closed / "clip.mp4")


@pytest.mark.parametrize("ending", ENDINGS)
def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"clip{ending}"
    path.write_bytes(b"precious")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # a limit on the size of files fails as a full disk does
    try:
        with pytest.raises(UserError, match="could not be written"):
            media.write(smooth_clip(), path, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_of_a_new_file_are_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    media.write(flat_clip(), tmp_path / "clip.png")
    assert (tmp_path / "clip.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("ending", ENDINGS)
def test_impossible_clips_are_refused(ending: str) -> None:
    pixels = flat_clip(2).pixels
    for clip in (Clip(pixels, 0.0), Clip(pixels, -8.0), Clip(pixels, float("nan"))):
        with pytest.raises(UserError, match="fps"):
            media.encode(clip, ending)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (torch.full((2, 3, 4, 4), 128, dtype=torch.uint8), r"got \(2, 3, 4, 4\) of torch.uint8; .*pixels / 255"),
        (torch.full((2, 3, 4, 4), 128.0), "got numbers from 128 to 128"),
        (torch.tensor([0.5, torch.nan, 0.5]).view(1, 3, 1, 1), "got numbers from nan to nan"),
        (torch.tensor([0.5, torch.inf, -0.1]).view(1, 3, 1, 1), "got numbers from -0.1 to inf"),
        (torch.zeros(2, 4, 4, 3), r"got \(2, 4, 4, 3\) of"),
        (torch.zeros(3, 4, 4), r"got \(3, 4, 4\) of"),
        (torch.zeros(0, 3, 4, 4), r"got \(0, 3, 4, 4\) of"),
        (np.zeros((2, 3, 4, 4)), "got a ndarray"),
    ],
)
def test_pixels_of_another_kind_become_no_file(pixels: object, said: str) -> None:
    clip = flat_clip(2)
    object.__setattr__(clip, "pixels", pixels)  # as users may give them: these tests check types where they do not
    for ending in ENDINGS:
        with pytest.raises(UserError, match=f"frames x 3 x height x width floating-point numbers.* {said}") as caught:
            media.encode(clip, ending)
        assert "\n" not in str(caught.value)


def test_too_large_for_the_format_names_the_format() -> None:
    with pytest.raises(UserError, match="webp"):
        media.encode(Clip(torch.zeros(2, 3, 1, 20_000)), ".webp")


# What cannot be read.


@pytest.mark.parametrize("read", [media.read_video, media.read_image, media.read_settings])
def test_missing_files_folders_texts_and_empty_files(tmp_path: Path, read) -> None:
    (tmp_path / "empty.mp4").touch()
    # FFmpeg would show a .txt as a terminal and fetch what a play list names.
    for name in ("words.txt", "words.mp4", "words.png", "list.m3u8"):
        (tmp_path / name).write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n" + "red circle\n" * 200)
    for name in ("nothing.mp4", ".", "empty.mp4", "words.txt", "words.mp4", "words.png", "list.m3u8"):
        with pytest.raises(UserError, match=r"check the path|is damaged|holds no"):
            read(tmp_path / name)


@pytest.mark.parametrize("read", [media.read_video, media.read_image, media.read_settings])
@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nclip.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile clip.mp4\n",
    ],
    ids=["hls", "concat"],
)
def test_a_list_of_videos_is_none_whatever_its_name(tmp_path: Path, read, content: str) -> None:
    save(smooth_clip(4), tmp_path / "clip.mp4")
    for name in ("list.mp4", "list.m3u8", "list.ffconcat"):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match="is damaged or no"):
            read(tmp_path / name)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_files_say_so(tmp_path: Path, ending: str, share: float) -> None:
    noise = torch.rand(
        8, 3, 32, 32, generator=generator_for(2)
    )  # without settings, so that the cut falls into the pixels
    whole, path = media.encode(Clip(noise), ending), tmp_path / f"clip{ending}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match="is damaged"):
        media.read_video(path)


def test_video_that_ends_before_its_stated_time_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    with av.open(str(path), "w", format="matroska") as container:
        source = av.open(io.BytesIO(media.encode(smooth_clip(24), ".mp4")))
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=r"ends after .* of 3.0+ seconds|is damaged"):
        media.read_video(path)


def test_flipped_bits_say_so(tmp_path: Path) -> None:
    whole = bytearray(media.encode(Clip(torch.rand(8, 3, 64, 64, generator=generator_for(3))), ".mp4"))
    for place in range(len(whole) // 10, len(whole) // 2, 200):
        whole[place] ^= 0x10
    (tmp_path / "flipped.mp4").write_bytes(whole)
    with pytest.raises(UserError, match="is damaged"):
        media.read_video(tmp_path / "flipped.mp4")


def test_video_is_no_picture_and_a_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no picture"):
        media.read_image(save(smooth_clip(3), tmp_path / "clip.mp4"))
    assert media.read_video(save(smooth_clip(1), tmp_path / "one.png")).num_frames == 1


# Pictures.


def test_pictures_of_every_mode(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 48, dtype=np.uint8).reshape(6, 8)
    colour = np.stack([ramp, ramp[::-1], 255 - ramp], -1)
    over_black = Image.fromarray(np.dstack([colour, np.full_like(ramp, 128)]), "RGBA")
    cases = {
        "rgb.png": (Image.fromarray(colour), colour),
        "grey.png": (Image.fromarray(ramp), ramp[..., None].repeat(3, -1)),
        "sixteen.png": (Image.fromarray(ramp.astype(np.uint16) * 257), ramp[..., None].repeat(3, -1)),
        "alpha.png": (over_black, (colour * (128 / 255)).round()),
        "palette.gif": (Image.fromarray(colour).quantize(64), colour),
        "black.png": (Image.fromarray(ramp > 100), np.where(ramp > 100, 255, 0)[..., None].repeat(3, -1)),
        "lossless.webp": (Image.fromarray(colour), colour),
    }
    for name, (image, expected) in cases.items():
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        picture = media.read_image(tmp_path / name)
        expected_picture = torch.from_numpy(expected.astype(np.float32)).permute(2, 0, 1) / 255
        assert torch.allclose(picture, expected_picture, atol=1.01 / 255), name
        assert torch.equal((picture * 255).round() / 255, picture), name


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pictures_without_an_agreed_white_are_refused(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.full((4, 4), 200, kind)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="no agreed white"):
        media.read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "comment", [{"vitascope": 1}, {"vitascope": 1, "fps": 8}, {"vitascope": "x", "num_frames": 9}, ["vitascope"], 3]
)
def test_comments_of_others_are_passed_over(tmp_path: Path, comment: object) -> None:
    frames = [Image.new("RGB", (8, 8), (100 * number, 0, 0)) for number in range(3)]
    frames[0].save(
        tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100, comment=json.dumps(comment)
    )
    assert media.read_video(tmp_path / "a.gif").num_frames == 3
    with pytest.raises(UserError, match="holds no settings"):
        media.read_settings(tmp_path / "a.gif")


@pytest.mark.parametrize("fps", [60.0, 120.0, 1000.0])
def test_quick_animations_come_back_whole(tmp_path: Path, fps: float) -> None:
    pixels = torch.linspace(0, 1, 30)[:, None, None, None].expand(-1, 3, 8, 8)
    media.write(Clip(pixels, fps), tmp_path / "a.gif")
    read = media.read_video(tmp_path / "a.gif")
    assert (read.num_frames, read.fps) == (30, fps)
    assert (read.pixels[:, 0, 0, 0].diff() >= 0).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright = torch.rand(3, 6, 4, generator=generator_for(4)).mul(255).round() / 255
    lying = torch.rot90(upright, 1, dims=(1, 2))
    Image.fromarray((lying.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(tmp_path / "a.png", exif=exif)
    assert torch.equal(media.read_image(tmp_path / "a.png"), upright)


@needs(REAL)
@pytest.mark.parametrize(
    ("name", "frames", "fps"), [("intel_asl_milk.mkv", 51, 30.0), ("intel_people_detection.gif", 23, 12.04)]
)
def test_real_clips_are_read_whole(name: str, frames: int, fps: float) -> None:
    clip = media.read_video(REAL / name, size=(64, 48))
    assert (clip.num_frames, clip.size) == (frames, (64, 48))
    assert clip.fps == pytest.approx(fps, abs=0.01)
    assert 0.1 < clip.pixels.mean() < 0.9
