"""A model of ours as a folder to give away: safetensors, settings, and a card that says what it is and how good."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import safe_open

from vitascope import media
from vitascope.card import CARD, WEIGHTS, Card, load_model, model_folder, read_card
from vitascope.config import file_of, modules_outside, to_json
from vitascope.evaluate.measured import Measured, Report
from vitascope.evaluate.report.reading import read_reports
from vitascope.sample.loading import bundled
from vitascope.sample.model import HUB
from vitascope.types import UserError

README = "README.md"
Scored = tuple[Report, bool]  # and whether it names its model


def export(
    model: str | None, out: Path, *, scores: Sequence[Path] = (), licence: str | None = None, force: bool = False
) -> Card:
    """Copy a model to `out` byte for byte, with a model card beside it, and load it from there to be sure."""
    if model is not None and model.startswith(HUB):
        raise UserError(f"'{model}' is a checkpoint of others, in a layout of its own; copy its folder")
    folder = bundled() if model is None else model_folder(Path(model))
    load_model(folder)  # refuses what is damaged
    card = read_card(folder)
    judged = [one for path in scores for one in _read_scores(path, card)]
    stated = licence or ("Apache-2.0" if model is None else None)
    if out.resolve() == folder.resolve():
        raise UserError(f"'{out}' is the model itself; choose another --out")
    told = model_card(card, out.resolve().name, _num_parameters(folder / WEIGHTS), judged, stated)
    media.make_folder(out)
    for name in (WEIGHTS, CARD, README):
        media.check_free(out / name, force=force)
    for name in (WEIGHTS, CARD):
        media.replace_file(out / name, (folder / name).read_bytes())
    media.replace_file(out / README, told.encode())
    load_model(out)
    return card


def _read_scores(path: Path, card: Card) -> list[Scored]:
    """The reports in a file, which must be this model's where they name one by the checksum of its weights."""
    reports = read_reports(path)
    if not any(report.measured for report in reports):
        raise UserError(f"'{path}' has no numbers; give a finished report")
    protocol = json.loads(path.read_text(encoding="utf-8")).get("protocol")
    of = protocol.get("model") if isinstance(protocol, Mapping) else None
    if of is not None and of != card.sha256:
        raise UserError(
            f"'{path}' was measured of another model (weights {str(of)[:12]}, and these are {card.sha256[:12]}); "
            "evaluate this one"
        )
    return [(report, of is not None) for report in reports]


def model_card(card: Card, name: str, num_parameters: int, scores: Sequence[Scored], licence: str | None) -> str:
    """Markdown with the header that model hubs read. What is not known is said to be so."""
    header = ["---", *([f"license: {json.dumps(licence.lower())}"] if licence else []), "pipeline_tag: text-to-video"]
    lines = [*header, "tags: [vitascope, text-to-video, image-to-video]", "---", "", f"# {name}", ""]
    own = card.config.defaults
    files = list(dict.fromkeys(Path(file_of(module)).name for module in modules_outside(to_json(card.config))))
    code = "".join(f" --code {file}" for file in files)
    lines += [
        f"A model of vitascope: {own.num_frames} frames of {own.size[0]}x{own.size[1]} at {own.fps:g} fps, "
        f"{num_parameters:,} parameters (autoencoder and text encoder included).", "",
        "```", f'vitascope{code} generate "what it shows" --model FOLDER', "```", "",
        *([f"Parts of it are code that does not lie here: {', '.join(files)}.", ""] if code else []),
        "## Training data", "", *_training(card), "",
        "## Scores", "", *_scores(scores), "",
        "## Licence", "", licence or "Not stated.", "",
        f"sha256 of the weights: `{card.sha256}`", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _num_parameters(weights: Path) -> int:
    total = 0
    with safe_open(weights, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (safe_open is no mapping)
            count = 1
            for side in file.get_slice(name).get_shape():
                count *= side
            total += count
    return total


def _training(card: Card) -> list[str]:
    run = card.report.get("run")
    if not isinstance(run, Mapping) or not isinstance(run.get("data"), Mapping):
        return ["The model's card does not say."]
    data = run["data"]
    settings = ", ".join(f"{name} {value}" for name, value in data.items() if name != "class")
    stages = ", ".join(str(stage.get("name")) for stage in run.get("stages", ()))
    note = card.report.get("note")
    told = f"`{data.get('class')}` ({settings}). Stages: {stages}. The whole run stands in `{CARD}`."
    return [told, *(["", str(note)] if note else [])]


def _scores(scores: Sequence[Scored]) -> list[str]:
    if not scores:
        return ["None were given (`vitascope evaluate ... --out report.json`, then `--scores report.json`)."]
    lines: list[str] = []
    for report, is_named in scores:
        lines += ["| measure | value | 95 % interval | n |", "|---|---|---|---|"]
        lines += [f"| {one.metric} | {one.value:.4g} | {_interval(one)} | {one.n} |" for one in report.measured]
        told = dict.fromkeys(", ".join(f"{name} {value}" for name, value in one.protocol.items() if value)
                             for one in report.measured)  # fmt: skip
        lines += ["", f"By `vitascope evaluate`, {report.kind}, version {report.version or 'not told'}.", ""]
        lines += [f"- {one}" for one in (*filter(None, told), *report.notes)]
        lines += ["" if is_named else "- The report does not name the model that it is of by its weights.", ""]
    return lines


def _interval(one: Measured) -> str:
    return "" if one.interval is None else "{:.4g} to {:.4g}".format(*one.interval)
