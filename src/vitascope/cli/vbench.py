"""Commands about VBench and its relatives: measuring a folder of videos, and giving videos their official names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitascope.cli.common import DeviceOption, ForceOption, check_out, overridden, say, screen, tracker
from vitascope.errors import UserError

if TYPE_CHECKING:
    from vitascope.evaluate.vbench.aggregate import Suite
    from vitascope.evaluate.vbench.report import SuiteReport

SuiteOption = Annotated[str, typer.Option(help="vbench, vbench_i2v, vbench_long or vbench_2.0.")]
FEW = 5  # of a list that are shown; the report holds all


def vbench(
    videos: Annotated[Path | None, typer.Argument(help="The folder of the videos, named 'PROMPT-0.mp4'.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="The official VBench_full_info.json of the suite.")] = None,
    suite: SuiteOption = "vbench",
    dino: Annotated[Path | None, typer.Option(help="Folder of DINO ViT-B/16 in transformers' form.")] = None,
    clip: Annotated[Path | None, typer.Option(help="The same of CLIP ViT-B/32.")] = None,
    large_clip: Annotated[Path | None, typer.Option(help="The same of CLIP ViT-L/14.")] = None,
    head: Annotated[Path | None, typer.Option(help="LAION's sa_0_4_vit_l_14_linear.pth.")] = None,
    dreamsim: Annotated[
        Path | None, typer.Option(help="DreamSim's embedding as TorchScript, 'b 3 224 224' in [0, 1] to features.")
    ] = None,
    dino2: Annotated[Path | None, typer.Option(help="Folder of DINOv2 ViT-B/14 in transformers' form.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Of VBench-I2V: the folder of the pictures, in the ratio that was used.")
    ] = None,
    slow_fast: Annotated[
        Path | None, typer.Option(help="Of VBench-Long: its configs, to compare clips too, as its dev_flag does.")
    ] = None,
    dimension: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated. All that can be measured if absent.")
    ] = None,
    quirk: Annotated[
        list[str] | None,
        typer.Option(help="several_processes=true, few_frames_are_dynamic=false, missing_as_zero=true. Repeatable."),
    ] = None,
    device: DeviceOption = None,
    rewritten: Annotated[
        bool, typer.Option("--rewritten", help="The videos were made from rewritten prompts: the report will say so.")
    ] = False,
    official: Annotated[
        str | None, typer.Option(help="The official package's command, such as '/envs/vbench/bin/vbench evaluate'.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds that --official may take for a dimension.")] = None,
    join: Annotated[
        list[Path] | None, typer.Option(help="A report of the same model on other dimensions, to put into this one.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model; the folder's name if absent.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report here as JSON, for leaderboard --add.")] = None,
    force: ForceOption = False,
    list_all: Annotated[bool, typer.Option("--list", help="Say how each dimension is measured, and stop.")] = False,
) -> None:
    """The dimensions of VBench and its relatives: here, or with --official by the official package."""
    import torch

    from vitascope import media
    from vitascope.device import usual_device
    from vitascope.evaluate.vbench.aggregate import official_name
    from vitascope.evaluate.vbench.files import read_prompts
    from vitascope.evaluate.vbench.long import read_slow
    from vitascope.evaluate.vbench.networks import Files, load_networks
    from vitascope.evaluate.vbench.official import Bridge, measure_official
    from vitascope.evaluate.vbench.report import merged, of_prompts, read_report
    from vitascope.evaluate.vbench.run import measure
    from vitascope.evaluate.vbench.shown import print_report, print_ways
    from vitascope.evaluate.vbench.ways import Given, Quirks

    if list_all:
        print_ways(screen())
        return
    if videos is None or prompts is None:
        raise UserError("give the folder of the videos and --prompts, or --list to see what can be measured")
    if timeout is not None and (official is None or timeout <= 0):
        raise UserError(f"--timeout needs --official and a time above 0 s, got {timeout:g}")
    check_out(out, force)
    if official is not None:
        ours = {
            "--device": device, "--dino": dino, "--clip": clip, "--large-clip": large_clip, "--head": head,
            "--dreamsim": dreamsim, "--dino2": dino2, "--images": images, "--slow-fast": slow_fast,
            "--quirk": quirk,
        }  # fmt: skip
        refuse_ours(ours)
    which, model = suite_named(suite), name or videos.resolve().name
    wanted = [official_name(one) for one in dimension or ()]
    others = [read_report(path, model, which.name) for path in join or ()]
    records = read_prompts(prompts, which)
    progress = tracker("measuring")
    if official is None:
        loaded = load_networks(Files(dino, clip, large_clip, head, dreamsim, dino2), torch.device(usual_device(device)))
        quirks = overridden(Quirks(), quirk, "--quirk", "name=true or name=false")
        given = Given(loaded, images, read_slow(slow_fast) if slow_fast else {}, quirks)
        kept = None if out is None else out.with_suffix(".videos.jsonl")
        report = measure(
            videos, records, given, model=model, suite=which, wanted=wanted, kept=kept, progress=progress
        )  # fmt: skip
    else:
        place = Path(f"{videos.resolve()}_{which.name}")
        bridge = Bridge(words_of(official), videos, prompts, place, which, model, timeout)
        report = measure_official(bridge, wanted, progress=progress)
    say_the_rest(report)
    if others:
        report = merged([report, *others])
    report = of_prompts(report, prompts, rewritten=rewritten)
    print_report(report, screen())
    if out is not None:
        media.replace_file(out, report.model_dump_json(indent=1).encode())


def vbench_export(
    videos: Annotated[Path, typer.Argument(help="A folder of videos that know their captions.")],
    prompts: Annotated[Path, typer.Option(help="The official VBench_full_info.json of the suite.")],
    to: Annotated[Path, typer.Option(help="The folder to make.")],
    suite: SuiteOption = "vbench",
    captions: Annotated[
        Path | None, typer.Option(help="Lines of name, tab, caption; else what the files themselves say.")
    ] = None,
) -> None:
    """Link videos under the names that the official packages look for, by their captions."""
    from vitascope.evaluate.vbench.files import export, read_prompts
    from vitascope.evaluate.videos import find_videos, read_captions

    records = read_prompts(prompts, suite_named(suite))
    by_caption: dict[str, list[Path]] = {}
    for video in find_videos(videos, read_captions(captions) if captions else None):
        by_caption.setdefault(video.caption, []).append(video.path)
    done = export(by_caption, records, to)
    say(f"{to}: {len(done.made)} videos under their official names")
    for what, some in (("names without a video", done.missing), ("videos whose caption is no prompt", done.strange)):
        if some:
            shown = ", ".join(f"'{one}'" for one in some[:FEW])
            say(f"{len(some)} {what}: {shown}{' ...' if len(some) > FEW else ''}")


def refuse_ours(given: Mapping[str, object]) -> None:
    """What says how we measure says nothing to the official packages, and must not seem to."""
    if options := [option for option, value in given.items() if value]:
        raise UserError(
            f"{', '.join(options)} cannot go with --official: the package measures by its own networks, where and how "
            "its command says; leave it out, and choose a GPU for the package by CUDA_VISIBLE_DEVICES"
        )


def words_of(command: str) -> list[str]:
    import shlex

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"--official must be a command, such as '/envs/vbench/bin/vbench evaluate' ({error})") from None
    if not words:
        raise UserError("--official must be a command, such as '/envs/vbench/bin/vbench evaluate'; it is empty")
    return words


def suite_named(name: str) -> Suite:
    from vitascope.evaluate.vbench.aggregate import SUITES
    from vitascope.evaluate.vbench.report import one_suite

    return SUITES[one_suite(name)]


def say_the_rest(report: SuiteReport) -> None:
    """What was not measured, and why."""
    for name, lacking in report.protocol.get("left_out", {}).items():
        say(f"left out: {name}, for want of {', '.join(lacking)}")
    for name, told in report.protocol.get("not_counted", {}).items():
        say(f"not counted: {name}: {told}")
    for name, why in report.protocol.get("failed", {}).items():
        say(f"failed: {name}: {why}")
    skipped = report.protocol.get("skipped", [])
    for line in skipped[:FEW]:
        say(f"skipped: {line}")
    if len(skipped) > FEW:
        say(f"... and {len(skipped) - FEW} more skipped")
    if missing := report.protocol.get("missing_videos"):
        say(f"{missing} videos that the suite asks for are not there")
