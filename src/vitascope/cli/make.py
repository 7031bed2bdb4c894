"""Commands that make videos, or look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    from vitascope import media
    from vitascope.sample.demo import make_demo

    make_demo(media.folder_for_many(out, "demo"), force=force or out == DEMO_FOLDER, say=say)


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
    seed: Annotated[int | None, typer.Option(help="Same seed, same video; 0 if absent, or that of --like.")] = None,
    negative: Annotated[str | None, typer.Option(help="Of a hub model: what the video should not show.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="1: none; higher follows the words more closely.")] = None,
    solver: SolverOption = None,
    rules: RulesOption = None,
    num: Annotated[int, typer.Option(help="How many videos, with seeds counted up.")] = 1,
    prompts: Annotated[
        Path | None, typer.Option(help="A file with a prompt on each line; blank lines are passed over.")
    ] = None,
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
    from vitascope.sample.loading import load
    from vitascope.sample.model import options_of
    from vitascope.sample.wishes import Wishes, make_planned, planned

    wishes = Wishes(
        prompt=prompt or None, negative=negative, num_frames=num_frames, seconds=seconds, fps=fps,
        size=None if size is None else parse_size(size), seed=seed, steps=steps, guidance=guidance, solver=solver,
        rules=parse_rules(rules), image=image, video=video, frames=frames, last=last, like=like, prompts=prompts,
        num=num, out=out,
    )  # fmt: skip
    plan = planned(wishes, force=force, preview=preview)
    if model is None and (origin := plan.settings.get("hub")):
        raise UserError(f"'{like}' was made by a hub model: add {options_of(origin)}")
    loaded = load(model, device, revision=revision, dtype=dtype, offload=offload, loras=lora or ())
    make_planned(loaded, plan, say=say, force=force, preview=preview)


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

    from vitascope import media
    from vitascope.toyland.drawing import draw_scenes, draw_sentence, drawing
    from vitascope.toyland.scene import Kind, Split

    draw, rng = drawing(parse_size(size), num_frames, fps), random.Random(seed)
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
    folder = media.folder_for_many(out, "toyland without a sentence")
    draw_scenes(folder, num, wanted_kind, wanted_split, draw, rng, force=force)
    say(f"{out}: {num} {'clip' if num == 1 else 'clips'}, captions.tsv, sheet.png")
