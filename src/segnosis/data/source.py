"""An opened layout: what a reader found, its arrays in memory, and which row is which plane of which file."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core import discovery
from segnosis.core.dataset_spec import DatasetSpec
from segnosis.data.labels import LabelScheme
from segnosis.data.readers.base import Entry, Index, Reader, reader_name
from segnosis.data.readers.cache import Cache

_WHOLE_VOLUME = 512  # planes; a longer stack is read plane by plane where its format can


@dataclass
class Source:
    """An opened layout, shared by a data set and its subsets.

    Attributes:
        root: The folder.
        reader: The reader's module.
        index: What it found.
        class_names, ignore_class: What the user told.
        cache: Decoded arrays.
    """

    root: Path
    reader: Reader
    index: Index
    class_names: tuple[str, ...] | None = None
    ignore_class: int | None = None
    cache: Cache = field(default_factory=Cache)
    scheme: LabelScheme | None = None
    spec: DatasetSpec | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "lock": None, "reader": reader_name(self.reader)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.RLock()
        self.reader = discovery.load("segnosis.data.readers", state["reader"])

    @cached_property
    def offsets(self) -> np.ndarray:
        """First row of each entry."""
        slices = np.fromiter((max(entry.slices, 1) for entry in self.index.entries), np.int64, len(self.index.entries))
        return np.concatenate([[0], np.cumsum(slices)])

    def locate(self, row: int) -> tuple[Entry, int | None]:
        """Entry of a row, and its plane in a volume."""
        at = int(np.searchsorted(self.offsets, row, side="right")) - 1
        entry = self.index.entries[at]
        return entry, int(row - self.offsets[at]) if entry.slices else None

    def mask(self, entry: Entry, k: int | None) -> np.ndarray:
        """Stored mask."""
        return self._array("mask", entry, k)

    def image(self, entry: Entry, k: int | None, like: tuple[int, int] | None = None) -> np.ndarray:
        """Stored image."""
        return self._array("image", entry, k, like=like)

    def _array(self, what: str, entry: Entry, k: int | None, **told: Any) -> np.ndarray:
        read = self.reader.read_mask if what == "mask" else self.reader.read_image
        if k is None:
            return self.cache.get((what, entry.id), lambda: read(self.root, entry, **told))
        if entry.slices > _WHOLE_VOLUME and getattr(self.reader, "RANDOM_ACCESS", False):
            return self.cache.get((what, entry.id, k), lambda: read(self.root, entry, k))
        return self.cache.get((what, entry.id), lambda: read(self.root, entry), slices=True)[k]
