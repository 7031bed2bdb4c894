"""Models behind a server that speaks the chat protocol of OpenAI, asked with pictures; every raw answer is kept."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

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


class Kept:
    """Answers by a key of what they depend on, one JSON object a line; without a path, in memory alone."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.known: dict[str, str] = {}
        text = path.read_text(encoding="utf-8") if path is not None and path.exists() else ""
        self.lead = "\n" if text and not text.endswith("\n") else ""
        for line in text.splitlines():
            try:
                kept = json.loads(line)
                self.known[kept["key"]] = kept["answer"]
            except (ValueError, KeyError, TypeError):
                continue  # the line that was being written when the machine stopped; its question is asked again

    def add(self, key: str, answer: str, **question: Any) -> None:
        self.known[key] = answer
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(self.lead + json.dumps({"key": key, **question, "answer": answer}) + "\n")
            self.lead = ""


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
                            f"{self.url} does not answer ({again}); start the server or mend its address"
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
                f"'{self.url}' must be the address of a server, such as http://localhost:8000/v1: {error}"
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


def yes_or_no(text: str) -> str:
    """The word that an answer begins with if it is one of the two, else nothing."""
    word = re.match(r"\W*(yes|no)\b", text.lower())
    return word.group(1) if word else ""


def waited(header: str | None) -> float | None:
    """What the server asks to wait, within reason; it may also be a date, which is not read."""
    return min(float(header), 60.0) if header and header.strip().isdigit() else None
