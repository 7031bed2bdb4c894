"""Commands that measure videos, whoever made them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitascope.cli.common import DeviceOption, ForceOption, overridden, say, screen, tracker
from vitascope.errors import UserError

if TYPE_CHECKING:
    from vitascope.evaluate.measured import Report


def videos(
    made: Annotated[Path | None, typer.Argument(help="Folder of the videos to measure, or one video.")] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of real videos, for distances and pairs.")] = None,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="Repeatable; --list names all. What needs no file, if absent.")
    ] = None,
    paired: Annotated[bool, typer.Option("--paired", help="Videos of one name belong together: PSNR, SSIM.")] = False,
    protocol: Annotated[
        str, typer.Option(help="vitascope, styleganv, styleganv_128, styleganv_stride8, videogpt, tats, tfhub or cd.")
    ] = "vitascope",
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change the protocol: frames=8, stride=2, clip=random, seed=1.")
    ] = None,
    networks: Annotated[
        list[str] | None, typer.Option("--network", help="A network's file: i3d=i3d_torchscript.pt. Repeatable.")
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="Lines of name, tab, caption; else what the files themselves say.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="For the intervals; 0 for none.")] = 200,
    device: DeviceOption = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where features are kept; features.sqlite beside --out if absent.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report here as JSON.")] = None,
    force: ForceOption = False,
    list_all: Annotated[bool, typer.Option("--list", help="Name the metrics and networks, and stop.")] = False,
) -> None:
    """Measure a folder of videos, each number with its protocol and its error bar."""
    import torch

    from vitascope import media
    from vitascope.device import usual_device
    from vitascope.evaluate import forms
    from vitascope.evaluate.catalogue import Networks, metrics_named, print_catalogue, usual_metrics
    from vitascope.evaluate.metrics.metric import Bootstrap
    from vitascope.evaluate.protocol import protocol_named
    from vitascope.evaluate.report.reading import unfinished
    from vitascope.evaluate.run import evaluate
    from vitascope.evaluate.store import FEATURES, Store
    from vitascope.evaluate.videos import find_videos, read_captions

    if list_all:
        print_catalogue(screen())
        return
    if made is None:
        raise UserError("evaluate videos needs the folder of the videos to measure; --list names what can be measured")
    if paired and real is None:
        raise UserError("--paired compares with the videos of --real; give that folder")
    if resamples < 0:
        raise UserError(f"--resamples must be 0 or more, got {resamples}")
    if out is not None:
        unfinished(out, force=force, form=forms.VIDEOS)  # one of this command goes on from what it kept
    wanted = overridden(protocol_named(protocol), changes, "--set")
    paths = dict(_named(text) for text in networks or ())
    read = Networks(paths, wanted, torch.device(usual_device(device)))
    chosen = metrics_named(metrics or usual_metrics(with_real=real is not None, paired=paired), read)
    given, numbers = read_captions(captions) if captions else None, tracker("measuring")

    def written(report: Report) -> None:
        if out is not None:
            media.replace_file(out, report.to_json().encode())
        numbers(len(report.measured) + len(report.missing), len(chosen))

    report = evaluate(
        find_videos(made, given),
        None if real is None else find_videos(real),
        chosen,
        wanted,
        store=Store(cache or (out.parent / FEATURES if out else None)),
        paired=paired,
        bootstrap=Bootstrap(resamples, wanted.seed),
        labels=(str(made), None if real is None else str(real)),
        progress=tracker("reading videos"),
        written=written,
    )
    report.print(screen())
    if report.missing and not report.measured:
        raise UserError("nothing could be measured; the reasons are above")
    if out is not None:
        comparing = f"vitascope evaluate compare {shlex.quote(str(out))} OTHER.json"
        say(f"{out}: the report; compare it with another: {comparing}")


def convert(
    name: Annotated[str, typer.Argument(help="The network: videomae (for cd-FVD) or vjepa (for JEDi).")],
    files: Annotated[list[Path], typer.Argument(help="Its released files, as `videos --list` names them.")],
    out: Annotated[Path, typer.Option(help="The file or folder to write, for `videos --network NAME=PATH`.")],
    force: ForceOption = False,
) -> None:
    """Released weights that no library reads into the form that the metrics read."""
    from vitascope.evaluate.networks.converting import convert as converted

    converted(name, files, out, force=force)
    say(f"{out}: pass it with --network {shlex.quote(f'{name}={out}')}")


def merge(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART...", help="What `evaluate videos`, or `toyland` with --shard, wrote.")
    ],
    out: Annotated[Path, typer.Option(help="Write the report of the whole here as JSON.")],
    caches: Annotated[
        list[Path] | None,
        typer.Option("--cache", help="Where each part's features are, in order; beside each report if absent."),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Join the reports of parts of a set: the value of one run over all. Refuses parts that were measured otherwise."""

    from vitascope import media
    from vitascope.evaluate.merging import merge_files
    from vitascope.evaluate.store import FEATURES

    media.check_free(out, force=force)
    if caches and len(caches) != len(parts):
        raise UserError(f"--cache must be given once for each of the {len(parts)} parts, got {len(caches)}")
    kept = caches or [path.parent / FEATURES for path in parts]
    whole = merge_files(parts, kept, out.parent / FEATURES)
    whole.print(screen())
    media.replace_file(out, whole.to_json().encode())
    say(f"{out}: the report of {len(parts)} parts")


def compare(
    first: Annotated[Path, typer.Argument(help="What --out of an `evaluate` command wrote.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    metrics: Annotated[list[str] | None, typer.Option("--metric", help="Only these.")] = None,
) -> None:
    """Say whether two reports differ by more than chance; refuse if they were not measured alike."""

    from vitascope.evaluate.compare import compare as differences_of
    from vitascope.evaluate.compare import print_differences
    from vitascope.evaluate.report.reading import read_one

    one, other = read_one(first), read_one(second)
    print_differences(differences_of(one, other, metrics or ()), (str(first), str(second)), screen())


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals:
        raise UserError(f"--network needs NAME=PATH, such as i3d=i3d_torchscript.pt, got '{text}'")
    return name, Path(path)
