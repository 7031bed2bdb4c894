"""Vision-language models that answer questions about pictures: one small interface, and every raw answer kept."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitascope.errors import UserError
from vitascope.media import picture_to_base64png

Picture = Float[Tensor, "3 _h _w"]


class Unanswered(Exception):
    """A question to which no answer came, although the judge is there: it is counted, and the rest goes on."""


@runtime_checkable
class Judge(Protocol):
    """`dialogue` is what was said so far: a question, and any answers and questions that followed it."""

    @property
    def name(self) -> str: ...

    def answer(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int) -> str: ...


@dataclass
class Asking:
    """A judge whose answers are kept in a file of one JSON object a line, so that no question is asked twice.

    A stopped evaluation goes on where it was; `unanswered` counts questions without an answer, or with one that could
    not be understood.
    """

    judge: Judge
    path: Path | None = None
    unanswered: int = 0
    known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is None or not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                kept = json.loads(line)
                self.known[kept["key"]] = kept["answer"]
            except (ValueError, KeyError, TypeError):
                continue  # the line that was being written when the machine stopped; its question is asked again

    def __call__(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int = 0) -> str | None:
        """The answer, or None if there is none."""
        key = self.key(pictures, dialogue, seed)
        if key not in self.known:
            try:
                self.known[key] = self.judge.answer(pictures, dialogue, seed)
            except Unanswered:
                self.unanswered += 1
                return None
            self.keep({"key": key, "judge": self.judge.name, "seed": seed, "dialogue": [*dialogue]}, self.known[key])
        return self.known[key]

    def key(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int) -> str:
        digest = hashlib.sha256(json.dumps([self.judge.name, [*dialogue], seed]).encode())
        for picture in pictures:
            pixels = (picture.clamp(0, 1) * 255).round().numpy().astype(np.uint8)
            digest.update(repr(pixels.shape).encode() + pixels.tobytes())
        return digest.hexdigest()[:32]

    def keep(self, question: dict[str, Any], answer: str) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**question, "answer": answer}) + "\n")


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks the chat protocol of OpenAI: vLLM, SGLang, Ollama, llama.cpp and others."""

    url: str  # up to and with /v1
    model: str
    key: str = field(default="", repr=False)
    temperature: float = 0.1
    max_tokens: int = 512
    timeout_seconds: float = 120.0
    tries: int = 4
    wait_seconds: float = 1.0  # before the second try; doubled before each further one

    @property
    def name(self) -> str:
        return f"{self.model} (endpoint, T {self.temperature:g})"

    def answer(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int) -> str:
        body = {
            "model": self.model,
            "messages": messages(pictures, dialogue),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": seed,
        }
        for attempt in range(self.tries):
            try:
                return self.post(body)
            except Again as again:
                if attempt + 1 == self.tries:
                    if again.unreachable:
                        raise UserError(
                            f"{self.url} does not answer ({again}); start the server or mend --url"
                        ) from None
                    raise Unanswered(str(again)) from None
                time.sleep(again.wait_seconds or self.wait_seconds * 2**attempt)
        raise Unanswered("no try was made")

    def post(self, body: dict[str, Any]) -> str:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        address = f"{self.url.rstrip('/')}/chat/completions"
        try:
            request = urllib.request.Request(address, json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as response:
                return text_of(response.read())
        except urllib.error.HTTPError as error:
            said = error.read(300).decode(errors="replace").strip()
            if error.code == 429 or error.code >= 500:
                raise Again(f"status {error.code}", waited(error.headers.get("Retry-After"))) from None
            raise UserError(f"{address} refused with status {error.code}: {said or error.reason}") from None
        except urllib.error.URLError as error:
            is_late = isinstance(error.reason, TimeoutError)
            raise Again(f"{error.reason}", unreachable=not is_late) from None
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise Again(f"{type(error).__name__}: {error}") from None
        except ValueError as error:  # an address that is none
            raise UserError(
                f"--url must be the address of a server, such as http://localhost:8000/v1: {error}"
            ) from None


class Again(Exception):
    """Something that may pass if one waits."""

    def __init__(self, why: str, wait_seconds: float | None = None, unreachable: bool = False) -> None:
        super().__init__(why)
        self.wait_seconds, self.unreachable = wait_seconds, unreachable


def messages(pictures: Sequence[Picture], dialogue: Sequence[str]) -> list[dict[str, Any]]:
    """The pictures go with the first question."""
    shown: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture_to_base64png(picture)}"}}
        for picture in pictures
    ]
    told: list[dict[str, Any]] = [{"role": "user", "content": [*shown, {"type": "text", "text": dialogue[0]}]}]
    roles = ("assistant", "user")
    return told + [{"role": roles[index % 2], "content": text} for index, text in enumerate(dialogue[1:])]


def text_of(answer: bytes) -> str:
    try:
        text = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise Again(f"an answer of another form: {answer[:80]!r}") from None
    if not isinstance(text, str) or not text.strip():
        raise Again("an empty answer")
    return text.strip()


def waited(header: str | None) -> float | None:
    """What the server asks to wait, within reason; it may also be a date, which is not read."""
    return min(float(header), 60.0) if header and header.strip().isdigit() else None


class LocalJudge:
    """An image-text-to-text model of transformers in a folder of the user's."""

    def __init__(self, folder: Path, device: str = "cpu", max_tokens: int = 256) -> None:
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError:
            raise UserError("a judge of one's own needs transformers: pip install 'vitascope[hub]'") from None
        try:
            self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            self.model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True).to(device).eval()
        except (OSError, ValueError) as error:
            raise UserError(f"'{folder}' holds no vision-language model of transformers: {error}") from None
        self.name, self.device, self.max_tokens = f"{folder.name} (transformers, greedy)", device, max_tokens

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
