"""Laws of settings: changed by name, written, read back, and clear about what was wrong."""

from __future__ import annotations

import json
import sys

import pytest

from vitascope.config import Config, from_json, nearest, override, to_json
from vitascope.tasks import TaskMix
from vitascope.types import UserError


class Inner(Config):
    sizes: tuple[int, ...] = (1, 2)
    limit: int | None = 7


class Part(Config):
    name: str = "one"
    width: int = 4
    rate: float = 0.5
    on: bool = False
    limit: int | None = 7
    sizes: tuple[int, ...] = (1, 2)
    inner: tuple[Inner, ...] = ()


class Whole(Config):
    part: Part = Part()
    stages: tuple[Part, ...] = (Part(name="first"), Part(name="second"))


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("part.width", "8", 8),
        ("part.rate", "1e-3", 1e-3),
        ("part.rate", "2", 2.0),
        ("part.on", "true", True),
        ("part.name", "other", "other"),
        ("part.limit", "3", 3),
        ("part.limit", "null", None),
        ("part.sizes", "[3, 4, 5]", (3, 4, 5)),
        ("stages.second.width", "9", 9),
        ("stages.0.width", "9", 9),
    ],
)
def test_a_setting_is_changed_by_its_path_and_nothing_else_is(path, text, value):
    before = Whole()
    after = override(before, path, text)
    assert before == Whole()
    assert differences(before, after) == {canonical(path): value}


def test_groups_in_a_row_are_set_with_all_that_is_in_them():
    after = override(Whole(), "stages.second.inner", '[{"sizes": [5], "limit": null}, {}]')
    assert after.stages[1].inner == (Inner(sizes=(5,), limit=None), Inner())
    assert after.stages[0] == Whole().stages[0]


def test_a_group_becomes_another_one_by_the_name_of_its_class():
    class Owner(Config):
        part: Config = Part()

    assert override(Owner(), "part", "vitascope.tasks:TaskMix").part == TaskMix()
    with pytest.raises(UserError, match=r"name another group, such as .*:Part"):
        override(Owner(), "part", "8")
    with pytest.raises(UserError, match=r"'part' cannot be 'vitascope.tasks:TaskMix'"):
        override(Whole(), "part", "vitascope.tasks:TaskMix")


def canonical(path: str) -> str:
    return path.replace("second", "1")


def leaves(node, path: str = "") -> dict:
    if isinstance(node, Config):
        return {
            k: v for name in type(node).model_fields for k, v in leaves(getattr(node, name), f"{path}.{name}").items()
        }
    if isinstance(node, tuple) and node and isinstance(node[0], Config):
        return {k: v for i, item in enumerate(node) for k, v in leaves(item, f"{path}.{i}").items()}
    return {path[1:]: node}


def differences(before: Config, after: Config) -> dict:
    old = leaves(before)
    return {path: value for path, value in leaves(after).items() if value != old[path]}


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("part.widht", "8", "did you mean 'width'"),
        ("prat.width", "8", "did you mean 'part'"),
        ("zzz", "8", "known: part, stages"),
        ("stages.secnd.width", "8", "did you mean 'second'"),
        ("stages.7.width", "8", "no '7'"),
        ("part", "8", "group of settings; set one of: part.name, part.width"),
        ("part.width.deeper", "8", "plain value"),
        ("part.width", "wide", "cannot be 'wide'"),
        ("part.width", "2.5", "cannot be '2.5'"),
        ("part.width", "true", "cannot be 'true'"),
        ("part.on", "1", "cannot be '1'"),
        ("part.sizes", "[1, 2.5]", r"cannot be '\[1, 2.5\]': 1: Input should be a valid integer"),
        ("part.inner", '[{"sizes": ["x"]}]', r"cannot be .*: 0\.sizes\.0: Input should be a valid integer"),
        ("part.inner", '[{"size": [1]}]', r"cannot be .*: 0\.size: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_right_name(path, text, message):
    with pytest.raises(UserError, match=message):
        override(Whole(), path, text)


def test_settings_are_frozen_and_know_their_names():
    with pytest.raises(ValueError, match="frozen"):
        Part().width = 5
    with pytest.raises(ValueError, match="Extra inputs"):
        Part(widht=5)


@pytest.mark.parametrize("mix", [TaskMix(), TaskMix(text=0.1 + 0.2, image=1e-12)])
def test_settings_survive_a_file_exactly(mix):
    """Also inside tuples, which are how stages are kept."""
    assert from_json(json.loads(json.dumps(to_json(mix)))) == mix
    stages = (mix, TaskMix(image=2.0), (1, "two", None))
    assert from_json(json.loads(json.dumps(to_json(stages)))) == stages


def test_written_settings_name_their_class():
    assert to_json(TaskMix())["class"] == "vitascope.tasks:TaskMix"


def test_classes_of_others_are_read_if_they_are_loaded_and_never_cause_an_import():
    assert from_json(to_json(Whole())) == Whole()
    with pytest.raises(
        UserError, match=r"'this:Config' lives outside vitascope and is not loaded.*vitascope --code \./this\.py "
    ):
        from_json({"class": "this:Config"})
    assert "this" not in sys.modules


def test_numbers_are_finite():
    with pytest.raises(UserError, match=r"part\.rate"):
        override(Whole(), "part.rate", "1e999")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"class": "test_config:Missing"}, "outside vitascope"),
        ({"class": "test_config:override"}, "outside vitascope"),
        ({"class": "os:system"}, "only classes of vitascope"),
        ({"class": "vitascopes.tasks:TaskMix"}, "only classes of vitascope"),
        ({"class": "vitascope.tasks:Missing"}, "another version"),
        ({"class": "vitascope.missing:TaskMix"}, "another version"),
        ({"class": "vitascope.types:generator_for"}, "not a group of settings"),
        ({"class": "vitascope.tasks:torch"}, "not a group of settings"),
        ({"class": "vitascope.tasks:TaskMix", "txt": 1.0}, "TaskMix.txt"),
        ({"class": "vitascope.tasks:TaskMix", "text": "much"}, "TaskMix.text"),
    ],
)
def test_foreign_or_damaged_settings_are_refused(data, message):
    with pytest.raises(UserError, match=message):
        from_json(data)


def test_the_nearest_name_is_offered_or_all_of_them():
    assert nearest("huen", ["euler", "heun"]) == "did you mean 'heun'?"
    assert nearest("qqq", ["euler", "heun"]) == "known: euler, heun"
    assert nearest("qqq", []) == "known: none"
