"""Laws of checkpoints of others: one object and one way for every family, and nothing is changed or lost in silence."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import diffusers
import pytest
import torch
from accelerate.hooks import remove_hook_from_module
from families import FAMILIES, built
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

import vitascope
from conftest import Folder, Load
from vitascope import media
from vitascope.evaluate.toyland import evaluate
from vitascope.recipes.judged import Judged
from vitascope.sample.hub import legal, shelf
from vitascope.sample.hub.decoding import decoding
from vitascope.sample.hub.known import FAMILIES as TOLD
from vitascope.sample.hub.known import KNOWN, native
from vitascope.sample.hub.model import DTYPES, OFFLOADS, HubModel
from vitascope.sample.legal import request_of
from vitascope.sample.model import Model, OwnModel
from vitascope.types import Clip, Request, UserError

SIZE = (32, 32)
LENGTHS = {
    "ltx": 9, "mochi": 7, "cogvideox": 9, "cogvideox_i2v": 9, "cogvideox_v2v": 9, "allegro": 24, "latte": 4, "svd": 3,
    "animatediff": 4,
}  # fmt: skip
"""Frames that are asked for; 5 of the others."""
SIZES = {"allegro": (128, 128)}  # a tile of its decoder


def picture(seed: int, size: tuple[int, int] = SIZE) -> Float[Tensor, "3 h w"]:
    made = torch.rand(3, size[1], size[0], generator=torch.Generator().manual_seed(seed))
    return (made * 255).round() / 255


def request(model: HubModel, family: str, seed: int = 0, pictures: int = 0, **wish: Any) -> Request:
    """What the family is asked for in most tests: two steps, as few frames as it can, pictures where it needs some."""
    own, num = model.routes[0].traits, LENGTHS.get(family, 5)
    given = range(num) if own.video else range(1) if own.image else range(0)
    numbers = [*given, -1] if own.needs_last else [*given]
    frames = {number: picture(100 * pictures + number) for number in numbers}
    words = "a red circle moves left" if own.words else ""
    wished: dict[str, Any] = {"num_frames": num, "size": SIZES.get(family, SIZE), "steps": 2, "seed": seed, **wish}
    return Request(words, frames, **wished)


def is_other(one: Clip, other: Clip) -> bool:
    return (one.pixels - other.pixels).abs().max().item() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_makes_what_is_asked_for_and_the_same_again(model_of: Load, tmp_path: Path, family: str) -> None:
    model, kept = model_of(family), tmp_path / "kept.safetensors"
    asked, seen = request(model, family, seed=3), list[tuple[int, int]]()
    fixed = model.routes[0].traits.fixed_size

    clip = model.fulfil(asked, progress=lambda done, steps, z: seen.append((done, steps)), keep_latents=kept)
    assert clip.num_frames == asked.num_frames
    assert clip.size == ((48, 32) if fixed else asked.size)
    assert clip.pixels.std() > 0.01
    assert seen in ([(1, 2), (2, 2)], [(1, 1)])  # of working over a video, only the later steps are made
    assert len(model.notes(asked)) == fixed + (fixed and bool(asked.frames))  # and its picture is cut

    settings = json.loads(json.dumps(clip.settings))
    again = request_of(settings, with_video=True)
    if settings["hub"]["video"]:  # which is too large to be kept
        with pytest.raises(UserError, match="give it with --video"):
            request_of(settings)
        again = replace(again, frames=asked.frames)
    assert torch.equal(model.fulfil(again).pixels, clip.pixels)
    assert torch.equal(model.decode(kept).pixels, clip.pixels)
    assert is_other(model.fulfil(replace(asked, seed=4)), clip)


@pytest.mark.parametrize("family", ["wan_i2v", "ltx", "cogvideox_i2v", "cogvideox_v2v", "svd", "wan", "animatediff"])
def test_given_pictures_reach_the_video(model_of: Load, family: str) -> None:
    model, num = model_of(family), LENGTHS.get(family, 5)
    given = range(num) if model.reworked_frames else range(1)
    one, other = (
        model.fulfil(replace(request(model, family), frames={k: picture(9 * seed + k) for k in given}))
        for seed in (1, 2)
    )
    assert is_other(one, other)


@pytest.mark.parametrize(("family", "fps"), [("svd", 0.4), ("ltx", 0.4), ("svd", 23.976)])
def test_any_rate_makes_a_video(model_of: Load, family: str, fps: float) -> None:
    assert model_of(family).fulfil(request(model_of(family), family, fps=fps)).fps == fps


def test_a_picture_of_another_shape_is_cut_and_it_says_so(model_of: Load) -> None:
    model = model_of("wan_i2v")
    asked = request(model, "wan_i2v")
    for size, sides in (((48, 32), "left and right"), ((32, 64), "top and bottom")):
        (said,) = model.notes(replace(asked, frames={0: picture(1, size)}))
        assert f"frame 0 ({size[0]}x{size[1]}) is cut at {sides} to the shape of 32x32" in said
    assert not model.notes(replace(asked, frames={0: picture(1, (64, 64))}))


def test_a_last_picture_is_refused_where_the_first_alone_is_known_frame_by_frame() -> None:
    def ti2v() -> Any:
        return diffusers.WanPipeline(expand_timesteps=True, **built(FAMILIES["wan"]).components)

    routes = legal.routes_of(ti2v(), "")
    asked = Request("a red circle", {0: picture(1)}, 5, size=SIZE)
    assert type(legal.legalise(routes, asked).route.pipeline).__name__ == "WanImageToVideoPipeline"
    with pytest.raises(UserError, match=r"a first picture \(--image\); it was given pictures for frames -1, 0"):
        legal.legalise(routes, replace(asked, frames={0: picture(1), -1: picture(2)}))


def test_no_bar_but_ours_is_shown(model_of: Load, capfd: pytest.CaptureFixture[str]) -> None:
    model = model_of("wan")  # working over a video is its second pipeline
    model.fulfil(replace(request(model, "wan"), frames={number: picture(number) for number in range(5)}))
    assert capfd.readouterr().err == ""


def test_a_last_picture_reaches_the_video_where_the_denoiser_has_room_for_it(model_of: Load) -> None:
    model = model_of("wan_flf")
    asked = request(model, "wan_flf")
    one, other = (model.fulfil(replace(asked, frames={0: picture(1), -1: picture(k)})) for k in (7, 8))
    assert is_other(one, other)
    with pytest.raises(UserError, match=r"a first and a last picture \(--image and --last\)"):
        model.notes(replace(asked, frames={0: picture(1)}))
    with pytest.raises(UserError, match="it was given pictures for frames -1, 0"):
        model_of("wan_i2v").notes(replace(asked, frames={0: picture(1), -1: picture(2)}))


@pytest.mark.parametrize(
    ("family", "wish", "got", "said"),
    [
        ("wan", {"size": (50, 48)}, {"size": (48, 48)}, r"size 50x48 became 48x48: .* blocks of 16x16"),
        ("wan", {"num_frames": 10}, {"num_frames": 9}, r"10 frames became 9 .* 1 \+ 4k frames, 16 a second"),
        ("wan", {"num_frames": None, "seconds": 1.0}, {"num_frames": 17}, r"1 s became 17 frames"),
        ("wan", {"num_frames": 1}, {"num_frames": 1}, None),
        ("ltx", {"num_frames": 12}, {"num_frames": 9}, r"1 \+ 8k"),
        ("mochi", {"num_frames": 12}, {"num_frames": 13}, r"1 \+ 6k frames, 30 a second"),
        ("cogvideox", {"num_frames": 12}, {"num_frames": 9}, r"1 \+ 8k frames, 8 a second"),
        ("cogvideox", {"num_frames": 5}, {"num_frames": 9}, r"1 \+ 8k frames, 8 a second"),
        ("ltx", {"num_frames": 21}, {"num_frames": 25}, r"1 \+ 8k"),
        ("ltx", {"fps": 23.976}, {"fps": 23.976}, r"told 24 frames a second, .* the file has 23.976"),
        ("svd", {"fps": 0.4}, {"fps": 0.4}, r"told 1 frames a second"),
        ("wan", {"prompt": "a " * 511}, {}, None),
        ("wan", {"prompt": "a " * 600}, {}, r"end of the prompt is not read: it has 601 tokens .* reads 512"),
        ("latte", {"prompt": "a " * 200}, {}, r"it has 201 tokens .* reads 120"),
        ("ltx", {"negative": "a " * 200}, {}, r"end of the negative prompt .* reads 128"),
        ("animatediff", {"prompt": "red " * 90}, {}, r"it has 92 tokens .* reads 77"),
        ("allegro", {"num_frames": 50}, {"num_frames": 56}, r"makes 24 \+ 16k frames"),
        ("allegro", {"size": (160, 150)}, {"size": (176, 144)}, r"makes 128 \+ 48k by 128 \+ 16k pixels"),
        ("allegro", {"num_frames": 4}, {"num_frames": 24}, r"4 frames became 24"),
        ("allegro", {"size": (32, 9)}, {"size": (128, 128)}, r"size 32x9 became 128x128"),
        ("latte", {"num_frames": 7}, {"num_frames": 4}, r"makes 1 or 4 frames"),
        ("animatediff", {"num_frames": 99}, {"num_frames": 16}, r"at most 16"),
        ("cogvideox_i2v", {}, {"size": (48, 32)}, r"size 32x32 became 48x32: the model makes no other"),
    ],
)
def test_what_a_family_cannot_make_is_snapped_by_its_own_rules_and_said(
    model_of: Load, family: str, wish: dict[str, Any], got: dict[str, Any], said: str | None
) -> None:
    model = model_of(family)
    asked = replace(request(model, family), **wish)
    made = legal.legalise(model.routes, asked)
    assert {name: getattr(made, name) for name in got} == got
    about = [change for change in made.changes if "the picture for frame" not in change]
    assert len(about) == (said is not None)
    if said is not None:
        assert re.search(said, about[0])


@pytest.mark.parametrize(
    ("family", "wish", "said"),
    [
        ("mochi", {"frames": {0: picture(1)}}, "from words alone; it was given a picture for frame 0"),
        ("wan", {"frames": {0: picture(1)}}, r"words alone or words and a video to work over \(--video\)"),
        ("wan_i2v", {"frames": {}}, r"a first picture \(--image\); it was given words alone"),
        ("svd", {"prompt": "a fox"}, "reads no words"),
        ("wan", {"prompt": " "}, "prompt is empty"),
        ("wan", {"solver": "heun"}, "brings its own solver"),
        ("wan", {"rules": {"renorm": True}}, "brings its own renorm"),
        ("wan", {"steps": 0}, "steps must be from 1"),
        ("wan", {"guidance": float("nan")}, "guidance"),
        ("wan", {"fps": 0.0}, "fps"),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line(
    model_of: Load, family: str, wish: dict[str, Any], said: str
) -> None:
    model = model_of(family)
    with pytest.raises(UserError, match=said) as caught:
        model.notes(replace(request(model, family), **wish))
    assert "\n" not in str(caught.value)


@contextmanager
def failing_decoder(model: HubModel, times: int) -> Iterator[list[int]]:
    """The decoder runs out of memory so many times; the list has the number of latents of each call."""
    kind, calls = type(model.routes[0].pipeline.vae), list[int]()
    original = kind.decode

    def decode(self: Any, z: Tensor, *args: Any, **options: Any) -> Any:
        calls.append(len(z))
        if len(calls) <= times:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return original(self, z, *args, **options)

    kind.decode = decode
    try:
        yield calls
    finally:
        kind.decode = original


@pytest.mark.parametrize(
    ("family", "times", "way"),
    [
        ("wan", 1, "in tiles"),
        ("wan", 2, "on the processor"),
        ("animatediff", 1, "frame by frame"),
        ("svd", 1, "frame by frame"),
        ("svd", 2, "on the processor"),
    ],
)
def test_a_decode_that_runs_out_of_memory_is_tried_again(
    model_of: Load, tmp_path: Path, family: str, times: int, way: str
) -> None:
    model = model_of(family)
    whole = model.fulfil(request(model, family))
    with failing_decoder(model, times) as calls:
        clip = model.fulfil(request(model, family), keep_latents=tmp_path / "kept.safetensors")
    assert len(calls) > times
    assert clip.settings["hub"]["decoded"] == f"{way}: the memory was full"
    if family != "svd" or way == "on the processor":  # whose decoder looks at neighbours in time
        torch.testing.assert_close(clip.pixels, whole.pixels, atol=1e-4, rtol=0)
    assert not model.routes[0].pipeline.vae.__dict__.get("decode")  # the door is closed again


def test_a_decoder_that_was_offloaded_by_layers_is_so_again_after_its_fall_to_the_processor(model_of: Load) -> None:
    model = model_of("wan")
    vae = model.routes[0].pipeline.vae
    whole = model.fulfil(request(model, "wan"))
    accelerate.cpu_offload(vae, "cpu")
    try:
        for _ in range(2):
            with failing_decoder(model, 2):
                clip = model.fulfil(request(model, "wan"))
            assert clip.settings["hub"]["decoded"] == "on the processor: the memory was full"
            torch.testing.assert_close(clip.pixels, whole.pixels, atol=1e-4, rtol=0)
            assert {weight.device.type for weight in vae.parameters()} == {"meta"}
    finally:
        remove_hook_from_module(vae, recurse=True)


def test_latents_of_a_video_that_is_decoded_in_pieces_are_not_kept(model_of: Load) -> None:
    vae, z, kept = model_of("wan").routes[0].pipeline.vae, torch.zeros(1, 16, 1, 4, 4), list[Tensor | None]()
    with decoding(vae, keep=kept.append):
        vae.decode(z)
        assert torch.equal(kept[-1], z)
        vae.decode(z)
        assert kept[-1] is None
    with decoding(vae, kept=z):
        vae.decode(z)
        with pytest.raises(UserError, match="in pieces"):
            vae.decode(z)


def test_latents_are_not_lost_when_no_way_of_decoding_is_left(model_of: Load, tmp_path: Path) -> None:
    model, kept = model_of("wan"), tmp_path / "kept.safetensors"
    whole = model.fulfil(request(model, "wan"))
    with failing_decoder(model, 99), pytest.raises(UserError, match="memory ran out after step 2 of 2; try --offload"):
        model.fulfil(request(model, "wan"), keep_latents=kept)
    with failing_decoder(model, 99), pytest.raises(UserError, match="memory ran out after step 2 of 2; try --offload"):
        model.decode(kept)
    assert torch.equal(model.decode(kept).pixels, whole.pixels)
    with pytest.raises(UserError, match=r"made by another model.* give --model: --model hub:.*wan"):
        model_of("ltx").decode(kept)


def test_a_cancel_is_heard_at_the_next_step(model_of: Load) -> None:
    seen: list[int] = []

    def cancel(done: int, steps: int, z: Tensor) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    model = model_of("wan")
    with pytest.raises(KeyboardInterrupt):
        model.fulfil(request(model, "wan", steps=9), progress=cancel)
    assert seen == [1]


@contextmanager
def poisoned(part: Any, value: float) -> Iterator[None]:
    """All weights of a part are `value` for a while."""
    before = {name: weight.clone() for name, weight in part.state_dict().items()}
    with torch.no_grad():
        for weight in part.parameters():
            weight.fill_(value)
    try:
        yield
    finally:
        part.load_state_dict(before)


@pytest.mark.parametrize("family", ["wan_i2v", "svd", "cogvideox_v2v"])
def test_an_autoencoder_that_encodes_no_numbers_is_named(model_of: Load, family: str) -> None:
    model = model_of(family)
    vae = model.routes[0].pipeline.vae
    with poisoned(vae.encoder, float("nan")), pytest.raises(UserError, match=r"step 1 of \d: 'vae' gave what"):
        model.fulfil(request(model, family))
    assert "encode" not in vars(vae)


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("transformer", float("nan"), "step 1 of 2: 'transformer' gave what is no number; try --dtype fp32"),
        ("text_encoder", float("nan"), "step 1 of 2: 'text_encoder'"),
        ("vae", float("nan"), "after step 2 of 2: 'vae' gave what is no number"),
        ("vae", 0.0, "after step 2 of 2: 'vae' gave a video of one flat colour"),
    ],
)
def test_what_is_no_picture_stops_with_the_step_and_the_part(
    model_of: Load, part: str, value: float, said: str
) -> None:
    model = model_of("wan")
    with poisoned(getattr(model.routes[0].pipeline, part), value), pytest.raises(UserError, match=said):
        model.fulfil(request(model, "wan"))


def test_a_checkpoint_is_the_same_object_as_a_model_of_ours(folder_of: Folder, tmp_path: Path) -> None:
    model = vitascope.load(f"hub:{folder_of('wan')}", "cpu")
    assert isinstance(model, Model)
    assert isinstance(vitascope.load(), OwnModel)
    clip = model.generate("a red circle", num_frames=5, size=SIZE, steps=2, seed=3)
    clip.save(str(tmp_path / "red.mp4"))
    assert media.read_settings(tmp_path / "red.mp4") == json.loads(json.dumps(clip.settings))
    assert clip.settings["model"] == model.identity
    assert clip.fps == 16


def test_the_evaluation_judges_a_checkpoint(model_of: Load) -> None:
    judged = Judged(model_of("wan"), steps=1)
    report = evaluate(judged.generate, num=1, batch=1, encode_decode=judged.encode_decode, made_with=judged.made_with)
    assert report.protocol["model"] == model_of("wan").identity
    assert report.protocol["steps"] == 1
    assert report.made["all"].count == 1


@pytest.mark.parametrize("family", ["ltx", "animatediff", "svd"])
def test_the_autoencoder_alone_returns_as_many_frames_as_it_got(model_of: Load, family: str) -> None:
    given = Clip(torch.stack([picture(k) for k in range(4)]))
    assert model_of(family).encode_decode(given).pixels.shape == given.pixels.shape


def test_an_autoencoder_of_tiles_says_why_it_takes_no_clip(model_of: Load) -> None:
    with pytest.raises(UserError, match="works in tiles of 128x128 pixels: a clip of 32x32"):
        model_of("allegro").encode_decode(Clip(picture(0)[None]))


def test_tables_name_what_there_is() -> None:
    names = [known.name for known in KNOWN]
    assert len(set(names)) == len(names)
    for kind in {*TOLD, *legal.SIBLINGS, *(name for others in legal.SIBLINGS.values() for name in others)}:
        assert hasattr(diffusers, kind)


def test_the_table_can_be_typed_and_checked() -> None:
    for known in KNOWN:
        assert known.sources
        assert all(source.startswith("https://") for source in known.sources)
        for way in known.memory:
            assert way.dtype in ("", *DTYPES)
            assert way.offload in ("", *OFFLOADS)


@pytest.mark.parametrize("sources", [False, True])
def test_the_list_says_unknown_where_the_makers_are_silent(tmp_path: Path, sources: bool) -> None:
    written = io.StringIO()
    shelf.print_models([tmp_path], Console(file=written, width=300), sources=sources)
    text = written.getvalue()
    rows = {line.split()[0]: line for line in text.splitlines() if line and not line.startswith(" ")}
    for known in KNOWN:
        cells = known.parameters, known.size, known.num_frames, known.fps, known.licence, known.memory
        assert rows[known.name].split().count(shelf.UNKNOWN) == sum(not cell for cell in cells)
        assert all((source in text) == sources for source in known.sources)


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_is_whole_on_narrow_screens(tmp_path: Path, width: int) -> None:
    written = io.StringIO()
    shelf.print_models([tmp_path], Console(file=written, width=width))
    text = written.getvalue()
    assert "…" not in text
    told = {part.split()[0]: " ".join(part.split()) for part in text.split("\n\n")}
    for known in KNOWN:
        assert told[known.name].endswith(known.command())
        assert f"licence {known.licence}" in told[known.name]
        assert f"GPU memory {shelf.memory_of(known) or shelf.UNKNOWN}" in told[known.name]
    commands = {f"  {known.command()}" for known in KNOWN}
    assert all(len(line) <= width for line in text.splitlines() if line not in commands)


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is about machines without a GPU")
@pytest.mark.parametrize("gigabytes", [3, 30, 300])
def test_without_a_gpu_only_what_is_certainly_too_large_is_called_so(
    monkeypatch: pytest.MonkeyPatch, gigabytes: int
) -> None:
    monkeypatch.setattr(shelf, "available_memory", lambda: gigabytes * 10**9)
    _, too_large, others = shelf.held()
    for known in KNOWN:
        weights = known.weights_gigabytes(4)  # in fp32, as a processor has them
        larger = weights is not None and weights > gigabytes
        assert (f"{known.name} (" in too_large.value) == larger
        assert (f"{known.name} (" in others.value) == (not larger)


def test_what_is_unknown_of_a_checkpoint_is_left_to_its_family_and_its_pipeline() -> None:
    for known in KNOWN:
        told = native(known.name, "HunyuanVideoImageToVideoPipeline")
        assert (told.size, told.num_frames, told.fps) == (known.size, known.num_frames, known.fps or 24)


@pytest.mark.parametrize("gigabytes", [1.0, 12.0, 24.0, 50.0, 100.0])
def test_a_gpu_holds_exactly_what_its_makers_say_it_can(gigabytes: float) -> None:
    fit, perhaps, too_large, _ = ({*re.findall(r"[\w.-]+/[\w.-]+", one.value)} for one in shelf.held(gigabytes))
    for known in KNOWN:
        held = {one.foreign for one in known.memory if one.gigabytes <= gigabytes}
        assert (known.name in fit) == (False in held)
        assert (known.name in perhaps) == (held == {True})
        assert (known.name in too_large) == (bool(known.memory) and not held)


def test_what_this_program_has_no_option_for_is_promised_to_nobody() -> None:
    for known in KNOWN:
        for way in known.memory:
            assert way.foreign == any(word in way.how for word in ("--t5_cpu", "computed in"))
    fit, perhaps, *_ = shelf.held(12.0)
    assert "Wan-AI/Wan2.1-T2V-1.3B-Diffusers" in perhaps.value
    assert "--t5_cpu" not in fit.value


def test_a_checkpoint_that_was_fetched_in_part_is_called_so(
    monkeypatch: pytest.MonkeyPatch, folder_of: Folder, tmp_path: Path
) -> None:
    folder = tmp_path / "models--someone--wan" / "snapshots" / "abc"
    shutil.copytree(folder_of("wan"), folder)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = lambda: {one.option: one.what for one in shelf.on_this_disk([])}["hub:someone/wan"]  # noqa: E731
    assert found() == "WanPipeline, fetched"
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert found() == "WanPipeline, fetched in part"
    (folder / "model_index.json").write_text("{")
    assert found() == "damaged, fetched in part"


def test_models_on_this_disk_are_found_by_what_is_in_them(folder_of: Folder, tmp_path: Path) -> None:
    own = tmp_path / "runs" / "mine" / "model"
    own.mkdir(parents=True)
    (own / "model.json").write_text("{}")
    found = shelf.on_this_disk([tmp_path, folder_of("wan").parent])
    options = {one.option: one.what for one in found}
    assert options[str(own)] == "a model of vitascope"
    assert options[f"hub:{folder_of('wan')}"] == "WanPipeline"
    assert found[0].option == ""
