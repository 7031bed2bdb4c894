"""One local page on which people compare videos. No address that it uses tells which folder a video lies in."""

from __future__ import annotations

import errno
import json
import re
import sqlite3
import sys
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

from vitascope.evaluate.arena.votes import CHOICES, CONTENT_TYPES, Arena, Pair, Side, Votes
from vitascope.types import UserError

MOST_BYTES = 10_000
"""Of a request's body."""
PIECE = 1 << 18
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
    "media-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"
)
"""What the page may load: nothing from elsewhere."""


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ArenaServer(ThreadingHTTPServer):
    """Serves the page, the videos and the votes; `port` 0 takes a free one."""

    daemon_threads = True

    def __init__(self, arena: Arena, votes: Votes, host: str = "127.0.0.1", port: int = 0) -> None:
        self.arena, self.votes = arena, votes
        self.order = lru_cache(maxsize=256)(arena.order)
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UserError(f"port {port} is taken; choose another --port, or 0 for any that is free") from None
            raise UserError(f"'{host}' port {port} cannot be served ({error.strerror}); choose another") from None
        except OverflowError:
            raise UserError(f"--port must be 0 to 65535, got {port}") from None

    @property
    def address(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up midway, as they do while seeking in a video, is no news."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def state(self, rater: str) -> dict[str, Any]:
        """What the page shows a rater next: all it is ever told about a pair."""
        order, done = self.order(rater), self.votes.done(rater)
        told: dict[str, Any] = {"done": sum(pair in done for pair in order), "total": len(order), "pair": None}
        for position, pair in enumerate(order):
            if pair not in done:
                videos = {side: self._told(rater, position, pair, side) for side in ("left", "right")}
                told["pair"] = {
                    "arena": self.arena.key, "position": position, "prompt": self.arena.prompt(pair), **videos,
                }  # fmt: skip
                break
        return told

    def _told(self, rater: str, position: int, pair: Pair, side: Side) -> dict[str, str]:
        ending = self.arena.video(rater, pair, side).path.suffix.lower()
        return {
            "url": f"/video/{self.arena.key}/{quote(rater, safe='')}/{position}/{side}",
            "kind": CONTENT_TYPES[ending].partition("/")[0],
        }

    def pair_at(self, key: Any, rater: str, position: Any) -> Pair:
        if key != self.arena.key:
            raise Refused(HTTPStatus.CONFLICT, "this page is of another arena; reload it")
        order = self.order(rater)
        if type(position) is not int or not 0 <= position < len(order):
            raise Refused(HTTPStatus.BAD_REQUEST, f"position must be 0 to {len(order) - 1}, got {position!r}")
        return order[position]


class Handler(BaseHTTPRequestHandler):
    """One request. The names of the methods are the standard library's."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "vitascope", ""
    timeout = 60

    @property
    def arena_server(self) -> ArenaServer:
        return cast(ArenaServer, self.server)

    def do_GET(self) -> None:
        self._guarded(self._get)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._guarded(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""

    def _guarded(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except Refused as refused:
            self.close_connection = True  # its body may not have been read
            self._json({"error": str(refused)}, refused.status)
        except (ConnectionError, TimeoutError):
            raise
        except (sqlite3.Error, OSError) as error:
            self.close_connection = True
            # Not the whole of an OSError: it names the file, and so the folder.
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._json({"error": f"that failed ({reason})"}, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _get(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/":
            page = files("vitascope.evaluate.arena").joinpath("page.html").read_bytes()
            self._send(page, {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY})
        elif parts.path == "/next":
            self._json(self.arena_server.state(_rater(parse_qs(parts.query).get("rater", [""])[0])))
        elif match := re.fullmatch(r"/video/([0-9a-f]+)/([^/]+)/([0-9]{1,9})/(left|right)", parts.path):
            key, rater, position, side = match.groups()
            self._video(key, _rater(unquote(rater)), int(position), cast(Side, side))
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "nothing is here")

    def _post(self) -> None:
        body = self._body()
        rater, server = _rater(body.get("rater")), self.arena_server
        if self.path == "/vote":
            pair = server.pair_at(body.get("arena"), rater, body.get("position"))
            choice = body.get("choice")
            if choice not in CHOICES:
                raise Refused(HTTPStatus.BAD_REQUEST, f"choice must be one of {', '.join(CHOICES)}, got {choice!r}")
            server.votes.put(server.arena.vote(rater, pair, choice))
        elif self.path == "/undo":
            server.votes.take_back(rater)
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "nothing is here")
        self._json(server.state(rater))

    def _body(self) -> dict[str, Any]:
        # Another site's page cannot send this type without being asked first, and nothing here answers that question.
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must have 0 to {MOST_BYTES} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
        return body

    def _video(self, key: str, rater: str, position: int, side: Side) -> None:
        """The file or the part of it that is asked for: browsers seek and loop by ranges."""
        server = self.arena_server
        video = server.arena.video(rater, server.pair_at(key, rater, position), side)
        headers = {"Content-Type": CONTENT_TYPES[video.path.suffix.lower()], "Accept-Ranges": "bytes"}
        with video.path.open("rb") as file:
            size = video.path.stat().st_size
            start, stop = 0, size
            status = HTTPStatus.OK
            if (wanted := byte_range(self.headers.get("Range", ""), size)) is not None:
                start, stop = wanted
                status = HTTPStatus.PARTIAL_CONTENT
                if start >= stop:
                    self._send(b"", {"Content-Range": f"bytes */{size}"}, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                    return
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            self._head(stop - start, headers, status)
            if self.command == "HEAD":
                return
            file.seek(start)
            while start < stop and (piece := file.read(min(PIECE, stop - start))):
                self.wfile.write(piece)
                start += len(piece)
            self.close_connection = self.close_connection or start < stop  # the file shrank: what was promised is short

    def _json(self, told: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(told).encode(), {"Content-Type": "application/json"}, status)

    def _send(self, content: bytes, headers: dict[str, str], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._head(len(content), headers, status)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, length: int, headers: dict[str, str], status: HTTPStatus) -> None:
        """No date or name of a file: either may tell folders apart."""
        self.send_response(status)
        usual = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        for name, value in {**usual, **headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; empty if the file has none of them; None where the whole file is due."""
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", header.strip())
    if match is None or match.group(0) == "bytes=-":
        return None  # several ranges, or another unit: the standard lets a server send everything
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size
    start, stop = int(first), int(last) + 1 if last else size
    if start >= stop and last:
        return None  # backwards: to be ignored
    return start, min(stop, size)


def _rater(name: Any) -> str:
    name = name.strip() if isinstance(name, str) else ""
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise Refused(HTTPStatus.BAD_REQUEST, "a rater needs a name of 1 to 64 characters")
    return name
