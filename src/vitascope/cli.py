"""The command line: each command reads its options, calls one function below, and says what came of it.

Nothing heavy is imported before a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitascope.errors import UserError

if TYPE_CHECKING:
    from vitascope.sample.model import Model
    from vitascope.types import Clip, Request

app = typer.Typer(
    help="Make, train and measure text-and-image-to-video models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # importing rich takes as long as all else that `--help` does
)
evaluate_app = typer.Typer(help="Measure a model.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(evaluate_app, name="evaluate")

DEMO_PROMPTS = (
    "a small red circle moves left on a black background",
    "a large blue star spins on a beige background",
    "a small yellow heart bounces on a navy background",
    "a large cyan square moves up while a small orange ring moves right on a grey background",
)

ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of a trained model; the bundled one if absent.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2, never a traceback."""
    try:
        app()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt as stop:
        say(str(stop) or "stopped")
        sys.exit(130)
    except MemoryError:
        say("error: the memory is full; ask for a smaller --size, fewer --num-frames or a smaller --num")
        sys.exit(2)


def say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for the videos.")] = Path("out/demo")) -> None:
    """Make videos from text and from an image with the bundled model."""
    from vitascope import media
    from vitascope.types import Clip, Request

    model = open_model(None)
    make_folder(out)
    clips = []
    for number, prompt in enumerate(DEMO_PROMPTS):
        clips.append(make(model, Request(prompt, seed=number), out / f"text-{number}.mp4", force=True))
    given = clips[1].pixels[0]
    media.write(Clip(given[None], caption=DEMO_PROMPTS[1]), out / "image.png", force=True)
    said = "a large blue star moves right on a beige background"
    clips.append(make(model, Request(said, {0: given}, seed=9), out / "image-0.mp4", force=True))
    media.write(Clip(media.contact_sheet(clips, columns=1)[None]), out / "sheet.png", force=True)
    say(f"{out / 'sheet.png'}: all of them side by side")


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the video shows.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="mp4, gif, webp or png; with --prompts a folder. out.mp4, or out, if absent.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="First frame.")] = None,
    video: Annotated[Path | None, typer.Option(help="A video to go on from.")] = None,
    frames: Annotated[int, typer.Option(help="How many of the last frames of --video to go on from.")] = 4,
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
    from vitascope.sample.legal import request_of
    from vitascope.types import Request

    if seconds is not None and num_frames is not None:
        raise UserError("--seconds and --num-frames both say how long; give one of them")
    if prompt and prompts is not None:
        raise UserError("a prompt and --prompts both say what to show; give one of them")
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
    request = replace(request, frames={**request.frames, **known_frames(image, video, frames, last)})
    if prompts is None:
        wanted = numbered(request, out or Path("out.mp4"), num)
    else:
        folder = out or Path("out")
        named = ((folder / f"{number:04d}.mp4", line) for number, line in enumerate(read_prompts(prompts)))
        wanted = [one for path, line in named for one in numbered(replace(request, prompt=line), path, num)]
        make_folder(folder)
    for _, path in wanted:
        check_destinations(path, force=force)
    loaded = open_model(model)
    if settings and settings.get("model") != loaded.card.sha256:
        say(f"note: '{like}' was made by another model; with this one the video is another")
    for request, path in wanted:
        make(loaded, request, path, force=force, preview=preview)


@app.command()
def decode(
    latents: Annotated[Path, typer.Argument(help="The latents that an interrupted generate left behind.")],
    out: Annotated[Path, typer.Option(help="mp4, gif, webp or png.")],
    model: ModelOption = None,
    force: ForceOption = False,
) -> None:
    """Turn kept latents into a video."""
    from vitascope import media

    media.check_destination(out, force=force)
    clip = open_model(model).decode(latents)
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
        settings["frames"] = {number: f"a picture ({len(text)} bytes)" for number, text in kept.items()}
    print_json(json.dumps(settings))


@app.command()
def toyland(
    sentence: Annotated[str, typer.Argument(help="A sentence to draw; random scenes if absent.")] = "",
    out: Annotated[Path, typer.Option(help="A folder, or for a sentence a file.")] = Path("out/toyland"),
    num: Annotated[int, typer.Option(help="How many random scenes.")] = 16,
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
    from vitascope import toyland as world
    from vitascope.toyland.scene import Kind, Split
    from vitascope.types import Clip

    width, height = parse_size(size) or (64, 64)
    if not (
        min(width, height) >= 1 and max(width, height) <= 4096 and 1 <= num_frames <= 10_000 and fps > 0 and num >= 1
    ):
        raise UserError("a drawing has 1 to 4096 pixels a side, 1 to 10000 frames, and an fps and --num above 0")
    rng = random.Random(seed)
    if sentence:
        path = out if out.suffix else out.with_suffix(".mp4")
        make_folder(path.parent)
        media.check_destination(path, force=force)
        media.write(world.render(world.parse(sentence, rng), num_frames, height, width, fps), path, force=force)
        say(f"{path}: {sentence}")
        return
    wanted_kind = one_of("--kind", kind, get_args(Kind))
    wanted_split = one_of("--split", split, get_args(Split))
    make_folder(out)
    paths = [out / f"{number:04d}.mp4" for number in range(num)]
    for path in (*paths, out / "sheet.png"):
        media.check_destination(path, force=force)
    scenes = [world.sample(rng, wanted_kind, wanted_split) for _ in paths]
    clips = [world.render(scene, num_frames, height, width, fps) for scene in scenes]
    for clip, path in zip(clips, paths, strict=True):
        media.write(clip, path, force=force)
    lines = "".join(f"{path.name}\t{clip.caption}\n" for clip, path in zip(clips, paths, strict=True))
    media.replace_file(out / "captions.tsv", lines.encode())
    media.write(Clip(media.contact_sheet(clips, columns=2)[None]), out / "sheet.png", force=force)
    say(f"{out}: {num} clips, captions.tsv, sheet.png")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="laptop:stiv, ./file.py:function, or a run.json.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME if absent.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="A setting by dotted path: stages.t2v.steps=100.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time for all stages; the learning rate decays with it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    show_only: Annotated[bool, typer.Option("--print", help="Show the whole run and stop.")] = False,
) -> None:
    """Train a model by a recipe."""
    import json

    from rich import print_json

    from vitascope.config import override, to_json
    from vitascope.recipes import resolve

    run = resolve(recipe)
    for change in changes or []:
        path, equals, text = change.partition("=")
        if not equals:
            raise UserError(f"--set needs path=value, got '{change}'")
        run = override(run, path, text)
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
    from vitascope.recipes.judged import judged_by_toyland

    if out is not None and out.exists() and not force:
        raise UserError(f"'{out}' exists already and is kept; pass --force to replace it, or choose another name")
    loaded = open_model(model)
    generate_clips, encode_decode = judged_by_toyland(loaded, steps, guidance, solver)
    report = evaluate(
        generate_clips, split=split, kind=kind, num=num, seed=seed, captions=captions, task=task, batch=batch,
        encode_decode=encode_decode, progress=tracker("judging"),
    )  # fmt: skip
    report.print(Console())
    if out is not None:
        media.replace_file(out, report.to_json().encode())


@app.command()
def doctor() -> None:
    """Say what this machine has, what is missing, and what to type."""
    from vitascope.doctor import print_report

    print_report()


def open_model(folder: Path | None) -> Model:
    from vitascope.sample.model import load

    return load(folder)


def numbered(request: Request, path: Path, num: int) -> list[tuple[Request, Path]]:
    """`num` requests with seeds counted up, and a file for each."""
    from dataclasses import replace

    if num == 1:
        return [(request, path)]
    return [(replace(request, seed=request.seed + k), path.with_stem(f"{path.stem}-{k:03d}")) for k in range(num)]


def latents_beside(path: Path) -> Path:
    return path.with_suffix(".latents.safetensors")


def check_destinations(path: Path, *, force: bool) -> None:
    """Refuse before sampling to replace a video, or latents that an interrupted run left to be decoded."""
    from vitascope import media

    media.check_destination(path, force=force)
    kept = latents_beside(path)
    if kept.exists() and not force:
        raise UserError(
            f"'{kept}' holds finished work of an interrupted run: finish it (vitascope decode {kept} --out {path}), "
            "or pass --force to replace it"
        )


def make(model: Model, request: Request, path: Path, *, force: bool, preview: bool = False) -> Clip:
    """Sample, keep the latents until the video is written, write it, and say what came of it."""
    from vitascope import media

    check_destinations(path, force=force)
    for change in model.changes(request):
        say(f"note: {change}")
    begun, latents = time.monotonic(), latents_beside(path)
    latents.unlink(missing_ok=True)
    try:
        with sampling_bar(path.name, model, path.with_suffix(".preview.png") if preview else None) as progress:
            clip = model.fulfil(request, progress=progress, keep_latents=latents)
        media.write(clip, path, force=force)
    except BaseException:
        if latents.exists():
            say(f"the sampled video is not lost: vitascope decode {latents} --out {path}")
        raise
    latents.unlink(missing_ok=True)
    if clip.num_frames > 1 and clip.pixels.std() < 1 / 255:
        say("note: the video is of one flat colour; try another seed or less guidance")
    (width, height), spent = clip.size, time.monotonic() - begun
    say(
        f"{path}: {clip.num_frames} frames, {clip.seconds:g} s at {clip.fps:g} fps, {width}x{height}, "
        f"seed {request.seed}, made in {spent:.1f} s"
    )
    return clip


def sampling_bar(name: str, model: Model, preview: Path | None) -> Any:
    """A progress bar by step; with `preview` also a filmstrip of what the noisy video looks like so far."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import Progress

    from vitascope import media
    from vitascope.sample.generate import decode as decode_latents
    from vitascope.types import Clip

    @contextmanager
    def bar() -> Any:
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
            task = shown.add_task(name, total=None)

            def progress(done: int, steps: int, z: Any) -> None:
                shown.update(task, completed=done, total=steps)
                if preview is not None and (done % max(steps // 8, 1) == 0 or done == steps):
                    strip = media.filmstrip(Clip(decode_latents(model.system, z[0])))
                    media.write(Clip(strip[None]), preview, force=True)

            yield progress

    return bar()


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


def known_frames(image: Path | None, video: Path | None, frames: int, last: Path | None) -> dict[int, Any]:
    """Known pictures by frame number, from the options that give them."""
    from vitascope import media

    if image is not None and video is not None:
        raise UserError("--image and --video both say how the video begins; give one of them")
    known: dict[int, Any] = {}
    if video is not None:
        if frames < 1:
            raise UserError(f"--frames must be at least 1, got {frames}")
        clip = media.read_video(video)
        if clip.num_frames < frames:
            raise UserError(
                f"'{video}' has {clip.num_frames} frames and --frames asks for {frames}; "
                f"ask for at most {clip.num_frames}"
            )
        known |= dict(enumerate(clip.pixels[-frames:]))
    if image is not None:
        known[0] = media.read_image(image)
    if last is not None:
        known[-1] = media.read_image(last)
    return known


def parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise UserError(f"a size is WIDTHxHEIGHT in pixels, such as 64x64, got '{text}'") from None


def read_prompts(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is no readable text file ({error}); give one prompt on each line") from None
    prompts = [line for line in lines if line]
    if not prompts:
        raise UserError(f"'{path}' has no prompts; give one on each line")
    return prompts


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder '{path}' cannot be made ({os.strerror(error.errno or 0)}); choose another --out"
        ) from None


def one_of(option: str, value: str | None, known: tuple[str, ...]) -> Any:
    if value is not None and value not in known:
        raise UserError(f"{option} must be one of {', '.join(known)}, got '{value}'")
    return value


if __name__ == "__main__":
    main()
