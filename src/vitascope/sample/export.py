"""A model of ours as a folder to give away: safetensors, settings, and a card that says what it is and how good."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from vitascope import media
from vitascope.sample.model import HUB, bundled
from vitascope.system import CARD, WEIGHTS, Card, load_model, read_card
from vitascope.types import UserError

README = "README.md"


def export(
    model: str | None, out: Path, *, scores: Sequence[Path] = (), licence: str | None = None, force: bool = False
) -> Card:
    """Copy a model to `out` byte for byte, with a model card beside it, and load it from there to be sure."""
    if model is not None and model.startswith(HUB):
        raise UserError(f"'{model}' is a checkpoint of others, in a layout of its own; copy its folder")
    folder = bundled() if model is None else _folder_of(Path(model))
    load_model(folder)  # refuses what is damaged
    card, judged = read_card(folder), [_read_scores(path) for path in scores]
    stated = licence or ("Apache-2.0" if model is None else None)
    if out.resolve() == folder.resolve():
        raise UserError(f"'{out}' is the model itself; choose another --out")
    media.make_folder(out)
    for name in (WEIGHTS, CARD, README):
        media.check_free(out / name, force=force)
    for name in (WEIGHTS, CARD):
        media.replace_file(out / name, (folder / name).read_bytes())
    media.replace_file(out / README, model_card(card, out, judged, stated).encode())
    load_model(out)
    return card


def _folder_of(folder: Path) -> Path:
    """The folder of a model, or that of a run, which has it inside."""
    return folder / "model" if (folder / "model" / CARD).is_file() else folder


def _read_scores(path: Path) -> Mapping[str, Any]:
    try:
        report = json.loads(path.read_text())
        report["protocol"].keys()
        return dict(report)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' is no report of 'vitascope evaluate --out' ({error!r}); give one") from None


def model_card(card: Card, folder: Path, scores: Sequence[Mapping[str, Any]], licence: str | None) -> str:
    """Markdown with the header that model hubs read. What is not known is said to be so."""
    header = ["---", *([f"license: {licence.lower()}"] if licence else []), "pipeline_tag: text-to-video"]
    lines = [*header, "tags: [vitascope, text-to-video, image-to-video]", "---", "", f"# {folder.name}", ""]
    own = card.config.defaults
    lines += [
        f"A model of vitascope: {own.num_frames} frames of {own.size[0]}x{own.size[1]} at {own.fps:g} fps, "
        f"{_num_parameters(folder / WEIGHTS):,} parameters (autoencoder and text encoder included).", "",
        "```", f'vitascope generate "what it shows" --model {folder}', "```", "",
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
    return [f"`{data.get('class')}` ({settings}). Stages: {stages}. The whole run stands in `{CARD}`."]


def _scores(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    if not scores:
        return ["None were given (`vitascope evaluate ... --out report.json`, then `--scores report.json`)."]
    lines: list[str] = []
    for report in scores:
        protocol = ", ".join(f"{name} {value}" for name, value in report["protocol"].items())
        rows = report.get("dimensions", {})
        lines += ["| dimension | rate | n |", "|---|---|---|"]
        lines += [f"| {name} | {row['rate']:.3f} | {row['n']} |" for name, row in rows.items()]
        lines += ["", f"Protocol: {protocol}.", ""]
    return lines
