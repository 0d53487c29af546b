"""Keeps decoded samples, so that each file is decoded once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import numpy as np

from segnosis.core.errors import ArgumentError, did_you_mean
from segnosis.core.sample import Sample

Where = Literal["auto", "disk", "off"]

_MAPS = 100  # samples kept mapped, two descriptors each: a program may have some 1000
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
        shared: Folder that several processes keep samples in, and how many they are: what one of them has decoded the
            others map. Each of them stores an equal part of the limit.

    Example:
        >>> one = Sample(np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2), np.uint8), "a", "a")
        >>> cache = SampleCache([one])
        >>> cache[0] is cache[0], cache.kept
        (True, 1)
    """

    def __init__(
        self,
        samples: Samples,
        where: Where = "auto",
        *,
        limit: int | None = None,
        shared: tuple[Path, int] | None = None,
    ) -> None:
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
        self._folder: Path | None = None
        if shared is not None:
            self._folder, count = shared
            room = _free(self._folder) // 2
            self.limit = (room if where == "disk" else min(self.limit, room)) // count
        elif where == "disk":
            self.folder()

    @property
    def kept(self) -> int:
        """Number of samples that need no decoding any more."""
        return len(self._kept)

    def folder(self) -> Path:
        """Folder of decoded samples; gone with the cache, or with the program."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="segnosis-"))
            self.limit = _free(self._folder) // 2
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def __getitem__(self, index: int) -> Sample:
        sample = self._kept.get(index)
        if sample is not None:
            return sample
        stem = None if self._folder is None else self._folder / str(index)
        if stem is not None and (stored := _stored(stem)) is not None:
            return self._keep(index, stored, 0)
        sample = self.samples[index]
        if self.where == "off":
            return sample
        size = _bytes(sample)
        if stem is None:
            return self._keep(index, sample, size)
        with self._lock:
            if self.used + size > self.limit:
                return sample
            self.used += size
        try:
            _store(sample, stem)
        except OSError:  # the disk is full: what is there already serves, the others are decoded each time
            self.limit = 0
            return sample
        return self._keep(index, _stored(stem) or sample, 0)

    def _keep(self, index: int, sample: Sample, size: int) -> Sample:
        with self._lock:  # two threads may have decoded the same sample: count it once
            size = 0 if index in self._kept else size
            if self.used + size <= self.limit or (self._folder is not None and len(self._kept) < _MAPS):
                self.used += size
                self._kept[index] = sample
        return sample


def _bytes(sample: Sample) -> int:
    return sample.image.nbytes + (0 if sample.mask is None else sample.mask.nbytes)


def _store(sample: Sample, stem: Path) -> None:
    """Put the sample into files; the one that says whose they are comes last, and makes them count."""
    _put(stem.with_suffix(".image.npy"), lambda out: np.save(out, sample.image))
    if sample.mask is not None:
        mask = sample.mask
        _put(stem.with_suffix(".mask.npy"), lambda out: np.save(out, mask))
    told = {"id": sample.id, "group": sample.group, "spacing": sample.spacing, "mask": sample.mask is not None}
    _put(stem.with_suffix(".json"), lambda out: out.write(json.dumps(told).encode()))


def _stored(stem: Path) -> Sample | None:
    """The sample mapped from its files, read-only; `None` where they are not complete."""
    try:
        told = json.loads(stem.with_suffix(".json").read_bytes())
    except FileNotFoundError:
        return None
    image = np.load(stem.with_suffix(".image.npy"), mmap_mode="r")
    mask = np.load(stem.with_suffix(".mask.npy"), mmap_mode="r") if told["mask"] else None
    return Sample(image, mask, told["id"], told["group"], tuple(told["spacing"]) if told["spacing"] else None)


def _put(path: Path, write: Callable[[BinaryIO], object]) -> None:
    # A name of this thread's own, then one atomic step: another may be writing the same sample.
    part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb") as out:
            write(out)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _free(folder: Path) -> int:
    """Bytes free on the disk of `folder`."""
    return shutil.disk_usage(folder).free


def _available_memory() -> int:
    """Bytes that can be used without swapping: what the kernel says, or 4 GiB where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 4 << 30
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 4 << 30)
