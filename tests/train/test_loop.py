"""Laws of training: resumable bit for bit, stoppable at any moment, loud about what is broken, within its time."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from tiny import StripesConfig, tiny_run
from vitascope import cli
from vitascope.atomic import locked
from vitascope.card import load_model, read_card
from vitascope.config import override, to_json
from vitascope.errors import NonFinite
from vitascope.system import VideoModel
from vitascope.train import checkpoint, loop
from vitascope.train.diagnosis import culprit
from vitascope.train.folder import differences
from vitascope.train.initialise import initialised
from vitascope.train.learner import autocast
from vitascope.train.log import Log, Speed
from vitascope.train.loop import fit
from vitascope.train.muon import MuonConfig, hidden_matrices
from vitascope.train.optim import AdafactorConfig
from vitascope.train.stages import Run, Stage, TokenizerStage, VideoStage
from vitascope.train.stop import Stopped, StopRequest
from vitascope.types import Loss, UserError

TESTS = Path(__file__).parents[1]


class Killed(BaseException):
    """The process ends here."""


def whole_run(**changes: Any) -> Run:
    """Both kinds of stage, all optimizers; wide enough that Muon finds hidden matrices."""
    run = tiny_run(
        TokenizerStage(name="autoencoder", steps=5, batch=2, warmup_steps=2),
        VideoStage(name="pictures", steps=5, batch=2, warmup_steps=2, num_clips=8, images=True, optimizer=MuonConfig()),
        VideoStage(
            name="videos",
            steps=5,
            batch=2,
            warmup_steps=2,
            num_clips=8,
            optimizer=AdafactorConfig(),
            fresh=("backbone.blocks.*.time.*",),
        ),
        **changes,
    )
    for width in ("text.width", "backbone.text_width", "backbone.width"):
        run = override(run, f"model.{width}", "64")
    return run


def at(name: str, error: BaseException | None = None) -> Any:
    """A watch that ends the process, as it were, when it is shown `name`."""

    def watch(model: VideoModel, stage: Stage, folder: Path, seen: str) -> dict[str, float]:
        if seen == name:
            raise error or Killed
        return {}

    return watch


def states(folder: Path) -> dict[str, Tensor]:
    return load_model(folder / "model").state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def told(folder: Path) -> list[dict[str, Any]]:
    """What was written down, but for how long it took."""
    return [{name: value for name, value in one.items() if name != "per_second"} for one in lines(folder)]


def curve(folder: Path, stage: str) -> list[tuple[int, float]]:
    """The loss as TensorBoard shows it."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard" / stage)).Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    fit(whole_run(), folder, cache_root=cache)
    return folder


@pytest.mark.parametrize("moment", ["autoencoder-000002", "autoencoder-000005", "pictures-000001", "videos-000003"])
def test_a_run_that_was_killed_and_resumed_is_the_same_bit_for_bit(
    tmp_path: Path, cache: Path, straight: Path, moment: str
) -> None:
    with pytest.raises(Killed):
        fit(whole_run(), tmp_path, watch=at(moment), cache_root=cache)
    torch.manual_seed(99)  # nothing may hang on the global generator
    fit(whole_run(), tmp_path, resume=True, cache_root=cache)
    assert same(states(tmp_path), states(straight))
    assert told(tmp_path) == told(straight)


def test_without_a_checkpoint_since_a_stage_begins_anew(tmp_path: Path, cache: Path, straight: Path) -> None:
    run = whole_run(checkpoint_seconds=1000.0)
    with pytest.raises(Killed):
        fit(run, tmp_path, watch=at("pictures-000003"), cache_root=cache)
    assert lines(tmp_path)[-1]["step"] == 3
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"stage": "pictu')  # as a full disk leaves it
    fit(run, tmp_path, resume=True, cache_root=cache)
    assert same(states(tmp_path), states(straight))
    assert told(tmp_path) == told(straight)
    assert curve(tmp_path, "pictures") == curve(straight, "pictures")
    assert curve(tmp_path, "autoencoder") == curve(straight, "autoencoder")


def test_training_changes_what_it_should_and_learns(straight: Path) -> None:
    model = initialised(whole_run().model, 0)
    assert any(hidden_matrices(model.backbone))
    first, last = model.state_dict(), states(straight)
    assert not torch.equal(first["tokenizer.std"], last["tokenizer.std"])
    assert all(not torch.equal(first[n], last[n]) for n in first if n.startswith("backbone.leave.weight"))
    assert {one["stage"] for one in lines(straight)} == {"autoencoder", "pictures", "videos"}


def test_every_step_is_written_down(straight: Path) -> None:
    videos = [one for one in lines(straight) if one["stage"] == "videos"]
    assert [one["step"] for one in videos] == [1, 2, 3, 4, 5]
    assert videos[0].keys() >= {"loss", "norm", "rate", "per_second", "velocity"}
    assert videos[0]["rate"] < videos[1]["rate"]  # warm-up
    assert videos[4]["rate"] < videos[2]["rate"]  # decay


def test_tensorboard_has_the_same_scalars(straight: Path) -> None:
    steps, losses = zip(*curve(straight, "videos"), strict=True)
    assert steps == (1, 2, 3, 4, 5)
    assert losses == pytest.approx([one["loss"] for one in lines(straight) if one["stage"] == "videos"])


def test_the_result_says_how_it_was_made(straight: Path) -> None:
    report = read_card(straight / "model").report
    assert report["stage"] == "videos"
    assert report["run"] == to_json(whole_run())
    assert 0 <= report["seconds"] < 1000


# Stops.


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, cache: Path, straight: Path) -> None:
    def watch(model: VideoModel, stage: Stage, folder: Path, name: str) -> dict[str, float]:
        if name == "pictures-000002":
            signal.raise_signal(signal.SIGINT)
        return {}

    run, handler = whole_run(checkpoint_seconds=1000.0), signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match=r"pictures, step 3.*--resume"):
        fit(run, tmp_path, watch=watch, cache_root=cache)
    assert signal.getsignal(signal.SIGINT) is handler
    fit(run, tmp_path, resume=True, cache_root=cache)
    assert same(states(tmp_path), states(straight))
    assert len(lines(tmp_path)) == 15  # no step was made twice


def test_a_second_ctrl_c_does_not_wait() -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


LONG = """
import resource, sys
from pathlib import Path
from tiny import tiny_run
from vitascope.train.stages import TokenizerStage

def run():
    return tiny_run(TokenizerStage(name="autoencoder", steps=100_000, batch=1))
"""


def test_killed_at_random_moments_it_loses_no_saved_step(tmp_path: Path) -> None:
    recipe, folder = tmp_path / "long.py", tmp_path / "run"
    recipe.write_text(LONG)
    command = [sys.executable, "-m", "vitascope", "train", f"{recipe}:run", "--out", str(folder)]
    paths = os.pathsep.join([str(TESTS), *sys.path])
    reached = 0
    for resume in ([], ["--resume"]):
        process = subprocess.Popen(
            [*command, *resume], env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True
        )
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and process.poll() is None and logged(folder) < reached + 5:
                time.sleep(0.02)
            time.sleep(random.random() / 5)  # any moment will do; which one must not matter
        finally:
            process.kill()
            _, said = process.communicate()
        state = checkpoint.load(folder / "checkpoints" / "autoencoder")
        assert state is not None, said
        assert state["progress"]["step"] >= logged(folder) - 1  # saved after each step
        assert state["progress"]["step"] > reached
        assert all(value.isfinite().all() for value in state["module"].values())
        reached = state["progress"]["step"]


def logged(folder: Path) -> int:
    try:
        whole = (folder / "log.jsonl").read_text().rpartition("\n")[0]
    except OSError:
        return 0
    return json.loads(whole.splitlines()[-1])["step"] if whole else 0


# What is broken.


def test_a_loss_that_is_no_number_stops_with_step_and_part(tmp_path: Path) -> None:
    run = tiny_run(TokenizerStage(name="autoencoder", steps=9, batch=2)).model_copy(
        update={"data": StripesConfig(broken_from=3)}
    )
    with pytest.raises(NonFinite, match=r"autoencoder, step 3: .*nan.*tokenizer\.encoder\.0'.*learning_rate.*--resume"):
        fit(run, tmp_path)
    state = checkpoint.load(tmp_path / "checkpoints" / "autoencoder")
    assert state is not None
    assert state["progress"]["step"] == 3
    assert all(value.isfinite().all() for value in state["module"].values())


def test_a_step_too_large_is_never_saved(tmp_path: Path) -> None:
    run = tiny_run(TokenizerStage(name="autoencoder", steps=9, batch=2, learning_rate=1e30, warmup_steps=0))
    with pytest.raises(NonFinite, match="the last good checkpoint is kept"):
        fit(run, tmp_path)
    state = checkpoint.load(tmp_path / "checkpoints" / "autoencoder")
    assert state is None or all(value.isfinite().all() for value in state["module"].values())


def test_a_lower_rate_written_into_the_run_goes_on(tmp_path: Path) -> None:
    run = tiny_run(TokenizerStage(name="autoencoder", steps=4, batch=2))
    with pytest.raises(Killed):
        fit(run, tmp_path, watch=at("autoencoder-000002"))
    lower = override(run, "stages.autoencoder.learning_rate", "1e-5")
    with pytest.raises(UserError, match=r"stages\.autoencoder\.learning_rate was 0\.001 and is 1e-05"):
        fit(lower, tmp_path, resume=True)
    (tmp_path / "run.json").write_text(json.dumps(to_json(lower)))
    fit(lower, tmp_path, resume=True)
    assert lines(tmp_path)[-1]["rate"] < 1e-5


class Parts(nn.Module):
    """Two layers of which one can be made to fail forwards or backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

    def lesson(self, step: int) -> Loss:
        return Loss((self.first(torch.ones(2)) ** 2).sum().sqrt() + self.second(torch.ones(2)).sum())


def test_the_part_is_named_whether_weight_output_or_gradient_broke() -> None:
    module = Parts()
    nn.init.constant_(module.second.weight, torch.inf)
    assert culprit(module, module.lesson, 0) == "second.weight"
    module = Parts()
    nn.init.constant_(module.second.weight, 3e38)
    assert culprit(module, module.lesson, 0) == "second"
    module = Parts()
    nn.init.zeros_(module.first.weight)
    nn.init.zeros_(module.first.bias)
    module.lesson(0).total.backward()  # the slope of a root at zero
    assert culprit(module, module.lesson, 0) == "first.weight"


def test_memory_that_runs_out_is_one_line_that_says_how_to_go_on(tmp_path: Path) -> None:
    run = tiny_run(TokenizerStage(name="autoencoder", steps=9, batch=6)).model_copy(
        update={"data": StripesConfig(hungry_from=3)}
    )
    with pytest.raises(
        UserError, match=r"autoencoder, step 3: .*batch of 6; .*autoencoder to 3 in .*--resume"
    ) as caught:
        fit(run, tmp_path)
    assert "\n" not in str(caught.value)
    state = checkpoint.load(tmp_path / "checkpoints" / "autoencoder")
    assert state is not None
    assert state["progress"]["step"] == 3


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", ["for the log", "for nothing"])
def test_a_full_disk_is_one_line_and_keeps_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    recipe, folder = tmp_path / "mine.py", tmp_path / "run"
    recipe.write_text(LONG)
    run = tiny_run(TokenizerStage(name="autoencoder", steps=100_000, batch=1))
    with pytest.raises(Killed):
        fit(run, folder, watch=at("autoencoder-000003"))
    before = (folder / "checkpoints" / "autoencoder" / "last.pt").read_bytes()
    size = 30_000 if room == "for the log" else (folder / "log.jsonl").stat().st_size
    assert len(before) > 30_000
    monkeypatch.setattr(sys, "argv", ["vitascope", "train", f"{recipe}:run", "--out", str(folder), "--resume"])
    monkeypatch.setenv("TERM", "dumb")
    capsys.readouterr()
    with files_of_at_most(size), pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    *_, said = capsys.readouterr().err.strip().splitlines()
    assert said.startswith("error: ")
    assert "File too large" in said
    assert "--resume" in said
    state = checkpoint.load(folder / "checkpoints" / "autoencoder")
    assert state is not None
    assert state["progress"]["step"] == 3
    assert (folder / "checkpoints" / "autoencoder" / "last.pt").read_bytes() == before
    assert {path.name for path in (folder / "checkpoints" / "autoencoder").iterdir()} == {"last.pt", "before.pt"}


# Time.


def test_time_that_is_up_ends_a_run_cleanly_with_the_rate_decayed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count(0.0, 0.05)  # each look at it costs as much: a machine that is always as slow
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    stages = [
        VideoStage(name=name, steps=10**6, batch=1, num_clips=8, warmup_steps=0, decay_share=1.0, share=share)
        for name, share in (("first", 2.0), ("second", 1.0))
    ]
    run = tiny_run(*stages, checkpoint_seconds=1000.0, minutes=0.2)
    fit(run, tmp_path, cache_root=cache)
    assert next(clock) == pytest.approx(12, rel=0.1)
    num_steps = {}
    for name in ("first", "second"):
        rates = [one["rate"] for one in lines(tmp_path) if one["stage"] == name]
        assert rates[-1] < 0.2 * max(rates)
        assert rates == sorted(rates, reverse=True)
        num_steps[name] = len(rates)
    assert num_steps["first"] == pytest.approx(2 * num_steps["second"], abs=5)
    before = (tmp_path / "log.jsonl").read_bytes()
    fit(run, tmp_path, resume=True, cache_root=cache)  # nothing is left to do
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_time_spent_before_an_interruption_counts(tmp_path: Path, cache: Path) -> None:
    run = tiny_run(TokenizerStage(name="autoencoder", steps=10**6, batch=1), minutes=1.0)
    with pytest.raises(Killed):
        fit(run, tmp_path, watch=at("autoencoder-000003"))
    path = tmp_path / "checkpoints" / "autoencoder" / "last.pt"
    state = checkpoint.load(path.parent)
    assert state is not None
    state["progress"]["seconds"] = 59.99
    torch.save(state, path)
    fit(run, tmp_path, resume=True)
    assert len(lines(tmp_path)) <= 4
    assert read_card(tmp_path / "model").report["seconds"] >= 59.9


def test_a_stage_whose_time_is_over_at_once_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"autoencoder: its share of 1e-05 minutes was over before its first step"):
        fit(tiny_run(minutes=1e-5), tmp_path)
    assert not (tmp_path / "model").exists()


# The folder.


def test_a_folder_belongs_to_one_run(tmp_path: Path, straight: Path) -> None:
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        fit(whole_run(), straight)
    with pytest.raises(UserError, match=r"stages\.videos\.batch was 2 and is 3; seed was 0 and is 1"):
        fit(override(override(whole_run(), "stages.videos.batch", "3"), "seed", "1"), straight, resume=True)
    with pytest.raises(UserError, match="holds no run to go on with"):
        fit(whole_run(), tmp_path, resume=True)
    with locked(straight / ".lock"), pytest.raises(UserError, match="another training is writing to"):
        fit(whole_run(), straight, resume=True)
    with pytest.raises(UserError, match="is a file, and a run needs a folder"):
        fit(whole_run(), straight / "run.json" / "below")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        fit(whole_run(), tmp_path, resume=True)


def test_settings_that_came_later_are_no_difference() -> None:
    before = {"class": "a", "stages": [{"name": "x", "steps": 3}]}
    assert not list(differences(before, {"class": "a", "stages": [{"name": "x", "steps": 3, "new": 1}], "newer": 2}))
    assert list(differences(before, {"class": "a", "stages": [{"name": "x", "steps": 4}]})) == [
        "stages.x.steps was 3 and is 4"
    ]
    assert len(list(differences(before, {"class": "b", "stages": []}))) == 2


# What is seen.


def test_a_watch_sees_averaged_weights_and_changes_nothing(tmp_path: Path, cache: Path, straight: Path) -> None:
    seen = []

    def watch(model: VideoModel, stage: Stage, folder: Path, name: str) -> dict[str, float]:
        seen.append((name, model.backbone.leave.weight.clone(), model.backbone.training))
        if isinstance(stage, VideoStage):
            model.backbone.leave.weight.data.fill_(7.0)
        return {"oracle/all": 0.25}

    fit(whole_run(preview_steps=2), tmp_path, watch=watch, cache_root=cache)
    assert [name for name, _, _ in seen[-2:]] == ["videos-000002", "videos-000004"]
    assert not any(training for name, _, training in seen if name.startswith("videos"))
    assert same(states(tmp_path), states(straight))
    scores = [one for one in lines(tmp_path) if "oracle/all" in one]
    assert [one["step"] for one in scores if one["stage"] == "videos"] == [2, 4]


@pytest.mark.parametrize("error", [UserError("no such thing"), RuntimeError("no such thing\nand a lot of detail")])
def test_a_preview_that_fails_stops_no_training(
    tmp_path: Path, cache: Path, straight: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    fit(whole_run(), tmp_path, watch=at("videos-000002", error), cache_root=cache)
    assert "videos, step 2: no preview: no such thing\n" in capsys.readouterr().err
    assert same(states(tmp_path), states(straight))


def test_the_line_shows_speed_loss_and_time_left(tmp_path: Path) -> None:
    for terminal in (True, False):
        screen = StringIO()
        with Log(tmp_path, Console(file=screen, force_terminal=terminal, width=120)) as log:
            log.begin("videos", 0, 10)
            assert list(log.track([1, 2], "encoding")) == [1, 2]
            log.begin("videos", 0, 10)
            log.show(3, "clips", 12.34, 0.5678, 90.0)
        for part in ("videos", "3/10", "loss 0.5678", "12.3 clips/s", "90 s left"):
            assert part in screen.getvalue()


def test_after_a_step_that_took_longer_than_was_left_nothing_is_left(tmp_path: Path) -> None:
    screen = StringIO()
    with Log(tmp_path, Console(file=screen)) as log:
        log.begin("videos", 0, 10)
        log.show(3, "clips", 12.34, 0.5678, -2.5)
    assert "clips/s  0 s left" in screen.getvalue()


def test_speed_is_that_of_the_last_steps() -> None:
    speed = Speed(batch=8, memory=2)
    assert speed.after(4.0) == 2
    assert speed.after(2.0) == pytest.approx(16 / 6)
    assert speed.after(2.0) == 4


def test_bf16_computes_in_half_and_keeps_weights_whole(tmp_path: Path) -> None:
    run = tiny_run(TokenizerStage(name="autoencoder", steps=2, batch=2), precision="bf16")
    with pytest.raises(Killed):
        fit(run, tmp_path, watch=at("autoencoder-000001"))
    state = checkpoint.load(tmp_path / "checkpoints" / "autoencoder")
    assert state is not None
    assert all(value.dtype == torch.float32 for value in state["module"].values())
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        with autocast(tiny_run(precision=precision), torch.device("cpu"))():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
