"""The command line: each command reads its options, calls one function below, and says what came of it.

Nothing heavy is imported before a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitascope.errors import UserError, is_out_of_memory
from vitascope.train.stop import Stopped

if TYPE_CHECKING:
    from vitascope.train.stages import Run

app = typer.Typer(
    help="Make, train and measure text-and-image-to-video models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # importing rich takes as long as all else that `--help` does
)
evaluate_app = typer.Typer(help="Measure a model.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(evaluate_app, name="evaluate")

DEMO_FOLDER = Path("out/demo")

ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of a trained model; the bundled one if absent.")
]
ChangesOption = Annotated[
    list[str] | None, typer.Option("--set", help="A setting by dotted path: stages.t2v.steps=100.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2, and Ctrl-C one line and 130."""
    try:
        app()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(2)
    except Stopped as stop:
        say(str(stop))
        sys.exit(130)
    except SystemExit as end:
        if end.code == 130:  # so typer ends what Ctrl-C interrupted, without a word
            say("stopped")
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        say("error: the memory is full; ask for less at once: a smaller --size, --num-frames, --num or batch")
        sys.exit(2)


def say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the videos.")] = DEMO_FOLDER, force: ForceOption = False
) -> None:
    """Make videos from text and from an image with the bundled model."""
    from vitascope.sample.demo import make_demo

    make_demo(out, force=force or out == DEMO_FOLDER, say=say)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the video shows.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="mp4, gif, webp or png; with --prompts a folder. out.mp4, or out, if absent.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="First frame.")] = None,
    video: Annotated[Path | None, typer.Option(help="A video to go on from.")] = None,
    frames: Annotated[
        int | None, typer.Option(help="How many of the last frames of --video to go on from; 4 if absent.")
    ] = None,
    last: Annotated[Path | None, typer.Option(help="Last frame.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length in seconds.")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Length in frames.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same video.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="1: none; higher follows the words more closely.")] = None,
    solver: Annotated[str | None, typer.Option(help="euler, heun, dpmpp, unipc or sde.")] = None,
    num: Annotated[int, typer.Option(help="How many videos, with seeds counted up.")] = 1,
    prompts: Annotated[Path | None, typer.Option(help="A file with a prompt on each line.")] = None,
    like: Annotated[Path | None, typer.Option(help="Begin from the settings kept inside this file.")] = None,
    model: ModelOption = None,
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
    from vitascope.sample.model import load
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
    request = request_of(settings) if like else Request(prompt)
    given: dict[str, Any] = {
        "prompt": prompt or None, "num_frames": num_frames, "seconds": seconds, "fps": fps,
        "size": parse_size(size), "seed": seed, "steps": steps, "guidance": guidance, "solver": solver,
    }  # fmt: skip
    if seconds is not None:
        request = replace(request, num_frames=None)
    request = replace(request, **{name: value for name, value in given.items() if value is not None})
    if prompts is None:
        wanted = files.numbered(request, out or Path("out.mp4"), num)
    else:
        wanted = files.from_lines(request, prompts, out or Path("out"), num)
    paths = [path for _, path in wanted]
    if prompts is None or paths[0].parent.exists():  # else it is made once all else is known to be right
        files.check_destinations(paths, force=force, preview=preview)
    loaded = load(model)
    if like:
        for difference in files.differences(loaded, settings, request, like):
            say(f"note: {difference}")
    known = files.known_frames(loaded.system, request, image, video, 4 if frames is None else frames, last, say)
    begun = [(replace(one, frames={**one.frames, **known}), path) for one, path in wanted]
    files.make_all(loaded, begun, say=say, force=force, preview=preview)


@app.command()
def decode(
    latents: Annotated[Path, typer.Argument(help="The latents that an interrupted generate left behind.")],
    out: Annotated[Path, typer.Option(help="mp4, gif, webp or png.")],
    model: ModelOption = None,
    force: ForceOption = False,
) -> None:
    """Turn kept latents into a video."""
    from vitascope import media
    from vitascope.sample.model import load

    media.check_destination(out, force=force)
    clip = load(model).decode(latents)
    media.write(clip, out, force=force)
    say(f"{out}: {clip.num_frames} frames; '{latents}' is no longer needed")


@app.command()
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


@app.command()
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
    draw_scenes(out, num, wanted_kind, wanted_split, draw, rng, force=force)
    say(f"{out}: {num} clips, captions.tsv, sheet.png")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="laptop:stiv, ./file.py:function, or a run.json.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME if absent.")] = None,
    changes: ChangesOption = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time for all stages; the learning rate decays with it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    show_only: Annotated[bool, typer.Option("--print", help="Show the whole run and stop.")] = False,
) -> None:
    """Train a model by a recipe."""
    import json

    from rich import print_json

    from vitascope.config import to_json

    run = changed(recipe, changes)
    if show_only:
        print_json(json.dumps(to_json(run)))
        return
    from vitascope.recipes.watch import watcher
    from vitascope.train.loop import fit

    if minutes is not None and not minutes > 0:
        raise UserError(f"--minutes must be above 0, got {minutes:g}")
    folder = out or Path("runs") / run.name
    fit(run, folder, resume=resume, minutes=minutes, watch=watcher(run.preview_prompts))
    say(f"{folder / 'model'}: the trained model; vitascope generate PROMPT --model {folder / 'model'}")


@app.command()
def plan(
    recipe: Annotated[str, typer.Argument(help="stiv:xl_256, laptop:stiv, ./file.py:function, or a run.json.")],
    changes: ChangesOption = None,
    gpus: Annotated[int, typer.Option(help="How many; they split the batch.")] = 1,
    gpu: Annotated[str, typer.Option(help="h100, h200, a100, b200, l40s, l4, rtx4090, ..., or cpu.")] = "h100",
    price: Annotated[float | None, typer.Option(help="What one device costs an hour.")] = None,
) -> None:
    """Say what a run will need: parameters, FLOPs, memory, time and cost."""
    from rich.console import Console

    from vitascope.plan.devices import device
    from vitascope.plan.report import plan as make_plan
    from vitascope.plan.report import print_plan

    print_plan(make_plan(changed(recipe, changes), device(gpu), gpus, price), Console())


@evaluate_app.command("toyland")
def evaluate_toyland(
    model: ModelOption = None,
    split: Annotated[str, typer.Option(help="seen or unseen triples of colour, shape and motion.")] = "seen",
    kind: Annotated[str, typer.Option(help="one, two, relation, count, change, interaction, camera or style.")] = "one",
    num: Annotated[int, typer.Option(help="How many clips.")] = 256,
    seed: Annotated[int, typer.Option(help="Other test scenes.")] = 0,
    captions: Annotated[str, typer.Option(help="canonical, paraphrased or both.")] = "both",
    task: Annotated[str, typer.Option(help="text, or image: the true first frame is given.")] = "text",
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    solver: Annotated[str | None, typer.Option(help="euler, heun, dpmpp, unipc or sde.")] = None,
    batch: Annotated[int, typer.Option(help="Clips sampled together.")] = 16,
    out: Annotated[Path | None, typer.Option(help="Write the report here as JSON.")] = None,
    force: ForceOption = False,
) -> None:
    """Ask for Toyland's test scenes and let the exact oracle judge the clips."""
    from rich.console import Console

    from vitascope import media
    from vitascope.evaluate.toyland import evaluate
    from vitascope.recipes.judged import Judged
    from vitascope.sample.model import load

    if out is not None:
        media.check_free(out, force=force)
    judged = Judged(load(model), steps, guidance, solver)
    report = evaluate(
        judged.generate, split=split, kind=kind, num=num, seed=seed, captions=captions, task=task, batch=batch,
        encode_decode=judged.encode_decode, made_with=judged.made_with, progress=tracker("judging"),
    )  # fmt: skip
    report.print(Console())
    if out is not None:
        media.replace_file(out, report.to_json().encode())


@app.command()
def doctor() -> None:
    """Say what this machine has, what is missing, and what to type."""
    from vitascope.doctor import print_report

    print_report()


def tracker(what: str) -> Any:
    """`progress(done, total)` as a bar that ends by itself."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    shown = Progress(console=console, transient=True, disable=not console.is_terminal)
    task = shown.add_task(what, total=None)

    def progress(done: int, total: int) -> None:
        shown.start()
        shown.update(task, completed=done, total=total)
        if done >= total:
            shown.stop()

    return progress


def parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise UserError(f"a size is WIDTHxHEIGHT in pixels, such as 64x64, got '{text}'") from None


def changed(recipe: str, changes: list[str] | None) -> Run:
    """The run of a recipe with settings changed by `path=value`."""
    from vitascope.config import override
    from vitascope.recipes import resolve

    run = resolve(recipe)
    for change in changes or []:
        path, equals, text = change.partition("=")
        if not equals:
            raise UserError(f"--set needs path=value, got '{change}'")
        run = override(run, path, text)
    return run


def one_of(option: str, value: str | None, known: tuple[str, ...]) -> Any:
    if value is not None and value not in known:
        raise UserError(f"{option} must be one of {', '.join(known)}, got '{value}'")
    return value


if __name__ == "__main__":
    main()
