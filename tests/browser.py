"""A real browser for tests of pages: Chromium without a window, told what to do through a pair of pipes."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 120.0
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40, "Backspace": 8, "Enter": 13, "s": 83, " ": 32}


def browser_here() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page. `asked` are the addresses that it requested, `errors` what its script threw."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers, self.rest = commands, answers, b""
        self.number, self.session = 0, ""
        self.asked: list[str] = []
        self.errors: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **about: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and what it gives."""
        self.number += 1
        told: dict[str, Any] = {"id": self.number, "method": method, "params": about}
        if self.session:
            told["sessionId"] = self.session
        os.write(self.commands, json.dumps(told).encode() + b"\0")
        while (came := self._receive()).get("id") != self.number:
            self._note(came)
        if "error" in came:
            raise RuntimeError(f"{method}: {came['error']['message']}")
        return dict(came["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            if not select.select([self.answers], [], [], PATIENCE)[0]:
                raise TimeoutError("the browser does not answer")
            if not (more := os.read(self.answers, 1 << 20)):
                raise ConnectionError("the browser is gone")
            self.rest += more
        first, self.rest = self.rest.split(b"\0", 1)
        return dict(json.loads(first))

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Network.requestWillBeSent":
            self.asked.append(event["params"]["request"]["url"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(event["params"]["exceptionDetails"].get("exception", {}).get("description", "error"))

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(address)})")

    def run(self, script: str) -> Any:
        """The value of an expression."""
        came = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in came:
            raise RuntimeError(f"{script}: {came['exceptionDetails']['text']}")
        return came["result"].get("value")

    def wait(self, script: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(f"never came true: {script}; the page says: {self.run('document.body.innerText')}")
            time.sleep(0.05)

    def press(self, key: str) -> None:
        about = {"key": key, "windowsVirtualKeyCode": KEYS[key], "code": key}
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def touch(self, selector: str) -> None:
        """Tap the middle of an element with a finger."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
        self.send("Emulation.setTouchEmulationEnabled", enabled=True)
        self.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        came = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(came["data"]))


@contextmanager
def opened(home: Path) -> Iterator[Page]:
    """A browser with a profile of its own in `home`, which ends with the block."""
    name = browser_here()
    assert name is not None
    words = [
        name, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
        "--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={home}",
    ]  # fmt: skip
    (their_commands, commands), (answers, their_answers) = os.pipe(), os.pipe()

    def wire() -> None:
        """The browser reads commands from 3 and answers on 4."""
        first, second = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (their_commands, their_answers))
        os.dup2(first, 3)
        os.dup2(second, 4)

    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdout=quiet, stderr=quiet, close_fds=False, preexec_fn=wire) as process:
        os.close(their_commands)
        os.close(their_answers)
        try:
            yield Page(commands, answers)
        finally:
            process.kill()
            os.close(commands)
            os.close(answers)
