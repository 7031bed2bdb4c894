"""Commands that make videos, or look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vitascope.cli.common import (
    DeviceOption,
    DtypeOption,
    ForceOption,
    LoraOption,
    ModelOption,
    OffloadOption,
    RevisionOption,
    RulesOption,
    SolverOption,
    folder_for_many,
    one_of,
    parse_rules,
    parse_size,
    say,
)
from vitascope.errors import UserError

DEMO_FOLDER = Path("out/demo")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the videos.")] = DEMO_FOLDER, force: ForceOption = False
) -> None:
    """Make videos from text and from an image with the bundled model."""
    from vitascope.sample.demo import make_demo

    make_demo(folder_for_many(out, "demo"), force=force or out == DEMO_FOLDER, say=say)


def generate(
    prompt: Annotated[str, typer.Argument(help="What the video shows.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="mp4, gif, webp or png; with --prompts a folder. out.mp4, or out, if absent.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="First frame.")] = None,
    video: Annotated[Path | None, typer.Option(help="A video to go on from; for hub models, to work over.")] = None,
    frames: Annotated[
        int | None, typer.Option(help="How many of the last frames of --video to go on from; 4 if absent.")
    ] = None,
    last: Annotated[Path | None, typer.Option(help="Last frame.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length in seconds.")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Length in frames.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same video.")] = None,
    negative: Annotated[str | None, typer.Option(help="Of a hub model: what the video should not show.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="1: none; higher follows the words more closely.")] = None,
    solver: SolverOption = None,
    rules: RulesOption = None,
    num: Annotated[int, typer.Option(help="How many videos, with seeds counted up.")] = 1,
    prompts: Annotated[Path | None, typer.Option(help="A file with a prompt on each line.")] = None,
    like: Annotated[Path | None, typer.Option(help="Begin from the settings kept inside this file.")] = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    revision: RevisionOption = None,
    dtype: DtypeOption = None,
    offload: OffloadOption = None,
    lora: LoraOption = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Keep a filmstrip beside --out up to date while sampling.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Make a video from text, from an image, or from frames."""
    from dataclasses import replace

    from vitascope import media
    from vitascope.sample import files
    from vitascope.sample.legal import request_of
    from vitascope.sample.loading import load
    from vitascope.sample.model import options_of
    from vitascope.types import Request

    for one, other, what in (
        (seconds, num_frames, "--seconds and --num-frames both say how long"),
        (image, video, "--image and --video both say how the video begins"),
        (prompt or None, prompts, "a prompt and --prompts both say what to show"),
    ):
        if one is not None and other is not None:
            raise UserError(f"{what}; give one of them")
    if frames is not None and video is None:
        raise UserError("--frames says how much of --video to go on from; give a --video, or leave it out")
    if num < 1:
        raise UserError(f"--num must be at least 1, got {num}")
    settings = media.read_settings(like) if like else {}
    request = request_of(settings, with_video=video is not None) if like else Request(prompt)
    given: dict[str, Any] = {
        "prompt": prompt or None, "num_frames": num_frames, "seconds": seconds, "fps": fps,
        "size": parse_size(size), "seed": seed, "steps": steps, "guidance": guidance, "solver": solver,
        "negative": negative,
    }  # fmt: skip
    if seconds is not None:
        request = replace(request, num_frames=None)
    ruled = parse_rules(rules)
    request = replace(request, **{name: value for name, value in given.items() if value is not None})
    request = replace(request, rules={**request.rules, **ruled})
    if prompts is None:
        wanted = files.numbered(request, out or Path("out.mp4"), num)
    else:
        wanted = files.from_lines(request, prompts, folder_for_many(out or Path("out"), "--prompts"), num)
    paths = [path for _, path in wanted]
    if prompts is None or paths[0].parent.exists():  # else it is made once all else is known to be right
        files.check_destinations(paths, force=force, preview=preview)
    if like and model is None and settings.get("hub"):
        raise UserError(f"'{like}' was made by a hub model: add {options_of(settings['hub'])}")
    loaded = load(model, device, revision=revision, dtype=dtype, offload=offload, loras=lora or ())
    if like:
        of_file = {name: rule for name, rule in request.rules.items() if name not in ruled}
        for difference in files.differences(loaded, settings, replace(request, rules=of_file), like):
            say(f"note: {difference}")
    known = files.known_frames(loaded, request, image, video, frames, last, say)
    begun = [(replace(one, frames={**one.frames, **known}), path) for one, path in wanted]
    files.make_all(loaded, begun, say=say, force=force, preview=preview)


def decode(
    latents: Annotated[Path, typer.Argument(help="The latents that an interrupted generate left behind.")],
    out: Annotated[Path, typer.Option(help="mp4, gif, webp or png.")],
    model: ModelOption = None,
    device: DeviceOption = None,
    revision: RevisionOption = None,
    dtype: DtypeOption = None,
    offload: OffloadOption = None,
    lora: LoraOption = None,
    force: ForceOption = False,
) -> None:
    """Turn kept latents into a video."""
    from vitascope import media
    from vitascope.sample.loading import load

    media.check_destination(out, force=force)
    clip = load(model, device, revision=revision, dtype=dtype, offload=offload, loras=lora or ()).decode(latents)
    media.write(clip, out, force=force)
    say(f"{out}: {clip.num_frames} frames; '{latents}' is no longer needed")


def show(file: Annotated[Path, typer.Argument(help="A file that vitascope wrote.")]) -> None:
    """Print the settings kept inside a file."""
    import json

    from rich import print_json

    from vitascope import media

    settings = media.read_settings(file)
    kept = settings.get("frames")
    if isinstance(kept, dict):  # pictures as text fill the screen and tell nobody anything
        settings["frames"] = {number: f"a picture ({len(str(text))} bytes)" for number, text in kept.items()}
    print_json(json.dumps(settings))


def toyland(
    sentence: Annotated[str, typer.Argument(help="A sentence to draw; random scenes if absent.")] = "",
    out: Annotated[Path, typer.Option(help="A folder, or for a sentence a file.")] = Path("out/toyland"),
    num: Annotated[int | None, typer.Option(help="How many random scenes; 16 if absent.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="one, two, relation, count, change, interaction, camera or style.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="seen or unseen.")] = None,
    seed: Annotated[int, typer.Option(help="Other scenes.")] = 0,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "64x64",
    num_frames: Annotated[int, typer.Option(help="Length in frames.")] = 16,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 8.0,
    force: ForceOption = False,
) -> None:
    """Draw the built-in world: random scenes with captions and a contact sheet, or one sentence."""
    import random
    from typing import get_args

    from vitascope.toyland.drawing import draw_scenes, draw_sentence, drawing
    from vitascope.toyland.scene import Kind, Split

    draw, rng = drawing(parse_size(size) or (64, 64), num_frames, fps), random.Random(seed)
    if sentence:
        for option, value in (("--num", num), ("--kind", kind), ("--split", split)):
            if value is not None:
                raise UserError(f"{option} is for random scenes and a sentence was given; leave one of them out")
        path = out if out.suffix else out.with_suffix(".mp4")
        draw_sentence(sentence, path, draw, rng, force=force)
        say(f"{path}: {sentence}")
        return
    num = 16 if num is None else num
    if num < 1:
        raise UserError(f"--num must be at least 1, got {num}")
    wanted_kind, wanted_split = one_of("--kind", kind, get_args(Kind)), one_of("--split", split, get_args(Split))
    draw_scenes(
        folder_for_many(out, "toyland without a sentence"), num, wanted_kind, wanted_split, draw, rng, force=force
    )
    say(f"{out}: {num} {'clip' if num == 1 else 'clips'}, captions.tsv, sheet.png")
