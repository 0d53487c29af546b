"""Whole images at half their size are for large objects in images alike, and only where the minutes are few."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segnosis import data
from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.sample import Sample
from segnosis.data import phantom
from segnosis.data.fingerprint import Fingerprint, FingerprintScan
from segnosis.data.scan import scan
from segnosis.training import machine, planner, stretch


def _sized(height: tuple[int, int, int], width: tuple[int, int, int]) -> Any:
    return SimpleNamespace(height=height, width=width)


@pytest.mark.parametrize(
    ("height", "width", "half"),
    [
        ((216, 256, 256), (200, 232, 256), (128, 128)),
        ((480, 480, 480), (640, 640, 640), (240, 320)),
        ((256, 256, 1024), (256, 320, 1360), None),  # of very different sizes
        ((96, 96, 96), (96, 96, 96), None),  # small already
    ],
)
def test_half_the_median_in_multiples_of_sixteen(height: Any, width: Any, half: tuple[int, int] | None) -> None:
    assert stretch.halved(_sized(height, width)) == half


class Masks(list[Sample]):
    """Samples in memory."""

    spec = DatasetSpec("memory", "arrays", ("background", "thing"), channels=1)


def _masks(mask: np.ndarray) -> Any:
    return Masks([Sample(np.zeros((*mask.shape, 1), np.float32), mask, "a", "a")])


def test_large_objects_are_kept_and_thin_ones_are_not() -> None:
    disc = np.hypot(*np.mgrid[-64:64, -64:64]) < 40
    lines = np.zeros((128, 128), bool)
    lines[::8] = True
    assert stretch.kept(_masks(disc.astype(np.int32)), (64, 64)) > 0.97
    assert stretch.kept(_masks(lines.astype(np.int32)), (48, 48)) < 0.8
    assert stretch.kept(_masks(disc.astype(np.int32)), (128, 128)) == 1.0, "nothing is lost at their own size"


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Fingerprint]:
    dataset = data.open(phantom.write(tmp_path_factory.mktemp("hearts"), subjects=3, size=224, slices=2))
    return dataset, scan(dataset.pairs(), {"facts": FingerprintScan(dataset)})["facts"]


@pytest.mark.parametrize(
    ("minutes", "cores", "cpu", "stretched"),
    [
        (2.0, 1, True, True),
        (2.0, 16, True, False),
        (60.0, 1, True, False),
        (2.0, 1, False, False),
        (None, 1, True, False),
    ],
)
def test_few_minutes_of_few_cores_get_smaller_images(
    hearts: tuple[Any, Fingerprint],
    minutes: float | None,
    cores: int,
    cpu: bool,
    stretched: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "cores", lambda: cores)
    monkeypatch.setattr(machine, "on_cpu", lambda: cpu)
    monkeypatch.setattr(machine, "precision", lambda: ("float32", ""))
    monkeypatch.setattr(machine, "batch_size", lambda least: (least, ""))
    monkeypatch.setattr(stretch, "kept", lambda dataset, size: 0.97)
    made = planner.plan(hearts[1], data="hearts", training_samples=4, minutes=minutes, training=hearts[0])
    assert (made.size == (112, 112)) is stretched
    assert (made.fit_to_size == "resize") is stretched
    if stretched:
        assert made.window == made.size
        assert "0.970" in made.reasons["size"]
        monkeypatch.setattr(stretch, "kept", lambda dataset, size: 0.9)
        blurred = planner.plan(hearts[1], data="hearts", training_samples=4, minutes=minutes, training=hearts[0])
        assert blurred.fit_to_size == "crop"


def test_a_file_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    folder = phantom.write(tmp_path / "hearts", subjects=3, size=32, slices=2)
    dataset = data.open(folder)
    whole = stretch.kept(dataset, (32, 32))
    next(folder.glob("*_gt.nii.gz")).write_bytes(b"broken")
    assert whole == stretch.kept(data.open(folder), (32, 32)) == 1.0
