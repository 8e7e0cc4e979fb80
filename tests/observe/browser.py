"""A headless Chromium, driven by the DevTools protocol over two pipes; standard library only.

with Browser(chromium(), folder) as browser:
    browser.open("file:///…")
    browser.evaluate("document.title")
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import Any, Self

import pytest

REQUIRED = "DAMONPOLICY_REQUIRE_CHROMIUM"
_PATIENCE = 600.0
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--window-size=1200,800",
    "--remote-debugging-pipe",
)


def chromium() -> str:
    """Return the browser's path; skip the test without one, unless one is required."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
    if not found and os.environ.get(REQUIRED):
        pytest.fail(f"there is no chromium, and {REQUIRED} is set")
    if not found:
        pytest.skip("there is no chromium: `apt-get install chromium`")
    return found


class Browser:
    """One page of one browser; `requests` are the addresses that the page asked for."""

    def __init__(self, path: str, folder: Path) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._number = 0
        self._session = ""
        self._answers: dict[int, dict[str, Any]] = {}
        self._unread = b""
        theirs_in, self._out = (_high(each) for each in os.pipe())
        self._in, theirs_out = (_high(each) for each in os.pipe())
        nothing = os.open(os.devnull, os.O_RDWR)
        self._pid = os.posix_spawn(
            path,
            [path, *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            {**os.environ, "HOME": str(folder)},
            # the protocol's own numbers: it reads 3 and writes 4
            file_actions=[
                *((os.POSIX_SPAWN_DUP2, nothing, number) for number in (0, 1, 2)),
                (os.POSIX_SPAWN_DUP2, theirs_in, 3),
                (os.POSIX_SPAWN_DUP2, theirs_out, 4),
            ],
            setpgroup=0,
        )
        for each in (nothing, theirs_in, theirs_out):
            os.close(each)

    def __enter__(self) -> Self:
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)  # which it takes for the wish that it ends
        os.close(self._in)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and os.waitpid(self._pid, os.WNOHANG) == (0, 0):
            time.sleep(0.02)
        try:
            os.killpg(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and wait for what it answers."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        deadline = time.monotonic() + _PATIENCE
        while number not in self._answers:
            self._read(deadline, method)
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _read(self, deadline: float, what: str) -> None:
        ready, _, _ = select.select([self._in], [], [], max(deadline - time.monotonic(), 0))
        assert ready, f"no answer to {what}"
        chunk = os.read(self._in, 1 << 20)
        assert chunk, f"the browser ended during {what}"
        *messages, self._unread = (self._unread + chunk).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            elif message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"])[:500])

    def open(self, url: str) -> None:
        """Go to a page, and wait until it says that it is ready."""
        self.call("Page.navigate", url=url)
        self.wait("document.body && document.body.dataset.ready === 'yes'")

    def evaluate(self, expression: str) -> Any:
        """Return what an expression of JavaScript is, once its promise is kept."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression holds."""
        deadline = time.monotonic() + _PATIENCE
        while not self.evaluate(f"Boolean({condition})"):
            assert not self.errors, self.errors
            assert time.monotonic() < deadline, condition
            time.sleep(0.02)

    def mouse(self, kind: str, x: float, y: float, *, down: bool = False) -> None:
        """Move, press (`mousePressed`) or release (`mouseReleased`) the mouse at a place."""
        button = "none" if kind == "mouseMoved" and not down else "left"
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button=button,
            buttons=int(down),
            clickCount=1,
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place, and release at another."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, down=True)
        for step in range(1, 6):
            x, y = (a + (b - a) * step / 5 for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y, down=True)
        self.mouse("mouseReleased", *end)

    def screenshot(self) -> bytes:
        """Return the page as a png."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def _high(number: int) -> int:
    """Move a file descriptor out of the way of those that the protocol names."""
    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(number)
    return moved
