"""Commands that make more of a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vitascope.cli.common import DeviceOption, ForceOption, SolverOption, say, tracker


def upsample(
    video: Annotated[Path, typer.Argument(help="The video: mp4, gif or webp.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Folder of a model, such as one trained by laptop:tup; the bundled one if absent."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="mp4, gif or webp.")] = Path("out.mp4"),
    times: Annotated[int, typer.Option(help="As many frames in the same time: 2, 4, 8, ...")] = 2,
    prompt: Annotated[
        str | None, typer.Option(help="What the video shows; if absent, what its file says. '' tells nothing.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same frames.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="1: none.")] = None,
    solver: SolverOption = None,
    device: DeviceOption = None,
    force: ForceOption = False,
) -> None:
    """Fill in frames: 8 a second become 16, or 32."""
    from torch import Tensor

    from vitascope import media
    from vitascope.sample.loading import load_own
    from vitascope.sample.upsample import doubled
    from vitascope.sample.upsample import upsample as make
    from vitascope.types import Request

    media.check_destination(out, force=force)
    clip = media.read_video(video)
    words = clip.caption if prompt is None else prompt
    request = Request(words, seed=seed, steps=steps, guidance=guidance, solver=solver)

    def listener(number: int, passes: int) -> Any:
        bar = tracker(f"pass {number + 1} of {passes}")

        def progress(done: int, steps: int, z: Tensor) -> None:
            bar(done, steps)

        return progress

    loaded = load_own(model, device)
    for note in loaded.notes(doubled(clip, request)):
        say(f"note: {note}")
    made = make(loaded, clip, request, times, progress=listener)
    media.write(made, out, force=force)
    say(f"{out}: {made.num_frames} frames, {made.seconds:g} s at {made.fps:g} fps")
