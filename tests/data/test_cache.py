"""Decoded arrays in memory: read once, and told once where they cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segnosis.core.errors import DataError
from segnosis.data.readers import cache as cache_module
from segnosis.data.readers.cache import Cache


class Disk:
    """A volume that cannot be read while it is broken, and how often that was tried."""

    def __init__(self) -> None:
        self.reads, self.is_broken = 0, True

    def read(self) -> np.ndarray:
        self.reads += 1
        if self.is_broken:
            raise DataError("A file must be whole.", file=Path("a.nii"), cure="Copy it again.")
        return np.zeros((4, 2, 2))


def asked(cache: Cache, disk: Disk, times: int) -> int:
    """Errors told, of so many planes asked for."""
    told = 0
    for _ in range(times):
        try:
            cache.get("a", disk.read, slices=True)
        except DataError as error:
            assert "a.nii" in str(error)
            told += 1
    return told


def test_a_broken_volume_is_told_for_every_plane_and_read_for_one() -> None:
    disk = Disk()
    assert asked(Cache(), disk, 30) == 30
    assert disk.reads == 1


def test_a_volume_that_was_mended_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, disk = Cache(), Disk()
    assert asked(cache, disk, 2) == 2
    disk.is_broken = False
    monkeypatch.setattr(cache_module, "_BROKEN_FOR", 0.0)
    assert asked(cache, disk, 3) == 0
    assert disk.reads == 2
