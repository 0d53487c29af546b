"""A run as it goes on, as a page that a browser on this machine asks for again and again."""

from __future__ import annotations

import html
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from segnosis.core.errors import ArgumentError, SegnosisError
from segnosis.core.run_folder import RunFolder
from segnosis.report import page, run_report
from segnosis.report.stored import StoredRun

LOOPBACK = ("127.0.0.1", "::1", "localhost")
EVERY = 5
"""Seconds after which the page asks again."""
_GROWING = ("curves", "data", "plan", "environment")
"""Sections that a run has something for before it is scored."""


class LiveReport(ThreadingHTTPServer):
    """Serves one page, that of a run folder as it is when asked: `/`, and `/?still` which does not ask again.

    Nothing else is served, nothing can be changed through it, and only requests that name this very address are
    answered, so that no page from elsewhere can read it through the browser (DNS rebinding).

    Args:
        folder: The run folder; it may not hold anything yet.
        host: Address to listen on.
        port: Port; 0 for any that is free.
    """

    daemon_threads = True

    def __init__(self, folder: RunFolder, *, host: str = LOOPBACK[0], port: int = 0) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._made: tuple[Any, str] = (None, "")
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ArgumentError(
                "The live report needs an address of this machine and a free port.",
                received={"host": host, "port": port, "problem": getattr(error, "strerror", None) or str(error)},
                cure="Leave `--port` out to take any free one.",
            ) from error
        self.names = {f"{name}:{self.server_port}" for name in (*LOOPBACK, "[::1]", host)}
        self.open_to_others = host not in LOOPBACK

    @property
    def address(self) -> str:
        """What to type into the browser."""
        return f"http://{self.server_address[0]!s}:{self.server_port}/"

    def page(self, *, still: bool) -> str:
        """The page of the run as it is now; made anew only when a file has changed."""
        with self._lock:
            state = (still, _state(self.folder))
            if self._made[0] != state:
                self._made = (state, render(self.folder, every=None if still else EVERY))
            return self._made[1]


def render(folder: RunFolder, *, every: int | None = EVERY) -> str:
    """The page of a run that may still be going on; a finished run is its report.

    Args:
        folder: The run folder.
        every: Seconds after which the browser asks again; never, when `None`.
    """
    run = StoredRun(folder)
    if folder.scores.exists() and run.diagnosis is not None:
        return run_report.render(run)
    begun = folder.plan.exists()
    pictures = sorted(folder.pictures.glob("epoch-*.png"))
    history = run.history
    known = [name for name in _GROWING if begun and _readable(folder, name)]
    return page.render(
        "live.html",
        run=run,
        begun=begun,
        every=every,
        last=history[-1] if history else None,
        best=next((line["epoch"] for line in reversed(history) if line["best"]), None),
        left=_left(history, run.plan.epochs) if begun and history else None,
        picture=page.inline_photo(pictures[-1]) if pictures else None,
        sections=run_report.sections(run, known),
    )


def _left(history: list[dict[str, Any]], epochs: int) -> float:
    """Minutes that the epochs still planned take at the pace of the last three."""
    pace = [line["seconds"] for line in history[-3:]]
    return max(0, epochs - history[-1]["epoch"]) * sum(pace) / len(pace) / 60


def _readable(folder: RunFolder, section: str) -> bool:
    """Whether the file a section is made from is there already."""
    needs = {"data": folder.fingerprint, "environment": folder.environment, "curves": folder.fingerprint}
    return section not in needs or needs[section].exists()


def _state(folder: RunFolder) -> tuple[Any, ...]:
    """What changes when the run has grown."""
    files = (folder.plan, folder.fingerprint, folder.environment, folder.history, folder.diagnosis, folder.scores)
    pictures = len(list(folder.pictures.glob("epoch-*.png")))
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files), pictures


class _Handler(BaseHTTPRequestHandler):
    server: LiveReport
    server_version, sys_version = "segnosis", ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        if not self.server.open_to_others and self.headers.get("Host", "").lower() not in self.server.names:
            self._send(HTTPStatus.FORBIDDEN, "This page is for a browser on this machine.", body=body)
            return
        asked = urlsplit(self.path)
        if asked.path != "/":
            self._send(HTTPStatus.NOT_FOUND, "There is only one page: /", body=body)
            return
        try:
            text = self.server.page(still="still" in parse_qs(asked.query, keep_blank_values=True))
        except SegnosisError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, str(error), body=body)
            return
        self._send(HTTPStatus.OK, text, body=body)

    def _send(self, status: HTTPStatus, text: str, *, body: bool) -> None:
        if status != HTTPStatus.OK:
            text = f"<!doctype html><html lang=en><title>{status.phrase}</title><p>{html.escape(text)}</p></html>"
        content = text.encode("utf-8")
        self.send_response(status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", page.POLICY + "; frame-ancestors 'none'"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a line every few seconds would hide what matters."""
