"""A real browser for tests: headless Chromium spoken to through its debugging pipe, nothing to install but itself."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-default-browser-check", "--disable-extensions", "--remote-debugging-pipe",
)  # fmt: skip


def executable() -> str | None:
    """Where Chromium is, `None` when there is none."""
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


class Browser:
    """One tab of a browser of its own; what it fetched and what it complained about is kept.

    Attributes:
        requests: Addresses the page asked for, its own and `data:` ones left out.
        complaints: Console messages, exceptions and log entries, whatever their level.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        read_by_browser, self._to = os.pipe()
        self._from, written_by_browser = os.pipe()

        def pipes() -> None:  # Chromium reads commands from file 3 and answers on file 4
            # Moved out of the way first: the pipes may themselves be 3 and 4.
            command, answer = os.dup(read_by_browser), os.dup(written_by_browser)
            os.dup2(command, 3)
            os.dup2(answer, 4)

        self._process = subprocess.Popen(
            [executable() or "chromium", *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=pipes,
            close_fds=False,
        )
        os.close(read_by_browser)
        os.close(written_by_browser)
        self._buffer, self._number, self._page = b"", 0, ""
        self._session: str | None = None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, page: Path, *, width: int = 1280, height: int = 900, media: str = "", scheme: str = "light") -> None:
        """Show a file at a width in CSS pixels, as screen or print, light or dark; returns when it is laid out."""
        self._page = page.resolve().as_uri()
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
        self("Page.navigate", url=self._page)
        while self.run("document.readyState + location.href") != "complete" + self._page:
            pass

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and let go of a key, as a person at the keyboard."""
        for kind in ("rawKeyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, path: Path, **clip: float) -> Path:
        """A PNG of the whole page, or of the rectangle `x`, `y`, `width`, `height` on it."""
        size = self("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1, **clip}
        data = self("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._from, 1 << 20)
            if not part:
                raise RuntimeError("the browser went away")
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            address = params["request"]["url"]
            if not address.startswith(("data:", "about:")) and address.split("#")[0] != self._page:
                self.requests.append(address)
        elif event == "Runtime.consoleAPICalled":
            self.complaints.append(str([value.get("value") for value in params["args"]]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("text")))
        elif event == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
