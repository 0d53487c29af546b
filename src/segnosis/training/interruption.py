"""Being told to stop, by Ctrl-C or by a machine that is about to be taken away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """Turns SIGINT and SIGTERM into an orderly end.

    Inside `orderly()` the first signal is only noted, so that whoever works there can finish its step, save and leave;
    anywhere else, and from the second signal on, it is a `KeyboardInterrupt` at once.

    Attributes:
        signal: Number of the first signal that came, or `None`.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._orderly = False

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells count: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.signal or signal.SIGINT)

    def asked(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Within, signals come here; only a main thread can ask for that."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def orderly(self) -> Iterator[None]:
        """Within, the first signal does nothing but make `asked()` true."""
        self._orderly = True
        try:
            yield
        finally:
            self._orderly = False

    def _note(self, number: int, frame: object) -> None:
        first, self.signal = self.signal is None, self.signal or number
        if not (self._orderly and first):
            raise KeyboardInterrupt
