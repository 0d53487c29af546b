"""Threads that make the batches of a feed ahead of time, in this process."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

Batch = tuple[np.ndarray, np.ndarray]


class Threads:
    """Threads with the same methods as `Workers`.

    Args:
        make: Method `(epoch, step)` → batch.
        count: How many threads.
    """

    def __init__(self, make: Callable[[int, int], Batch], count: int) -> None:
        # Weak: a feed that nobody uses any more is gone at once, with its samples, and not when garbage is collected.
        self._make = weakref.WeakMethod(make)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="segnosis-feed")

    def submit(self, epoch: int, step: int) -> Future[Any]:
        """Have a batch made."""
        make = self._make()
        assert make is not None, "the feed that asks is alive"
        return self._pool.submit(make, epoch, step)

    def take(self, made: Batch) -> Batch:
        """The batch itself: it was made here."""
        return made

    def drop(self, future: Future[Any]) -> None:
        """The batch is not wanted any more."""
        future.cancel()

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
