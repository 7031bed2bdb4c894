"""The network that comes with the package: what it knows, how it learns, and where its distance stands."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from vitascope import toyland
from vitascope.evaluate.catalogue import METRICS, Networks
from vitascope.evaluate.corruptions import AMOUNTS, CORRUPTIONS
from vitascope.evaluate.measured import Features
from vitascope.evaluate.metrics.frechet import distance_of_rows
from vitascope.evaluate.metrics.metric import Bootstrap, SetMetric
from vitascope.evaluate.networks.toyland import ANY_OF, ONE_OF, ToylandNetwork, load_toyland, truth
from vitascope.evaluate.protocol import Protocol
from vitascope.objectives.contrast import ContrastConfig
from vitascope.recipes import toyland_network as recipe
from vitascope.recipes.toyland_matcher import Matcher
from vitascope.toyland.scene import COLOURS, Scene
from vitascope.types import UserError, generator_for

NETWORK, ABOUT = load_toyland()


def scenes(first: int, num: int) -> list[Scene]:
    return [
        toyland.sample(random.Random(toyland.held_out_seed("seen", n)), None, "seen") for n in range(first, first + num)
    ]


@pytest.fixture(scope="module")
def clips() -> list[torch.Tensor]:
    return [recipe.drawn(scene) for scene in scenes(5_000, 64)]


@pytest.fixture(scope="module")
def reader():
    return Networks({}, Protocol()).toyland


def test_it_is_as_often_right_as_its_record_says() -> None:
    told = json.loads((files("vitascope.evaluate.networks") / "toyland.json").read_text())
    right = recipe.accuracies(NETWORK, "seen", 64)
    assert right.keys() == told["right"]["seen"].keys() == {*ONE_OF, *ANY_OF}
    for question, share in told["right"]["seen"].items():
        # The first 64 of the 128 scenes of the record: four standard errors of their mean.
        assert right[question] == pytest.approx(share, abs=max(0.05, 4 * (share * (1 - share) / 64) ** 0.5))


def test_it_is_small_and_named_for_what_it_is() -> None:
    path = files("vitascope.evaluate.networks") / "toyland.safetensors"
    assert len(path.read_bytes()) < 2_000_000
    assert "no I3D" in ABOUT["network"] and not any("fvd" in name for name in METRICS if "toyland" in name)


def test_a_scene_of_each_kind_has_an_answer_to_each_question() -> None:
    for kind in ONE_OF["kind"]:
        answers = truth(toyland.sample(random.Random(kind), kind))
        assert answers["kind"] == {kind}
        for question, known in {**ONE_OF, **ANY_OF}.items():
            assert answers[question] and answers[question] <= set(known)
            assert question in ANY_OF or len(answers[question]) == 1


def test_a_mirrored_lesson_is_the_lesson_of_the_mirrored_world() -> None:
    (scene,) = [one for one in scenes(0, 200) if one.camera == "pans left"][:1]
    given = recipe.lesson([scene])
    (camera,) = given.mirrored().one_of["camera"].tolist()
    assert ONE_OF["camera"][camera] == "pans right"
    thing = toyland.Thing("heart", "red", "large", "moves left", radius=0.3, x=0.4, amount=0.9)
    turned = replace(thing, motion="moves right", x=-0.4)
    one, other = (recipe.lesson([Scene((each,), "black")]) for each in (thing, turned))
    assert torch.equal(one.mirrored().maps, other.maps) and torch.equal(one.mirrored().clips, other.clips)
    assert all(torch.equal(one.mirrored().any_of[name], other.any_of[name]) for name in ANY_OF)


def test_maps_say_what_is_seen_at_each_place() -> None:
    for kind in ("one", "camera"):
        scene = toyland.sample(random.Random(f"map {kind}"), kind)
        thing = replace(scene.things[0], shape="circle", motion="moves up", size="large", radius=0.35)
        scene = replace(scene, things=(thing,))
        given = recipe.lesson([scene])
        colours = given.maps[0, list(recipe.MAPPED).index("colours")]
        times, rows, columns = colours.nonzero(as_tuple=True)
        assert len(times)
        wanted = torch.tensor(list(COLOURS.values()))[colours[times, rows, columns] - 1]
        seen = given.clips[0, 2 * times, :, 8 * rows + 4, 8 * columns + 4]
        assert ((seen.int() - wanted).abs().amax(1) < 8).float().mean() > 0.9


def test_a_few_steps_teach_it_something_and_the_seed_decides_what() -> None:
    one, other = (recipe.train(num_scenes=8, steps=(8, 8, 8), batch=(4, 4, 4), seed=seed) for seed in (0, 0))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    book, student = recipe.lesson(scenes(0, 4)), recipe.Student(ToylandNetwork())
    recipe.initialise(student, 1)
    before = student.loss(book).item()
    recipe.learn_places(student, book, steps=10, batch=4, seed=0)
    after = student.loss(book).item()
    assert after < 0.8 * before


def test_features_do_not_depend_on_the_batch(clips, reader) -> None:
    together = reader(clips[:8])
    alone = torch.cat([reader([clip]) for clip in clips[:8]])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["noise", "freeze"])
def test_the_distance_from_a_set_to_its_damaged_self_grows_with_the_damage(kind: str, clips, reader) -> None:
    clean, distances = reader(clips[:16]), []
    for amount in (0.2, 1.0):
        hurt = [CORRUPTIONS[kind](clip, amount, generator_for(0, kind, n)) for n, clip in enumerate(clips[:16])]
        distances.append(distance_of_rows(clean, reader(hurt), 1))
    assert 0 < 1.5 * distances[0] < distances[1]


def test_it_is_a_metric_with_floor_and_extrapolation(clips, reader) -> None:
    metric = METRICS["frechet-toyland"]("frechet-toyland", Networks({}, Protocol()))
    assert isinstance(metric, SetMetric)
    halves = [
        Features(tuple(map(str, range(32))), ("",) * 32, "", reader(part), torch.arange(32))
        for part in (clips[:32], clips[32:])
    ]
    measured = metric.measure(*halves, Protocol(), Bootstrap(times=10))
    assert {"floor", "at infinite n"} <= measured.beside.keys()
    assert measured.protocol["file"] == "toyland.safetensors" and len(measured.protocol["sha256"]) == 64


def test_a_file_that_is_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    with pytest.raises(UserError, match=r"no Toyland feature network.*toyland_network"):
        load_toyland(path)
    path.write_bytes(b"text")
    with pytest.raises(UserError, match="no Toyland feature network"):
        load_toyland(path)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_damage_grows_with_its_amount_and_leaves_the_clip_alone(kind: str, clips) -> None:
    clip = clips[0]
    before = clip.clone()
    hurt = [CORRUPTIONS[kind](clip, amount, generator_for(3, kind)) for amount in AMOUNTS]
    assert torch.equal(clip, before) and all(one.shape == clip.shape and one.dtype == torch.uint8 for one in hurt)
    moving = torch.arange(16, dtype=torch.uint8)[:, None, None, None].expand(16, 3, 32, 32) * 10
    if kind in ("frame shuffle", "freeze", "drop"):
        changed = [CORRUPTIONS[kind](moving, amount, generator_for(3, kind)) != moving for amount in AMOUNTS]
        shares = [one.float().mean().item() for one in changed]
    else:
        shares = [(one.float() - clip.float()).abs().mean().item() for one in hurt]
    assert shares == sorted(shares) and shares[0] > 0


def test_time_is_damaged_frame_by_frame() -> None:
    moving = torch.arange(16, dtype=torch.uint8)[:, None, None, None].expand(16, 3, 8, 8)
    order = {kind: CORRUPTIONS[kind](moving, 1.0, generator_for(0))[:, 0, 0, 0].tolist() for kind in CORRUPTIONS}
    assert sorted(order["frame shuffle"]) == list(range(16))
    assert all(here != there for here, there in enumerate(order["frame shuffle"]))
    assert order["freeze"] == [0] * 16
    assert order["drop"] == sorted(order["drop"]) and len(set(order["drop"])) == 4


def test_the_matcher_learns_which_caption_is_whose() -> None:
    torch.manual_seed(0)
    matcher, features = Matcher(), torch.randn(8, 64)
    captions = [
        f"a {colour} {shape} spins" for colour in ("red", "blue") for shape in ("star", "cross", "ring", "heart")
    ]
    optimizer = torch.optim.AdamW(matcher.parameters(), 5e-3)
    for _ in range(30):
        optimizer.zero_grad()
        ContrastConfig().build().loss(matcher.video(features), matcher.of_captions(captions)).total.backward()
        optimizer.step()
    own = matcher.cosines(features, captions)
    assert (own > matcher.cosines(features, captions[1:] + captions[:1])).all()
