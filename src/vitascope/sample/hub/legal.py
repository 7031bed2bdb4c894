"""A request as a checkpoint of others can meet it: which of its pipelines, every choice made, what was changed."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vitascope.media.pictures import to_bytes
from vitascope.sample.hub.traits import Traits, read
from vitascope.sample.legal import (
    MOST_FRAMES,
    kept_pictures,
    known_pictures,
    legal_fps,
    legal_guidance,
    legal_size,
    legal_steps,
    of_plain_types,
    pictures_of,
    wished_length,
)
from vitascope.types import Request, UserError


@dataclass(frozen=True)
class Route:
    """A pipeline over a checkpoint's parts, and what it takes and makes."""

    pipeline: Any
    traits: Traits


@dataclass(frozen=True, eq=False)
class Wish:
    """A request with every choice made."""

    request: Request
    route: Route
    size: tuple[int, int]
    num_frames: int
    fps: float
    steps: int
    guidance: float
    known: dict[int, Float[Tensor, "3 h w"]]
    changes: tuple[str, ...]

    @cached_property
    def video(self) -> str:
        """The checksum of the video that is worked over, if one is."""
        if not self.route.traits.video:
            return ""
        pictures = [self.known[number] for number in sorted(self.known)]
        return hashlib.sha256(b"".join(to_bytes(picture[None]).tobytes() for picture in pictures)).hexdigest()


def routes_of(pipeline: Any, name: str) -> tuple[Route, ...]:
    """The pipeline of a checkpoint, and others that the same parts are enough for."""
    import diffusers  # late: an extra

    kinds = [
        getattr(diffusers, kind)
        for kind, needed in SIBLINGS.get(type(pipeline).__name__, {}).items()
        if not needed or pipeline.config.get(needed)
    ]
    pipelines = [pipeline, *(_over(pipeline, kind) for kind in kinds if _takes_all(kind, pipeline))]
    for one in pipelines:
        one.set_progress_bar_config(disable=True)  # each has a bar of its own, and ours is shown
    return tuple(Route(one, traits) for one in pipelines for traits in _uses(read(one, name)))


def _uses(traits: Traits) -> tuple[Traits, ...]:
    """A pipeline that takes a picture or a video needs neither, and is given one of them at most."""
    if not (traits.image and traits.video):
        return (traits,)
    wordy = replace(traits, image="", last_image="", video="")
    return wordy, replace(traits, video=""), replace(wordy, video=traits.video)


def _arguments(pipeline: Any) -> dict[str, Any]:
    """All that the pipeline was built of and that says something."""
    given = {**{key: value for key, value in pipeline.config.items() if not key.startswith("_")}, **pipeline.components}
    return {key: value for key, value in given.items() if value is not None and value is not False}


def _takes_all(kind: Any, pipeline: Any) -> bool:
    return set(_arguments(pipeline)) <= set(inspect.signature(kind.__init__).parameters)


def _over(pipeline: Any, kind: Any) -> Any:
    return kind(**_arguments(pipeline))


def legalise(routes: tuple[Route, ...], request: Request) -> Wish:
    """Choose the pipeline, check the request, make its open choices. Sizes and lengths are snapped."""
    request = of_plain_types(request)
    _refuse_rules(request)
    route = _route(routes, request)
    traits, changes = route.traits, list[str]()
    if not traits.words and request.prompt.strip():
        raise UserError("this checkpoint reads no words, only a picture; leave the prompt out")
    if traits.words and not request.prompt.strip() and not request.frames:
        raise UserError("the prompt is empty: say what the video should show")
    steps, guidance = legal_steps(request.steps, traits.steps), legal_guidance(request.guidance, traits.scale)
    if not traits.guidance and request.guidance is not None:
        raise UserError("this checkpoint takes no guidance scale; leave --guidance (in Python guidance) out")
    if request.negative:
        _check_negative(traits, guidance)
    fps = legal_fps(request.fps, traits.fps)
    size = _size(traits, request, changes)
    num_frames = _length(traits, request, fps, changes)
    given = pictures_of(request)
    changes += [*_unread(route, request), *_untold(traits, fps), *_cut(given, size)]
    taken = {number: picture for number, picture in given.items() if not traits.video or number < num_frames}
    known = known_pictures(taken, num_frames, size)
    return Wish(request, route, size, num_frames, fps, steps, guidance, known, tuple(changes))


def _refuse_rules(request: Request) -> None:
    given = [*(["solver"] if request.solver is not None else []), *request.rules]
    if given:
        raise UserError(f"a checkpoint of others brings its own {given[0].replace('_', ' ')}; it cannot be chosen")


def _check_negative(traits: Traits, guidance: float) -> None:
    """Refuse what the pipeline would not hear, or would pass over in silence."""
    if not traits.negative:
        raise UserError(
            "this checkpoint takes no words for what not to show; leave --negative (in Python negative) out"
        )
    if traits.guidance and "true_cfg_scale" not in traits.accepts and guidance <= 1:
        raise UserError(f"--negative works by guidance, which {guidance:g} turns off; give a --guidance above 1")


def _route(routes: tuple[Route, ...], request: Request) -> Route:
    """The first pipeline that takes what is given, and needs no more."""
    for route in routes:
        traits, given = route.traits, set(request.frames)
        if traits.video:
            fits = len(given) > 1 and given == set(range(len(given)))
        elif traits.image:
            ends = {0, -1}, {0, (request.num_frames or 0) - 1}
            both = bool(traits.last_image) and len(given) == 2 and given in ends
            fits = both or (given == {0} and not traits.needs_last)
        else:
            fits = not given
        if fits:
            return route
    takes = " or ".join(dict.fromkeys(_takes(route.traits) for route in routes))
    raise UserError(f"this checkpoint makes videos from {takes}; it was given {_given(request)}")


def _takes(traits: Traits) -> str:
    words = "words and " if traits.words else ""
    if traits.video:
        return f"{words}a video to work over (--video)"
    if traits.image:
        if traits.needs_last:
            return f"{words}a first and a last picture (--image and --last)"
        return f"{words}a first picture (--image{'; --last too' if traits.last_image else ''})"
    return "words alone"


def _given(request: Request) -> str:
    if not request.frames:
        return "words alone"
    numbers = sorted(request.frames)
    shown = ", ".join(map(str, numbers[:4])) + (f" and {len(numbers) - 4} more" if len(numbers) > 4 else "")
    return f"a picture for frame {shown}" if len(numbers) == 1 else f"pictures for frames {shown}"


def _size(traits: Traits, request: Request, changes: list[str]) -> tuple[int, int]:
    wished = request.size or traits.size
    if traits.fixed_size and wished != traits.size:
        changes.append(
            f"size {wished[0]}x{wished[1]} became {traits.size[0]}x{traits.size[1]}: the model makes no other"
        )
        return traits.size
    if traits.least == (0, 0):
        return legal_size(wished, traits.grain, changes)
    legal_size(wished, (1, 1), [])  # refuses what is no size
    rules = list(zip(traits.least, traits.grain, strict=True))
    width, height = (
        least + max(round((side - least) / step), 0) * step for side, (least, step) in zip(wished, rules, strict=True)
    )
    if (width, height) != wished:
        wide, high = (f"{least} + {step}k" for least, step in rules)
        changes.append(f"size {wished[0]}x{wished[1]} became {width}x{height}: the model makes {wide} by {high} pixels")
    return width, height


def _length(traits: Traits, request: Request, fps: float, changes: list[str]) -> int:
    own = len(request.frames) if traits.video else traits.num_frames
    wished, said = wished_length(request, fps, own)
    legal = traits.legal_length(wished)
    if traits.video and legal > len(request.frames):
        legal -= traits.cube
    if not 1 <= legal <= MOST_FRAMES:
        raise UserError(
            f"a video of {len(request.frames)} frames is too short; give at least {traits.cube + traits.first}"
        )
    if abs(legal - wished) > 0.001:
        changes.append(f"{said} became {legal} frames ({legal / fps:g} s): {_rule(traits)}, {fps:g} a second")
    return legal


def _unread(route: Route, request: Request) -> Iterator[str]:
    """Of words that are too many for the pipeline, which cuts them off in silence."""
    tokenizer = getattr(route.pipeline, "tokenizer", None)
    if tokenizer is None:
        return
    for what, text in (("prompt", request.prompt), ("negative prompt", request.negative)):
        num = len(tokenizer(text).input_ids) if text else 0
        if num > (most := route.traits.most_words):
            yield f"the end of the {what} is not read: it has {num} tokens (parts of words), and the model reads {most}"


def _untold(traits: Traits, fps: float) -> Iterator[str]:
    if traits.rate and _told_rate(fps) != fps:
        yield f"the model is told {_told_rate(fps)} frames a second, as it knows whole numbers; the file has {fps:g}"


def _told_rate(fps: float) -> int:
    return max(round(fps), 1)


def _cut(given: Mapping[int, Float[Tensor, "3 _h _w"]], size: tuple[int, int]) -> Iterator[str]:
    """Of given pictures in another shape than the video's, which lose what does not fit."""
    width, height = size
    for number, picture in given.items():
        high, wide = picture.shape[-2:]
        scale = max(width / wide, height / high)
        if wide * scale > width + 1 or high * scale > height + 1:
            sides = "left and right" if wide * scale > width + 1 else "top and bottom"
            yield f"the picture for frame {number} ({wide}x{high}) is cut at {sides} to the shape of {width}x{height}"


def _rule(traits: Traits) -> str:
    if traits.lengths:
        return f"the model makes {' or '.join(map(str, traits.lengths))} frames"
    grouped = f"{traits.first} + {traits.cube}k" if traits.first else f"{traits.cube}k" if traits.cube > 1 else "whole"
    most = f", at most {traits.most_frames}" if traits.most_frames else ""
    return f"the model makes {grouped} frames{most}"


def arguments_of(wish: Wish, steps: int) -> dict[str, Any]:
    """What the pipeline is called with: of everything here, that which its signature has."""
    traits, (width, height) = wish.route.traits, wish.size
    given: dict[str, Any] = {
        "width": width,
        "height": height,
        "num_inference_steps": steps,
        "decode_chunk_size": wish.num_frames,  # one call of the decoder, whose latents can then be kept
        "clean_caption": False,  # it would depend on which packages are installed
        "use_resolution_binning": False,  # it would sample at another size than is said
        traits.length: wish.num_frames,
        traits.guidance: wish.guidance,
        traits.rate: _told_rate(wish.fps),
    }
    if traits.words:
        given["prompt"] = wish.request.prompt
    if wish.request.negative:
        given[traits.negative] = wish.request.negative
    if traits.video:
        given[traits.video] = [_picture(wish.known[number]) for number in range(wish.num_frames)]
    elif traits.image:
        given[traits.image] = _picture(wish.known[0])
        if len(wish.known) > 1:
            given[traits.last_image] = _picture(wish.known[wish.num_frames - 1])
    return {name: value for name, value in given.items() if name in traits.accepts}


def _picture(pixels: Float[Tensor, "3 h w"]) -> Image.Image:
    return Image.fromarray(to_bytes(pixels[None])[0])


def settings_of(wish: Wish, identity: str, origin: dict[str, Any]) -> dict[str, Any]:
    """All that is needed to make the video again, but for a video that was worked over."""
    return {
        "model": identity,
        "prompt": wish.request.prompt,
        "negative": wish.request.negative,
        "size": list(wish.size),
        "num_frames": wish.num_frames,
        "fps": wish.fps,
        "seed": wish.request.seed,
        "steps": wish.steps,
        "guidance": wish.guidance,
        "frames": {} if wish.video else kept_pictures(wish.request, wish.known, wish.num_frames),
        "hub": {**origin, "video": wish.video},
    }


# What the parts of a checkpoint are enough for besides the pipeline that it names; with the setting that it takes.
SIBLINGS: dict[str, dict[str, str]] = {
    "AnimateDiffPipeline": {"AnimateDiffVideoToVideoPipeline": ""},
    "CogVideoXPipeline": {"CogVideoXVideoToVideoPipeline": ""},
    "CogVideoXVideoToVideoPipeline": {"CogVideoXPipeline": ""},
    "LTXImageToVideoPipeline": {"LTXPipeline": ""},
    "LTXPipeline": {"LTXImageToVideoPipeline": ""},
    "WanPipeline": {"WanVideoToVideoPipeline": "", "WanImageToVideoPipeline": "expand_timesteps"},
}
