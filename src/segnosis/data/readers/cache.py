"""Decoded arrays kept in memory up to a bound, so that the second epoch reads no file.

A volume that cannot be read is told once for all its planes, not read again for each.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

from segnosis.core.errors import DataError

_BROKEN_FOR = 10.0
"""Seconds for which a volume that could not be read is not tried again: each of its planes will be asked for."""


class Cache:
    """Keeps what came first until `limit` bytes are full, and then the last few volumes only.

    An epoch visits every sample once in random order: evicting the oldest would miss always, keeping the first hits
    in the share that fits.

    Args:
        limit: Bytes of arrays to keep.
        recent: Number of arrays kept beyond the limit when asked with `slices=True`.
    """

    def __init__(self, limit: int = 1 << 30, recent: int = 4) -> None:
        self.limit, self.recent, self.used = limit, recent, 0
        self._kept: dict[Hashable, np.ndarray] = {}
        self._recent: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[Hashable, threading.Lock] = {}
        self._broken: OrderedDict[Hashable, tuple[float, DataError]] = OrderedDict()

    def get(self, key: Hashable, load: Callable[[], np.ndarray], *, slices: bool = False) -> np.ndarray:
        """The array of `key`, loaded at most once at a time; it is read-only.

        Raises:
            DataError: `load` raises it, or did so a few seconds ago for the same slices.
        """
        with self._lock:
            found = self._find(key)
            if found is not None:
                return found
            mine = self._loading.setdefault(key, threading.Lock())
        with mine:
            with self._lock:
                found = self._find(key)
                broken = self._broken.get(key)
            if found is not None:
                return found
            if broken is not None and time.monotonic() - broken[0] < _BROKEN_FOR:
                raise copy.copy(broken[1])
            try:
                array = load()
            except DataError as error:
                if slices:
                    with self._lock:
                        self._broken[key] = time.monotonic(), copy.copy(error)
                        while len(self._broken) > self.recent:
                            self._broken.popitem(last=False)
                raise
            finally:
                with self._lock:
                    self._loading.pop(key, None)
            array.setflags(write=False)
            with self._lock:
                if self.used + array.nbytes <= self.limit:
                    self._kept[key] = array
                    self.used += array.nbytes
                elif slices:
                    self._recent[key] = array
                    while len(self._recent) > self.recent:
                        self._recent.popitem(last=False)
            return array

    def _find(self, key: Hashable) -> np.ndarray | None:
        found = self._kept.get(key)
        if found is None and key in self._recent:
            self._recent.move_to_end(key)
            found = self._recent[key]
        return found

    def __getstate__(self) -> dict[str, int]:
        return {"limit": self.limit, "recent": self.recent}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(**state)  # type: ignore[misc]
