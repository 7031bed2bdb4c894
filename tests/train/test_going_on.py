"""Laws of going on with a run: no stage loses what it has learned, and what does not fit it any more is told."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from tiny import tiny_run
from vitascope.config import override, to_json
from vitascope.system import VideoModel
from vitascope.train import checkpoint
from vitascope.train.folder import refuse_folder
from vitascope.train.initialise import Origin
from vitascope.train.loop import fit
from vitascope.train.stages import Run, Stage, TokenizerStage, Watch
from vitascope.types import UserError


class Killed(BaseException):
    """The process ends here."""


def stop_at(step: int) -> Watch:
    def watch(model: VideoModel, stage: Stage, folder: Path, seen: str) -> dict[str, float]:
        if seen.endswith(f"-{step:06d}"):
            raise Killed
        return {}

    return watch


def two_branches() -> Run:
    first = TokenizerStage(name="first", steps=2, batch=1)
    other = TokenizerStage(name="other", steps=6, batch=1, begins=(Origin(of="first"),))
    return tiny_run(first, TokenizerStage(name="second", steps=6, batch=1), other)


def step_of(folder: Path, stage: str) -> int:
    state = checkpoint.load(folder / "checkpoints" / stage)
    assert state is not None
    return int(state["progress"]["step"])


def test_a_stage_keeps_its_progress_while_another_is_trained(tmp_path: Path) -> None:
    run = two_branches()
    fit(run, tmp_path, only="first")
    assert not (tmp_path / "checkpoints" / "first").exists()  # its weights are in `stages`
    with pytest.raises(Killed):
        fit(run, tmp_path, only="other", resume=True, watch=stop_at(4))
    with pytest.raises(Killed):
        fit(run, tmp_path, only="second", resume=True, watch=stop_at(3))
    assert (step_of(tmp_path, "other"), step_of(tmp_path, "second")) == (4, 3)
    fit(run, tmp_path, resume=True)
    written = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for stage in ("second", "other"):
        assert [one["step"] for one in written if one["stage"] == stage] == [1, 2, 3, 4, 5, 6]


def test_steps_that_are_made_again_are_told_once_wherever_they_stand(tmp_path: Path) -> None:
    run = two_branches()
    fit(run, tmp_path, only="first")
    lines = [{"stage": "other", "step": 1}, {"stage": "second", "step": 9}, {"made": "by hand"}, ["a", "list"]]
    with open(tmp_path / "log.jsonl", "a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
        file.write('{"stage": "first", "st')
    fit(run, tmp_path, only="other", resume=True)
    written = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [one for one in written if one in lines] == lines[1:]
    assert [one["step"] for one in written if isinstance(one, dict) and one.get("stage") == "other"] == [*range(1, 7)]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("stages.first.reconstruction.adversarial", "0.5"),
        ("stages.first.optimizer", "vitascope.train.optim:AdafactorConfig"),
        ("stages.first.frozen", '["tokenizer.encoder.*"]'),
        ("model.tokenizer.widths", "[8, 16]"),
    ],
)
def test_a_checkpoint_that_other_settings_wrote_is_told(tmp_path: Path, setting: str, value: str) -> None:
    run = two_branches()
    with pytest.raises(Killed):
        fit(run, tmp_path, watch=stop_at(1))
    changed = override(run, setting, value)
    (tmp_path / "run.json").write_text(json.dumps(to_json(changed)))  # as a refusal says that it may be edited
    ending = setting.removeprefix("stages.").removeprefix("model.")
    with pytest.raises(UserError, match=rf"checkpoint of first was written with other settings: {ending}.*remove"):
        fit(changed, tmp_path, resume=True)


def test_what_may_change_in_the_middle_of_a_stage_does(tmp_path: Path) -> None:
    run = two_branches()
    with pytest.raises(Killed):
        fit(run, tmp_path, watch=stop_at(1))
    changed = override(override(run, "stages.first.learning_rate", "0.5"), "stages.first.batch", "2")
    (tmp_path / "run.json").write_text(json.dumps(to_json(changed)))
    fit(changed, tmp_path, resume=True)


def test_a_run_that_has_learned_nothing_holds_no_folder(tmp_path: Path) -> None:
    run = tiny_run(TokenizerStage(name="first", steps=2, batch=1))
    with pytest.raises(UserError, match="was over before its first step"):
        fit(run.model_copy(update={"minutes": 1e-9}), tmp_path)
    fit(run, tmp_path)
    with pytest.raises(UserError, match="already holds a run"):
        fit(run, tmp_path)


def test_a_folder_whose_model_is_left_is_not_written_over(tmp_path: Path) -> None:
    run = tiny_run(TokenizerStage(name="first", steps=1, batch=1))
    fit(run, tmp_path)
    for gone in ("checkpoints", "stages"):
        shutil.rmtree(tmp_path / gone, ignore_errors=True)
    with pytest.raises(UserError, match="already holds a run"):
        fit(run, tmp_path)


def test_a_command_that_is_told_can_be_pasted_whatever_its_folder_is_called(tmp_path: Path) -> None:
    run, folder = two_branches(), tmp_path / "my first run's"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(to_json(run)))
    with pytest.raises(UserError, match="was begun with other settings") as caught:
        refuse_folder(folder, override(run, "seed", "1"), resume=True)
    first, *_, train, file, out, where, resume = shlex.split(str(caught.value).partition("as the recipe: ")[2])
    assert (first, train, file, out) == ("vitascope", "train", str(folder / "run.json"), "--out")
    assert (where, resume) == (str(folder), "--resume")
