"""A headless Chromium driven over its debugging pipe: how a page looks on some screen, and what it complains about."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Commands looked for, behind the one that ``LEGODNN_BROWSER`` names."""

PATIENCE = 60.0
"""Seconds to wait for any answer."""

_COMPLAINTS = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled", "Network.loadingFailed")


def find_browser() -> str | None:
    """The command of a Chromium, or None where none is installed."""
    wanted = [os.environ.get("LEGODNN_BROWSER", ""), *NAMES]
    return next((found for name in wanted if name and (found := shutil.which(name))), None)


@dataclass
class Seen:
    """A page as a browser has shown it: a PNG of all of it, the widths of the screen and of the content in CSS pixels,
    what it complained about, and the addresses it asked for."""

    picture: bytes
    screen_width: int
    content_width: int
    complaints: list[str]
    requests: list[str]


class Browser:
    """Use it in a ``with`` block."""

    def __init__(self, command: str) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()

        def connect() -> None:
            # Chromium reads commands from descriptor 3 and writes to 4; the pipes may have these numbers already.
            source, target = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(source, 3)
            os.dup2(target, 4)

        self.process = subprocess.Popen(
            [
                command, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self.folder.name}",
                "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank",
            ],
            preexec_fn=connect, pass_fds=(3, 4), close_fds=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._number = 0
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._write)
        os.close(self._read)
        self.folder.cleanup()

    def look(self, page: Path, width: int, scheme: str = "light", unfold: bool = False, media: str = "screen") -> Seen:
        """Show a file so many CSS pixels wide on a screen or on paper (``print``); ``unfold`` opens what is folded."""
        self._events.clear()
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", media=media, features=features)
        self._call("Page.navigate", url=page.resolve().as_uri())
        self._wait("Page.loadEventFired")
        if unfold:
            self.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        content = self.evaluate("document.documentElement.scrollWidth")
        height = self.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        complaints = [json.dumps(e["params"]) for e in self._events if e["method"] in _COMPLAINTS]
        asked = [e["params"]["request"]["url"] for e in self._events if e["method"] == "Network.requestWillBeSent"]
        inner = self.evaluate("window.innerWidth")
        return Seen(base64.b64decode(shot["data"]), inner, content, complaints, asked)

    def print(self) -> bytes:
        """What is shown now as a PDF."""
        return base64.b64decode(self._call("Page.printToPDF", printBackground=True)["data"])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page that is shown."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            got = self._next()
            if got.get("id") == self._number:
                assert "error" not in got, got
                return got["result"]

    def _wait(self, event: str) -> None:
        while not any(e["method"] == event for e in self._events):
            self._next()

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            got = os.read(self._read, 1 << 16) if ready else b""
            if not got:
                raise RuntimeError("the browser says nothing more")
            self._buffer += got
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._events.append(message)
        return message
