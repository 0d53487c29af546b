"""A listener that also hands what it hears to places of records, and lets none of them disturb the run."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from segnosis.core import discovery
from segnosis.core.errors import StoppedError
from segnosis.core.run_folder import RunFolder, read_json
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan
from segnosis.training.tracking.base import End, Tracker

_PLACES = "segnosis.training.tracking"
_PATIENCE = 60.0
"""Seconds that a finished run waits for what its records have not taken yet."""
_BRIEF = 5.0
"""Seconds that a stopped one waits: a machine that sends SIGTERM does not wait long."""


def known(names: Sequence[str]) -> None:
    """Raise `ArgumentError` where one of `names` is no tracker; to be asked before anything long begins."""
    for name in names:
        discovery.check(_PLACES, name, what="tracker")


@contextmanager
def tracked(listener: Listener, folder: RunFolder, names: Sequence[str], *, resume: bool = False) -> Iterator[Listener]:
    """`listener`, recorded by the trackers of `names` as well, for as long as the run goes on.

    Args:
        listener: Who is told.
        folder: The run.
        names: Modules of `segnosis.training.tracking`.
        resume: Whether the run goes on with an earlier one.

    Raises:
        ArgumentError: There is no tracker of that name.
        MissingPackageError: A tracker needs a package that is not installed.
    """
    if not names:
        yield listener
        return
    modules = {name: discovery.load(_PLACES, name, what="tracker") for name in dict.fromkeys(names)}
    posts = [Post(name, module.open(folder, resume=resume)) for name, module in modules.items()]
    heard = Tracked(listener, folder, posts)
    end: End = "failed"
    try:
        yield heard
        for post in posts:
            post.send("finish", read_json(folder.scores), folder)
        end = "finished"
    except StoppedError:
        end = "stopped"
        raise
    finally:
        for post in posts:
            post.send("close", end)
        for post in posts:
            if problem := post.settle(_PATIENCE if end == "finished" else _BRIEF):
                listener.say(problem)


class Tracked(Listener):
    """Passes everything on, and the plan and the epochs to `posts` as well."""

    def __init__(self, listener: Listener, folder: RunFolder, posts: Sequence[Post]) -> None:
        self.listener, self.folder, self.posts = listener, folder, posts
        self._begun = False

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Pass it on."""
        self.listener.step(what, done, total)

    def planned(self, plan: Plan) -> None:
        """Pass it on."""
        self.listener.planned(plan)

    def forecast(self, seconds: float, text: str) -> None:
        """Pass it on."""
        self.listener.forecast(seconds, text)

    def batch(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        """Pass it on."""
        self.listener.batch(epoch, epochs, batch, batches, loss)

    def say(self, text: str) -> None:
        """Pass it on."""
        self.listener.say(text)

    def epoch(self, line: Mapping[str, Any], epochs: int) -> None:
        """Pass it on, and record it; with the first comes the plan, which by then is fitted to the time there is."""
        self.listener.epoch(line, epochs)
        for post in self.posts:
            if not self._begun:
                post.send("begin", Plan.load(self.folder.plan))
            post.send("epoch", dict(line), self.folder)
            if problem := post.problem():
                self.listener.say(problem)
        self._begun = True


class Post:
    """Hands calls to a tracker in a thread of its own, so that a slow server holds up nothing.

    Args:
        name: The tracker's name.
        tracker: The tracker.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name, self.tracker = name, tracker
        self.sent = self.lost = 0
        self._error: Exception | None = None
        self._told = False
        self._calls: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"segnosis-track-{name}", daemon=True)
        self._thread.start()

    def send(self, method: str, *arguments: Any) -> None:
        """Have `method` of the tracker called; after `close` nothing more."""
        self.sent += 1
        self._calls.put((method, arguments))

    def problem(self) -> str:
        """What went wrong, once; `""` when nothing did, or it was told."""
        if self._error is None or self._told:
            return ""
        self._told = True
        what = " ".join(f"{type(self._error).__name__}: {self._error}".split())[:300]
        return f"`--track {self.name}` failed and training goes on without it ({what}); what is lost is counted"

    def settle(self, seconds: float) -> str:
        """Wait until all is handed over, at most so long, and say what was lost."""
        self._thread.join(seconds)
        lost = self.lost + self._calls.qsize() + self._thread.is_alive()
        told = self.problem()
        if not lost:
            return told
        return f"{told}{'; ' if told else ''}{lost} of {self.sent} records of `--track {self.name}` were lost"

    def _work(self) -> None:
        method = ""
        while method != "close":
            method, arguments = self._calls.get()
            try:
                getattr(self.tracker, method)(*arguments)
            except Exception as error:  # a server that is down, a full disk: told by `problem`, and counted
                self._error, self.lost = self._error or error, self.lost + 1
