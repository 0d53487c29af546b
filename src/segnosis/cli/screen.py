"""What a person sees while a command works: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from segnosis.core.errors import ArgumentError
from segnosis.training.listener import Listener

if TYPE_CHECKING:
    from segnosis.training.plan import Plan

_STEP = 3.0
"""Seconds a step takes before a log names the next one."""
_EVERY = 15.0
"""Seconds between two lines about the same step in a log."""


class Screen(Listener):
    """Shows progress on standard error; results go to standard output, so that they can be piped."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._what, self._shown, self._started = "", 0.0, time.monotonic()
        self._open = False

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """A long step: redrawn in place on a terminal, now and then in a log."""
        count = f" {done}/{total}" if total else (f" {done}" if done else "")
        now = time.monotonic()
        new = what != self._what
        if self._live:
            if new or now - self._shown > 0.1 or done == total:
                self._draw(f"{what}{count}")
                self._shown = now
        elif (new and now - self._shown > _STEP) or now - self._shown > _EVERY:
            self._line(f"{what}{count} …")
            self._shown = now
        self._what = what

    def planned(self, plan: Plan) -> None:
        """The decisions that matter, one line each, with their reasons."""
        self._line("plan:")
        for name, value, reason in plan.lines():
            if reason:
                self._line(f"  {name}: {value}    # {reason}")

    def forecast(self, seconds: float, text: str) -> None:
        """How long it will take."""
        self._line(f"forecast: {text}; all done in about {_duration(seconds)}")

    def batch(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        """The live line within an epoch."""
        if self._live:
            now = time.monotonic()
            if now - self._shown > 0.2 or batch == batches:
                self._draw(f"epoch {epoch}/{epochs}  step {batch}/{batches}  loss {loss:.4f}")
                self._shown = now

    def epoch(self, line: Mapping[str, Any], epochs: int) -> None:
        """One line an epoch: loss in its two terms, Dice per class, time left."""
        extra = "".join(f" + {name} {value:.3f}" for name, value in line["regularization"].items())
        dice = "  ".join(f"{name} {value:.3f}" for name, value in list(line["dice"].items())[1:5] if value is not None)
        left = (epochs - line["epoch"]) * line["seconds"]
        mark = " *" if line["best"] else ""
        self._line(
            f"epoch {line['epoch']}/{epochs}  loss {line['data_loss']:.4f}{extra}  val {line['val_loss']:.4f}  "
            f"Dice {line['foreground_dice'] or 0:.3f}{mark} ({dice})  "
            f"{_duration(line['seconds'])}, {_duration(left)} left"
        )

    def say(self, text: str) -> None:
        """A sentence of its own."""
        self._line(text)

    def close(self) -> None:
        """Leave the live line."""
        if self._open:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._open = False

    def _draw(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{text[:160]}")
        sys.stderr.flush()
        self._open = True

    def _line(self, text: str) -> None:
        self.close()
        print(text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def then(run: Path, images: str | Path = "IMAGES") -> str:
    """What a person types next, with a run that is finished.

    Example:
        >>> print(then(Path("runs/first")))
        next:   segnosis predict runs/first IMAGES -o masks
    """
    return f"next:   segnosis predict {quote(str(run))} {quote(str(images))} -o masks"


def ends_in(file: Path | None, option: str, *suffixes: str) -> None:
    """Refuse a file of another kind before the work is done that is to be written into it.

    Raises:
        ArgumentError: The name of `file` ends in none of `suffixes`, or is that of a folder.
    """
    if file is not None and (file.suffix not in suffixes or file.is_dir()):
        raise ArgumentError(
            f"`{option}` names a file that ends in {suffixes[0]}.",
            received={option: str(file)},
            cure=f"Pass `{option} why{suffixes[0]}`.",
        )


def load_keras() -> None:
    """Import Keras and its backend without their start-up notes, which are no news; a failure shows them all.

    Raises:
        MissingPackageError: The backend that Keras is set to is not installed.
        ArgumentError: Keras is set to a backend that there is none of.
    """
    import logging
    import os
    import tempfile

    from segnosis.core.discovery import no_backend

    # TensorFlow warns of networks compiled one after the other, which is what scoring every depth, or probing, does.
    logging.getLogger("tensorflow").addFilter(lambda record: "retracing" not in str(record.msg))
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            import keras  # noqa: F401
        except BaseException as error:
            if (told := no_backend(error)) is not None:
                raise told from error
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
