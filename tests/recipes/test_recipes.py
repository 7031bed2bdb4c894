"""Laws of recipes: a name gives a run, whatever kind of name; what is wrong with it is said."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

from tiny import tiny_run
from vitascope import media
from vitascope.card import Card
from vitascope.config import from_json, override, to_json
from vitascope.evaluate import questions
from vitascope.evaluate.toyland import evaluate
from vitascope.objectives.flow import FlowConfig
from vitascope.recipes import laptop, resolve
from vitascope.recipes.judged import Judged
from vitascope.recipes.toyland import ToylandConfig
from vitascope.recipes.watch import watcher
from vitascope.sample.loading import load
from vitascope.sample.model import OwnModel
from vitascope.toyland import caption
from vitascope.train.initialise import initialised
from vitascope.train.loop import fit
from vitascope.train.stages import Run, TokenizerStage, VideoStage
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
    for stage in run.stages:
        here = run.at(stage)
        with torch.device("meta"):
            model = here.model.build()
        size = here.data.size  # type: ignore[attr-defined]
        assert (size if isinstance(size, tuple) else (size, size)) == here.model.defaults.size
        assert here.data.num_frames == here.model.defaults.num_frames  # type: ignore[attr-defined]
        for prompt in run.preview_prompts:
            assert model.text.count(prompt) <= model.text.max_tokens


@pytest.mark.parametrize("name", ["laptop:stiv", "laptop:ladder"])  # others: test_worlds.py, data/test_commands.py
def test_a_laptop_recipe_itself_learns_is_saved_and_samples(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitascope.train.stages.BATCHES_MEASURED", 1)
    run = resolve(name)
    for stage in run.stages:
        small = {"steps": 2, "batch": 1}
        if isinstance(stage, VideoStage):
            small |= {"num_clips": 2, "pictures_beside": min(stage.pictures_beside, 1)}
        for name, value in small.items():
            run = override(run, f"stages.{stage.name}.{name}", str(value))
    fit(run, tmp_path / "run")
    clip = load(tmp_path / "run" / "model").generate(laptop.PROMPTS[0], steps=1)
    data = run.at(run.stages[-1]).data
    assert (clip.num_frames, clip.size) == (data.num_frames, (data.size, data.size))  # type: ignore[attr-defined]
    assert clip.pixels.isfinite().all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size = 3\ndef run(:\n", "line 2: "),
        ("import absent_module\n", "line 1: ModuleNotFoundError: No module named 'absent_module'"),
        ("def run():\n    return 1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
        (
            "from vitascope.backbones.stiv import StivConfig\ndef run():\n    return StivConfig(depth=-1)\n",
            r"line 3: ValidationError: StivConfig\.depth: Input should be greater than .*\(got -1\)",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_that_says_where(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=rf"mine\.py', {said}") as caught:
        resolve(str(tmp_path / "mine.py"))
    assert "\n" not in str(caught.value)


def test_a_function_in_a_file_is_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "recipe.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from vitascope.config import Config\n"
        "from vitascope.recipes import resolve\n"
        "class Mine(Config):\n    size: int = 3\n"
        "def run():\n    Mine(size=4)\n    return resolve('laptop:stiv').model_copy(update={'seed': 7})\n"
        "def other():\n    return 3\n"
    )
    assert resolve(str(file)).seed == resolve(f"{file}:run").seed == 7
    with pytest.raises(UserError, match=r"gives a int; a recipe is a function that returns a Run"):
        resolve(f"{file}:other")
    with pytest.raises(UserError, match="no function 'runn'; did you mean 'run'"):
        resolve(f"{file}:runn")


RECIPE = """
from vitascope.config import Config
from vitascope.recipes import resolve
from beside import SEED
class Data(Config):
    path: str = __file__
def run():
    return resolve("laptop:stiv").model_copy(update={"seed": SEED, "data": Data()})
"""


def test_a_recipe_imports_what_lies_beside_it_and_is_the_module_that_others_import(tmp_path: Path) -> None:
    (tmp_path / "beside_a_recipe.py").write_text("SEED = 7")
    (tmp_path / "my_recipe.py").write_text(RECIPE.replace("beside", "beside_a_recipe"))
    run = resolve(str(tmp_path / "my_recipe.py"))
    assert run.seed == 7
    assert to_json(run)["data"]["class"] == "my_recipe:Data"
    assert type(run.data) is importlib.import_module("my_recipe").Data
    assert resolve(str(tmp_path / "my_recipe.py")) == run


def test_two_files_of_one_name_are_never_taken_for_each_other(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "my_recipe.py").write_text(RECIPE.replace("from beside import SEED", "SEED = 7"))
    resolve(str(tmp_path / "one/my_recipe.py"))
    with pytest.raises(UserError, match=r"the module 'my_recipe' is '.*one/my_recipe\.py' already; rename"):
        resolve(str(tmp_path / "other/my_recipe.py"))
    (tmp_path / "json.py").write_text(RECIPE)
    with pytest.raises(UserError, match=r"the module 'json' is '.*' already; rename"):
        resolve(str(tmp_path / "json.py"))
    (tmp_path / "my.recipe.py").write_text(RECIPE)
    with pytest.raises(UserError, match="cannot be imported"):
        resolve(str(tmp_path / "my.recipe.py"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("laptop:stvi", "did you mean 'laptop:stiv'"),
        ("laptop", "did you mean 'laptop:"),
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


def test_the_wording_tells_nothing_of_the_scene() -> None:
    """Scenes of one thing are said canonically as often as all others."""
    source = ToylandConfig().build()
    canonical: dict[bool, list[bool]] = {True: [], False: []}
    for index in range(400):
        first, *others = source.captions(index)
        canonical[source.scene(index).kind == "one"] += [other == first for other in others]
    shares = [sum(found) / len(found) for found in canonical.values()]
    assert shares == pytest.approx([0.4, 0.4], abs=0.08)


def tiny() -> tuple[Run, OwnModel]:
    run = tiny_run(preview_prompts=("a red circle", "a blue square"))
    model = initialised(run.model, 0).eval().requires_grad_(False)
    return run, OwnModel(model, Card(run.model, "", {}))


def test_a_watch_shows_prompts_as_pictures_and_videos_and_asks_the_oracle(tmp_path: Path) -> None:
    run, model = tiny()
    watch = watcher(run.preview_prompts, num_judged=2)
    autoencoder = TokenizerStage(name="a", steps=1, batch=1)
    pictures, videos = (VideoStage(name="v", steps=1, batch=1, images=images) for images in (True, False))
    assert watch(model.system, autoencoder, tmp_path, "a-000001") == {}
    assert not any(tmp_path.iterdir())
    assert watch(model.system, pictures, tmp_path, "p-000001") == {}
    assert {path.name for path in tmp_path.iterdir()} == {"p-000001.png"}
    said: list[str] = []
    hook = model.system.text.register_forward_pre_hook(lambda _, given: said.extend(given[0]))
    scores = watch(model.system, videos, tmp_path, "v-000001")
    hook.remove()
    asked = set(said) - {"", *run.preview_prompts}
    assert asked
    # What is looked at while training must not be what reports judge.
    assert asked.isdisjoint(caption(questions.test_scene("seen", "one", number)) for number in range(16))
    assert scores
    assert all(name.startswith("oracle/") and 0 <= rate <= 1 for name, rate in scores.items())
    shown = media.read_video(tmp_path / "v-000001.mp4")
    assert shown.pixels.shape == (4, 3, 16, 32)
    assert (tmp_path / "v-000001.png").is_file()


def test_a_judged_model_samples_as_told_and_knows_its_ceiling() -> None:
    _, model = tiny()
    judged = Judged(model, steps=2, guidance=1.0, solver="euler")
    requests = [Request("a red circle", seed=1), Request("a blue square", seed=2)]
    clips = judged.generate(requests)
    assert [clip.caption for clip in clips] == ["a red circle", "a blue square"]
    assert {clip.settings["steps"] for clip in clips} == {2}
    clip = Clip(torch.rand(4, 3, 16, 16), caption="x")
    assert judged.encode_decode(clip).pixels.shape == clip.pixels.shape
    assert judged.encode_decode(clip).caption == "x"


def test_a_judged_model_says_its_weights_and_all_settings_of_its_sampling() -> None:
    _, model = tiny()
    defaults = model.system.config.defaults
    own, told = Judged(model).made_with, Judged(model, steps=2, solver="euler").made_with
    assert own["model"] == told["model"] == model.card.sha256
    assert (own["steps"], own["guidance"], own["solver"]) == (defaults.steps, defaults.guidance, defaults.solver)
    assert {name for name in own if own[name] != told[name]} == {"steps", "solver"}
    assert own.keys() - {"model"} == set(type(defaults).model_fields) - {"size", "num_frames", "fps"}
    assert json.loads(json.dumps(own)) == own


def test_a_model_of_another_size_is_asked_for_what_toyland_judges() -> None:
    _, model = tiny()
    judged = Judged(model, steps=1, guidance=1.0, solver="euler")
    report = evaluate(judged.generate, task="image", num=1, encode_decode=judged.encode_decode)
    assert report.returned.psnr is not None and report.returned_best.psnr is not None


def test_what_the_docs_say_of_the_recipe_is_what_it_does() -> None:
    text = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text()
    run = resolve("laptop:stiv")
    t2i, t2v, ti2v, refine, mend = (stage for stage in run.stages if isinstance(stage, VideoStage))
    assert t2v.batch == ti2v.batch and t2v.num_clips == ti2v.num_clips
    assert (
        f"| {t2i.steps:,} steps of {t2i.batch} images (T2I) out of {t2i.num_clips:,} clips, {t2v.steps:,}, "
        f"{ti2v.steps:,}, {refine.steps:,} and {mend.steps:,} of {t2v.batch} clips (T2V, TI2V, the latter again in "
        f"stages refine and mend) out of {t2v.num_clips:,} (mend: {mend.num_clips:,}) |"
    ) in text
    beside = (
        f"{ti2v.pictures_beside} single pictures, in stages refine and mend {mend.pictures_beside} (`pictures_beside`)"
    )
    assert f"{beside}, of which {100 * ti2v.first_frames:.0f} % are first frames" in text
    assert ti2v.first_frames == refine.first_frames == mend.first_frames and ti2v.pictures == mend.pictures
    assert (t2i.pictures, ti2v.pictures) == (
        4,
        2,
    ) and "four frames of a clip share one (`pictures`), two of those beside clips" in text
    assert refine.pictures_beside == mend.pictures_beside
    assert mend.lesson == refine.lesson == ti2v.lesson and mend.learning_rate == refine.learning_rate
    assert f"{ti2v.learning_rate:g} and then {refine.learning_rate:g} (TI2V)" in text
    levels = [run.at(stage).model.objective for stage in (t2i, t2v, ti2v)]
    assert all(isinstance(one, FlowConfig) for one in levels)
    (low, _), (high, wide), (middle, wider) = ((one.mean, one.spread) for one in levels)  # type: ignore[attr-defined]
    assert f"mean {low} (T2I), {high} and spread {wide} (T2V), {middle} and spread {wider}" in text
    asked = run.model.defaults
    assert f"| guidance 7.5 | {asked.guidance:g}, with {asked.steps} steps of DPM++ 2M" in text
    none = 1 - (1 - ti2v.lesson.tasks.text) * (1 - ti2v.lesson.frame_dropout)
    neither = none * ti2v.lesson.text_dropout
    assert (
        f"none in {100 * none:.0f} % ({100 * ti2v.lesson.tasks.text:.0f} % of the mix, and 8 % of the rest), "
        f"neither in {100 * neither:.1f} %" in text
    )
