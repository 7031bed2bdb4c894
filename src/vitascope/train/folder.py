"""The folder of a run: whose it is, what it holds, and what it means when nothing can be written there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from vitascope import media
from vitascope.atomic import PARTS, NoLocks, locked, sweep
from vitascope.card import CARD
from vitascope.config import Config, code_options, to_json
from vitascope.train.stages import Run, Stage, is_folder
from vitascope.types import UserError

RUN, CHECKPOINTS, STAGES, LOCK = "run.json", "checkpoints", "stages", ".lock"
OF_SHAPE = "optimizer", "frozen", "reconstruction"  # of a stage: on which depends what its checkpoint holds
LEARNED = CHECKPOINTS, STAGES, "model"


@contextmanager
def claimed(folder: Path, run: Run, resume: bool) -> Iterator[None]:
    """From here on the folder is that of `run`, and until the end no other training may write to it."""
    with ExitStack() as held:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                mine = held.enter_context(locked(folder / LOCK))
            except NoLocks:
                mine = True  # better unguarded than not at all
        if not mine:
            raise UserError(f"another training is writing to '{folder}'; wait for its end, or choose another --out")
        refuse_folder(folder, run, resume)  # again: another one may have begun and ended meanwhile
        sweep(folder.glob(PARTS), *((folder / name).rglob(PARTS) for name in (*LEARNED, "cache")))
        if not learned_in(folder):
            with writing(folder):
                media.replace_file(folder / RUN, json.dumps(to_json(run), indent=1).encode())
        yield


def refuse_folder(folder: Path, run: Run, resume: bool) -> None:
    """A folder belongs to one run: refuse to overwrite it, and to go on with other settings than it was begun with."""
    path = folder / RUN
    for above in (folder, *folder.parents):
        if above.exists() and not above.is_dir():
            raise UserError(f"'{above}' is a file, and a run needs a folder; choose another --out")
    if not path.is_file():
        if resume:
            raise UserError(f"'{folder}' holds no run to go on with; leave --resume out to begin one")
        if left := learned_in(folder):
            raise UserError(f"'{left[0]}' is of a run whose '{RUN}' is gone; remove it, or choose another folder")
        return
    if not learned_in(folder):
        return  # it ended before its first checkpoint: whatever its settings were, nothing is lost
    if not resume:
        raise UserError(f"'{folder}' already holds a run; add --resume to go on with it, or choose another folder")
    try:
        begun_with = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' is damaged ({error}); put the settings of the run back, or begin another") from None
    changes = list(differences(begun_with, to_json(run)))
    if changes and all(one.partition(" was ")[0].endswith(".identity") for one in changes):
        raise UserError(
            f"the footage is no longer what '{folder}' was begun with: put it back as it was, or begin another run"
        )
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise UserError(
            f"'{folder}' was begun with other settings: {'; '.join(changes[:3])}{more}. Go on with the old ones, "
            f"choose another folder, or change them in '{path}' and give that file as the recipe: "
            f"{resuming(run, folder)}"
        )


def command(config: Config, *words: str | Path) -> str:
    """What to type, ready to be pasted: the words of a command that is to read these settings."""
    return f"vitascope{code_options(config)} {shlex.join(map(str, words))}"


def resuming(run: Run, folder: Path) -> str:
    """What to type to go on with a run by the settings in its folder."""
    return command(run, "train", folder / RUN, "--out", folder, "--resume")


def learned_in(folder: Path) -> list[Path]:
    """Where there is something that a training has learned."""
    return [folder / name for name in LEARNED if (folder / name).is_dir()]


def home_of(folder: Path, stage: str) -> Path:
    """Where a run keeps what a stage of it has learned."""
    return folder / STAGES / stage


def is_done(folder: Path, stage: str) -> bool:
    return (home_of(folder, stage) / CARD).is_file()


def refuse_missing_stages(run: Run, stages: tuple[Stage, ...], folder: Path) -> None:
    """Stages that are neither trained now nor have been, and with which one of `stages` begins; and one that takes all
    weights but some from nowhere."""
    coming = {stage.name for stage in stages}
    for stage in stages:
        if stage.fresh and not run.origins(stage):
            raise UserError(
                f"stage {stage.name} begins with a model, but for what is new in it ({', '.join(stage.fresh)}), and "
                "has none; give one with --from"
            )
        for origin in run.origins(stage):
            if not (is_folder(origin.of) or origin.of in coming or is_done(folder, origin.of)):
                raise UserError(
                    f"stage {stage.name} begins with what stage {origin.of} has learned, and '{folder}' does not hold "
                    f"it; train that first: --stage {origin.of}"
                )


def refuse_other_shapes(state: Mapping[str, Any], run: Run, stage: Stage, checkpoints: Path) -> None:
    """A checkpoint fits the settings that it was written with: parts that learn, optimizer and what is frozen."""
    before, now = state["run"], to_json(run)
    parts = {name.partition(".")[0] for name in state["module"]}
    was, is_now = ({one["name"]: one for one in each["stages"]}[stage.name] for each in (before, now))
    changes = [
        *(one for part in parts for one in differences(before["model"].get(part), now["model"].get(part), part)),
        *(one for what in OF_SHAPE for one in differences(was.get(what), is_now.get(what), f"{stage.name}.{what}")),
    ]
    if changes:
        raise UserError(
            f"the checkpoint of {stage.name} was written with other settings: {'; '.join(changes[:3])}. Put them back, "
            f"or remove '{checkpoints}' to begin the stage anew"
        )


def differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Settings that differ, by dotted path. One that `before` does not know has come later and is no difference."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name, value in before.items():
            yield from differences(value, now.get(name), f"{path}.{name}" if path else name)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (value, other) in enumerate(zip(before, now, strict=True)):
            name = value.get("name", number) if isinstance(value, dict) else number
            yield from differences(value, other, f"{path}.{name}")
    elif before != now:
        yield f"{path} was {json.dumps(before)[:60]} and is {json.dumps(now)[:60]}"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A full disk, met anywhere in a run, as one line that says what is safe and what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"nothing can be written to '{folder}' ({why}); what was saved before is kept: make room there, then go on "
            "with --resume"
        ) from error
