"""An opened layout: what a reader found, its arrays in memory, and which row is which plane of which file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
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
        class_names, ignore_class, nan: What the user told.
        cache: Decoded arrays.
        filled: Ids of the images that held pixels to be read as `nan`, as far as they were read.
    """

    root: Path
    reader: Reader
    index: Index
    class_names: tuple[str, ...] | None = None
    ignore_class: int | None = None
    nan: float | None = None
    cache: Cache = field(default_factory=Cache)
    filled: set[str] = field(default_factory=set)
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
        slices = np.fromiter((entry.slices or 1 for entry in self.index.entries), np.int64, len(self.index.entries))
        return np.concatenate([[0], np.cumsum(slices)])

    def locate(self, row: int) -> tuple[Entry, int | None]:
        """Entry of a row, and its plane in a volume."""
        return next(self.located(np.asarray([row])))

    def located(self, rows: np.ndarray) -> Iterator[tuple[Entry, int | None]]:
        """The same of many rows."""
        at = np.searchsorted(self.offsets, rows, side="right") - 1
        for number, plane in zip(at.tolist(), (rows - self.offsets[at]).tolist(), strict=True):
            entry = self.index.entries[number]
            yield entry, plane if entry.slices else None

    def mask(self, entry: Entry, k: int | None) -> np.ndarray:
        """Stored mask."""
        return self._array("mask", entry, k)

    def image(self, entry: Entry, k: int | None, like: tuple[int, int] | None = None) -> np.ndarray:
        """Stored image, without an alpha channel."""
        return self._array("image", entry, k, like=like)

    def _array(self, what: str, entry: Entry, k: int | None, **told: Any) -> np.ndarray:
        def read(*plane: int, **told: Any) -> np.ndarray:
            if what == "mask":
                return self.reader.read_mask(self.root, entry, *plane, **told)
            image = self.reader.read_image(self.root, entry, *plane, **told)
            return self.fill(entry, self._opaque(entry, image, whole=k is not None and not plane))

        if k is None:
            return self.cache.get((what, entry.id), lambda: read(**told))
        if entry.slices > _WHOLE_VOLUME and getattr(self.reader, "RANDOM_ACCESS", False):
            return self.cache.get((what, entry.id, k), lambda: read(k))
        return self.cache.get((what, entry.id), read, slices=True)[k]

    def fill(self, entry: Entry, image: np.ndarray) -> np.ndarray:
        """`image` with `nan` in place of NaN and infinity, where the user told one."""
        if self.nan is None or image.dtype.kind != "f":
            return image
        finite = np.isfinite(image)
        if finite.all():
            return image
        self.filled.add(entry.id)
        return np.where(finite, image, image.dtype.type(self.nan))

    def _opaque(self, entry: Entry, image: np.ndarray, *, whole: bool) -> np.ndarray:
        """`image` without alpha: only its reader knows a second or fourth channel of its own from one."""
        if image.ndim != 3 + whole or image.shape[-1] not in (2, 4):
            return image
        channels, _ = self.reader.image_kind(self.root, entry)
        return np.ascontiguousarray(image[..., :channels]) if channels == image.shape[-1] - 1 else image
