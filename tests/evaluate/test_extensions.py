"""Laws of the measures of novel views, classes and long videos: the truth passes, what is wrong does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from vitascope import toyland
from vitascope.evaluate.classes import CLASSES, evaluate_classes, inception_score, true_clip
from vitascope.evaluate.lasting import Maker, evaluate_lasting, evenness, lasting_scenes, windows_of
from vitascope.evaluate.views import SIZE, evaluate_views, faces, held_out_solid
from vitascope.toyland.scene import LASTING
from vitascope.toyland.solids import NUM_VIEWS, render_views
from vitascope.types import Clip, Request, UserError, generator_for


def true_views(requests: Sequence[Request]) -> list[Clip]:
    return [Clip(render_views(held_out_solid(0, one.seed))) for one in requests]


def test_true_views_are_perfect_and_the_first_one_repeated_is_not() -> None:
    report = evaluate_views(true_views, num=6, batch=4, encode_decode=lambda clip: clip)
    told = report.told()
    for maker in ("made", "truth through the autoencoder"):
        assert [told[maker][name]["mean"] for name in ("psnr", "ssim", "faces")] == pytest.approx([100, 1, 1])
    repeated = told["first view repeated"]
    assert repeated["psnr"]["mean"] < 25 and repeated["faces"]["mean"] < 0.7
    low, high = repeated["psnr"]["interval"]
    assert low < repeated["psnr"]["mean"] < high
    assert json.loads(report.to_json())["protocol"]["num"] == 6
    report.print(Console(quiet=True))


def test_the_model_is_given_the_first_view_alone() -> None:
    def looks(requests: Sequence[Request]) -> list[Clip]:
        for one in requests:
            assert (one.prompt, list(one.frames), one.num_frames) == ("", [0], NUM_VIEWS)
            assert torch.equal(one.frames[0], render_views(held_out_solid(3, one.seed))[0])
        return [Clip(torch.zeros(NUM_VIEWS, 3, SIZE, SIZE)) for _ in requests]

    evaluate_views(looks, num=2, seed=3)
    with pytest.raises(UserError, match="7 frames of 64x64; this model made 4 frames"):
        evaluate_views(lambda requests: [Clip(torch.zeros(4, 3, SIZE, SIZE))], num=1)


def test_a_face_of_the_wrong_colour_counts_and_noise_does_not() -> None:
    solid = held_out_solid(0, 0)
    views = render_views(solid)
    noisy = (views + 0.05 * torch.randn(views.shape, generator=generator_for(0))).clamp(0, 1)
    swapped = render_views(replace(solid, colours=(*solid.colours[1::-1], *solid.colours[2:])))
    assert faces(noisy, views, solid).min() > 0.93
    assert faces(swapped, views, solid).max() < 0.6
    assert torch.equal(faces(views, views, solid), torch.ones(NUM_VIEWS, dtype=torch.float64))


@pytest.mark.parametrize("attribute", ["colour", "motion"])
def test_true_clips_show_their_class_and_score_nearly_the_number_of_classes(attribute: str) -> None:
    names = CLASSES[attribute]

    def perfect(requests: Sequence[Request]) -> list[Clip]:
        return [true_clip(attribute, one.prompt, one.seed + 10**6) for one in requests]

    num = len(names)
    told = evaluate_classes(perfect, attribute=attribute, num=num).told()
    for maker in told.values():
        assert maker["right"] == 1.0
        assert 0.85 * num < maker["inception_score"] <= num


def test_clips_of_one_class_or_of_none_score_one() -> None:
    red = true_clip("colour", "red", 0)
    report = evaluate_classes(lambda requests: [red for _ in requests], num=8)
    assert report.told()["made"]["inception_score"] == pytest.approx(1.0)
    assert report.told()["made"]["right"] == pytest.approx(1 / 8)
    empty = Clip(torch.zeros(16, 3, 64, 64))
    told = evaluate_classes(lambda requests: [empty for _ in requests], num=8).told()
    assert told["made"]["inception_score"] == pytest.approx(1.0)
    assert inception_score(torch.eye(4)) == pytest.approx(4.0)


def drawn(requests: Sequence[Request]) -> list[Clip]:
    """True clips of the scenes that `lasting_scenes` asks for."""
    scenes = {toyland.caption(scene): scene for scene in lasting_scenes(8, 0)}
    return [toyland.render(scenes[one.prompt], one.num_frames, 64, 64, one.fps) for one in requests]


def vanishing(requests: Sequence[Request]) -> list[Clip]:
    """From the middle on nothing is there but the background."""
    clips = drawn(requests)
    return [
        replace(clip, pixels=torch.cat([clip.pixels[:half], clip.pixels[:half, :, :1, :1].expand(-1, -1, 64, 64)]))
        for clip in clips
        for half in [clip.num_frames // 2]
    ]


def test_what_lasts_stays_at_the_top_and_what_vanishes_falls() -> None:
    makers = {"truth": Maker(drawn, borders=(16, 32, 48)), "vanishing": Maker(vanishing, {"by": "hand"}, (32, 48))}
    report = evaluate_lasting(makers, seconds=8.0, num=3)
    truth, gone = report.courses
    assert [len(clip) for clip in truth.clips] == [4, 4, 4]
    for name in ("permanence", "colour", "background"):
        assert min(truth.curve(name)) > 0.98
    assert min(gone.curve("permanence")[:2]) > 0.98
    assert max(gone.curve("permanence")[2:]) == max(gone.curve("colour")[2:]) == 0
    assert truth.across and len(truth.within) > len(truth.across)
    assert all(truth.across) and all(truth.within)
    report.print(Console(quiet=True))
    told = json.loads(report.to_json())["makers"]["vanishing"]
    assert told["made_with"] == {"by": "hand"}
    begun, *_, ended = told["parts"]
    assert begun["seconds"] == [0, 2] and begun["permanence"]["n"] == 3 and begun["permanence"]["interval"] is not None
    assert begun["permanence"]["mean"] > 0.98 and ended["permanence"]["mean"] == 0


def test_curves_are_drawn(tmp_path: Path) -> None:
    report = evaluate_lasting({"truth": Maker(drawn)}, seconds=4.0, num=1)
    assert report.plot().startswith(b"\x89PNG")
    assert b"<svg" in report.plot("svg")


def test_lasting_scenes_last() -> None:
    scenes = lasting_scenes(5, 0)
    assert all(scene.things[0].motion in LASTING for scene in scenes)
    assert scenes != lasting_scenes(5, 1)
    with pytest.raises(UserError, match="at least 2"):
        evaluate_lasting({"truth": Maker(drawn)}, seconds=1.0)
    with pytest.raises(UserError, match="got 4, 4, 0 and nan"):
        evaluate_lasting({"truth": Maker(drawn)}, seconds=float("nan"))
    with pytest.raises(UserError, match="seed from 0 to 9999"):
        evaluate_lasting({"truth": Maker(drawn)}, seed=10_000)


def test_windows_are_two_seconds_and_a_jump_shows_at_its_frame_alone() -> None:
    scene = next(one for one in lasting_scenes(40, 0) if one.things[0].motion == "stays still")
    clip = toyland.render(scene, 48, 64, 64, 8.0)
    assert [window.num_frames for window in windows_of(clip)] == [16, 16, 16]
    jumped = replace(clip, pixels=torch.cat([clip.pixels[:24], clip.pixels[24:].roll(6, -1)]))
    across, within = evenness(jumped, scene, [24])
    assert not any(across) and all(within)
    across, within = evenness(jumped, scene, [12])
    assert all(across) and not all(within)
    assert evenness(clip, scene, []) == ([], [True] * len(evenness(clip, scene, [])[1]))
