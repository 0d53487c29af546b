"""Keeps decoded samples, so that each file is decoded once."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from segnosis.core.errors import ArgumentError, did_you_mean
from segnosis.core.sample import Sample

Where = Literal["auto", "disk", "off"]

_SHARE_OF_MEMORY = 0.25  # of what is available at the start; the model needs the rest


class Samples(Protocol):
    """What has samples: a `Dataset`, or anything else one can index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class SampleCache:
    """Samples of a data set, decoded once where they fit.

    Args:
        samples: The data set.
        where: `"auto"` keeps samples in memory until a quarter of what is available is used, and decodes the others
            each time. `"disk"` keeps them decoded in a temporary folder, memory-mapped; `"off"` keeps nothing.
        limit: Bytes for `"auto"`, told by the machine when left out.

    Example:
        >>> one = Sample(np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2), np.uint8), "a", "a")
        >>> cache = SampleCache([one])
        >>> cache[0] is cache[0], cache.kept
        (True, 1)
    """

    def __init__(self, samples: Samples, where: Where = "auto", *, limit: int | None = None) -> None:
        if where not in ("auto", "disk", "off"):
            raise ArgumentError(
                'A feed caches in memory as far as it fits ("auto"), on "disk", or is "off".',
                received={"cache": where},
                cure=did_you_mean(str(where), ("auto", "disk", "off")),
            )
        self.samples, self.where = samples, where
        self.limit = int(_available_memory() * _SHARE_OF_MEMORY) if limit is None else limit
        self.used = 0
        self._kept: dict[int, Sample] = {}
        self._lock = threading.Lock()
        self._folder = Path(tempfile.mkdtemp(prefix="segnosis-")) if where == "disk" else None
        if self._folder is not None:  # gone with the cache, or with the program
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def kept(self) -> int:
        """Number of samples that need no decoding any more."""
        return len(self._kept)

    def __getitem__(self, index: int) -> Sample:
        sample = self._kept.get(index)
        if sample is not None:
            return sample
        sample = self.samples[index]
        if self._folder is not None:
            sample = _mapped(sample, self._folder / str(index))
        elif self.where == "off":
            return sample
        with self._lock:  # two threads may have decoded the same sample: count it once
            size = 0 if self._folder is not None or index in self._kept else _bytes(sample)
            if self.used + size <= self.limit:
                self.used += size
                self._kept[index] = sample
        return sample


def _bytes(sample: Sample) -> int:
    return sample.image.nbytes + (0 if sample.mask is None else sample.mask.nbytes)


def _mapped(sample: Sample, stem: Path) -> Sample:
    """The sample with its arrays moved to files and mapped back, read-only."""
    return dataclasses.replace(
        sample,
        image=_map(sample.image, stem.with_suffix(".image.npy")),
        mask=None if sample.mask is None else _map(sample.mask, stem.with_suffix(".mask.npy")),
    )


def _map(array: np.ndarray, path: Path) -> np.ndarray:
    # A name of this thread's own, then one atomic step: another thread may be writing the same sample.
    part = path.with_suffix(f".{threading.get_ident()}.part")
    with part.open("wb") as out:
        np.save(out, array)
    part.replace(path)
    return np.load(path, mmap_mode="r")


def _available_memory() -> int:
    """Bytes that can be used without swapping: what the kernel says, or 4 GiB where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 4 << 30
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 4 << 30)
