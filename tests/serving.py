"""A small local server that speaks the chat protocol, as well or as badly as a test wants."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vitascope.endpoint import Endpoint

Reply = tuple[int, str, float]


class Server:
    """A local server that answers each question with status, text and delay, and remembers what it was asked."""

    def __init__(self, replies: Callable[[int, dict[str, Any]], Reply]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.asked.append(content)
                owner.keys.append(self.headers.get("Authorization"))
                status, text, delay = replies(len(owner.asked), content)
                time.sleep(delay)
                try:
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(text.encode())
                except (BrokenPipeError, ConnectionError):
                    pass  # the client has gone, as it should after its time-out

            def log_message(self, *words: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def endpoint(self, **changes: Any) -> Endpoint:
        return Endpoint(self.url, "judge", **{"wait_seconds": 0.01, "timeout_seconds": 5.0, **changes})

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def in_order(replies: Sequence[Reply]) -> Callable[[int, dict[str, Any]], Reply]:
    """One after the other, the last one for ever."""
    return lambda number, _: replies[min(number, len(replies)) - 1]


def reply(text: str) -> tuple[int, str, float]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}), 0.0
