"""Laws of recipes: a name gives a run, whatever kind of name; what is wrong with it is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tiny import tiny_run
from vitascope import media
from vitascope.config import from_json, to_json
from vitascope.recipes import laptop, resolve
from vitascope.recipes.judged import judged_by_toyland
from vitascope.recipes.toyland import ToylandConfig
from vitascope.recipes.watch import watcher
from vitascope.sample.model import Model
from vitascope.system import Card
from vitascope.train.stages import Run, TokenizerStage, VideoStage, initialised
from vitascope.types import Clip, Request, UserError

NAMES = [f"laptop:{name}" for name in laptop.RECIPES]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_a_value_that_survives_its_file(name: str, tmp_path: Path) -> None:
    run = resolve(name)
    assert run == resolve(name)
    (tmp_path / "run.json").write_text(json.dumps(to_json(run)))
    assert resolve(str(tmp_path / "run.json")) == run
    assert from_json(to_json(run)) == run


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_describes_a_model_and_fits_its_own_data(name: str) -> None:
    run = resolve(name)
    with torch.device("meta"):
        model = run.model.build()
    stages = {stage.name: stage for stage in run.stages}
    assert len(stages) == len(run.stages)
    for stage in stages.values():
        for pattern in getattr(stage, "fresh", ()):
            assert pattern.endswith("*")
    assert run.data.size == run.model.defaults.size[0]  # type: ignore[attr-defined]
    assert run.data.num_frames == run.model.defaults.num_frames  # type: ignore[attr-defined]
    for prompt in run.preview_prompts:
        assert model.text.count(prompt) <= model.text.max_tokens


def test_a_function_in_a_file_is_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "json.py"  # a name that must not hide a module
    file.write_text(
        "from __future__ import annotations\n"
        "from vitascope.config import Config\n"
        "from vitascope.recipes import resolve\n"
        "class Mine(Config):\n    size: int = 3\n"
        "def run():\n    Mine(size=4)\n    return resolve('laptop:stiv').model_copy(update={'seed': 7})\n"
        "def other():\n    return 3\n"
    )
    assert resolve(str(file)).seed == resolve(f"{file}:run").seed == 7
    assert json.dumps({}) == "{}"
    with pytest.raises(UserError, match=r"gives a int; a recipe is a function that returns a Run"):
        resolve(f"{file}:other")
    with pytest.raises(UserError, match="no function 'runn'; did you mean 'run'"):
        resolve(f"{file}:runn")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("laptop:stvi", "did you mean 'laptop:stiv'"),
        ("laptop", "laptop:stiv"),
        ("", "laptop:stiv"),
        ("./absent.py:run", "there is no file 'absent.py'"),
        ("absent.json", "no readable run"),
    ],
)
def test_a_name_of_nothing_is_one_line_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        resolve(name)
    assert "\n" not in str(caught.value)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for content, said in (("{", "no readable run"), ("[1]", "returns a Run"), ('{"class": "os:path"}', "trusted")):
        path.write_text(content)
        with pytest.raises(UserError, match=said):
            resolve(str(path))


def test_toyland_gives_clips_that_depend_on_their_number_alone() -> None:
    source, again = (ToylandConfig(size=16, num_frames=2, num_captions=3).build() for _ in range(2))
    assert source.identity == again.identity
    assert source.identity != ToylandConfig(size=16, num_frames=2, num_captions=2).build().identity
    assert torch.equal(source.clip(5).pixels, again.clip(5).pixels)
    assert not torch.equal(source.clip(5).pixels, source.clip(6).pixels)
    assert source.captions(5) == again.captions(5)
    assert len(source.captions(5)) == 3
    assert source.captions(5)[0] == source.clip(5).caption
    for draw, side in ((source.pictures, 16), (source.details, 8)):
        assert draw(3, 5).shape == (5, 3, side, side)
        assert torch.equal(draw(3, 5), draw(3, 5))
        assert not torch.equal(draw(3, 5), draw(4, 5))


def tiny() -> tuple[Run, Model]:
    run = tiny_run(preview_prompts=("a red circle", "a blue square"))
    model = initialised(run.model, 0).eval().requires_grad_(False)
    return run, Model(model, Card(run.model, "", {}))


def test_a_watch_shows_prompts_as_pictures_and_videos_and_asks_the_oracle(tmp_path: Path) -> None:
    run, model = tiny()
    watch = watcher(run.preview_prompts, num_judged=2)
    autoencoder = TokenizerStage(name="a", steps=1, batch=1)
    pictures, videos = (VideoStage(name="v", steps=1, batch=1, images=images) for images in (True, False))
    assert watch(model.system, autoencoder, tmp_path, "a-000001") == {}
    assert not any(tmp_path.iterdir())
    assert watch(model.system, pictures, tmp_path, "p-000001") == {}
    assert {path.name for path in tmp_path.iterdir()} == {"p-000001.png"}
    scores = watch(model.system, videos, tmp_path, "v-000001")
    assert scores
    assert all(name.startswith("oracle/") and 0 <= rate <= 1 for name, rate in scores.items())
    shown = media.read_video(tmp_path / "v-000001.mp4")
    assert shown.pixels.shape == (4, 3, 16, 32)
    assert (tmp_path / "v-000001.png").is_file()


def test_a_judged_model_samples_as_told_and_knows_its_ceiling() -> None:
    _, model = tiny()
    generate, encode_decode = judged_by_toyland(model, steps=2, guidance=1.0, solver="euler")
    requests = [Request("a red circle", seed=1), Request("a blue square", seed=2)]
    clips = generate(requests)
    assert [clip.caption for clip in clips] == ["a red circle", "a blue square"]
    assert {clip.settings["steps"] for clip in clips} == {2}
    clip = Clip(torch.rand(4, 3, 16, 16), caption="x")
    assert encode_decode(clip).pixels.shape == clip.pixels.shape
    assert encode_decode(clip).caption == "x"
