"""Vision-language models that answer questions about pictures: each question once, every raw answer kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vitascope.checksums import sha256_of
from vitascope.endpoint import Judge, Kept, Picture, Unanswered
from vitascope.errors import UserError, install
from vitascope.media import resize
from vitascope.types import Clip

LONGEST_SIDE = 768
"""Of the frames that models are shown: more would only make the question longer."""


def spread(num_frames: int, num: int) -> list[int]:
    """Numbers of frames evenly spread over a clip, none of them twice."""
    return list(dict.fromkeys(index * (num_frames - 1) // max(1, num - 1) for index in range(num)))


def shrunk(picture: Picture) -> Picture:
    height, width = picture.shape[-2:]
    scale = LONGEST_SIDE / max(height, width)
    return resize(picture, (max(1, round(width * scale)), max(1, round(height * scale)))) if scale < 1 else picture


def frames_of(clip: Clip, num: int) -> list[Picture]:
    return [shrunk(clip.pixels[number]) for number in spread(clip.num_frames, num)]


@dataclass
class Asking:
    """A judge whose answers are kept in a file of one JSON object a line, so that no question is asked twice.

    A stopped evaluation goes on where it was; `unanswered` counts questions without an answer, or with one that could
    not be understood.
    """

    judge: Judge
    path: Path | None = None
    unanswered: int = 0

    def __post_init__(self) -> None:
        self.kept = Kept(self.path)

    def __call__(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int = 0) -> str | None:
        """The answer, or None if there is none."""
        key = self.key(pictures, dialogue, seed)
        if key not in self.kept.known:
            try:
                answer = self.judge.answer(pictures, dialogue, seed)
            except Unanswered:
                self.unanswered += 1
                return None
            self.kept.add(key, answer, judge=self.judge.name, seed=seed, dialogue=[*dialogue])
        return self.kept.known[key]

    def key(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int) -> str:
        digest = hashlib.sha256(json.dumps([self.judge.name, [*dialogue], seed]).encode())
        for picture in pictures:
            pixels = (picture.clamp(0, 1) * 255).round().numpy().astype(np.uint8)
            digest.update(repr(pixels.shape).encode() + pixels.tobytes())
        return digest.hexdigest()[:32]


@lru_cache(16)
def identity(folder: Path) -> str:
    """A name made of the content of the folder, so that another model behind the same path answers anew."""
    if not folder.is_dir():
        raise UserError(f"'{folder}' must be the folder of a model of transformers, and there is none")
    return f"{folder.absolute().name} {sha256_of(folder)}"  # absolute: "." has no name


class LocalJudge:
    """An image-text-to-text model of transformers in a folder of the user's."""

    def __init__(self, folder: Path, device: str = "cpu", max_tokens: int = 256) -> None:
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError:
            raise UserError(f"a judge of one's own needs transformers: {install('hub')}") from None
        try:
            self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            self.model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True).to(device).eval()
        except (OSError, ValueError) as error:
            raise UserError(f"'{folder}' holds no vision-language model of transformers: {error}") from None
        self.name, self.device, self.max_tokens = f"{identity(folder)} (transformers, greedy)", device, max_tokens

    def answer(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int) -> str:
        """Greedy, so that `seed` changes nothing."""
        from PIL import Image

        images = [Image.fromarray((one * 255).round().byte().permute(1, 2, 0).numpy()) for one in pictures]
        first = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": dialogue[0]}]
        chat = [{"role": "user", "content": first}]
        for index, text in enumerate(dialogue[1:]):
            chat.append({"role": ("assistant", "user")[index % 2], "content": [{"type": "text", "text": text}]})
        given = self.processor.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        ).to(self.device)
        made = self.model.generate(**given, max_new_tokens=self.max_tokens, do_sample=False)
        text = self.processor.batch_decode(made[:, given["input_ids"].shape[1] :], skip_special_tokens=True)[0]
        if not text.strip():
            raise Unanswered("an empty answer")
        return str(text.strip())
