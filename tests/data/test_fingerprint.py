"""The fingerprint against slow sums over all arrays at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import segnosis as sg
from segnosis.core import discovery
from segnosis.data.census import Census
from segnosis.data.fingerprint import Fingerprint, FingerprintScan
from segnosis.data.scan import in_order, scan

READERS = discovery.units("segnosis.data.readers")


@pytest.mark.parametrize("name", READERS)
def test_facts_equal_slow_sums(name: str, tmp_path: Path) -> None:
    truths = READERS[name].example(tmp_path)
    facts = sg.data.fingerprint(sg.data.open(tmp_path))
    masks = np.concatenate([truth.mask.ravel() for truth in truths])
    assert facts.samples == len(truths)
    assert facts.groups == len({truth.group for truth in truths})
    assert facts.height == (truths[0].mask.shape[0],) * 3
    assert facts.width == (truths[0].mask.shape[1],) * 3
    assert facts.ignored_share == pytest.approx(np.mean(masks == 255), rel=1e-5)
    for k, found in enumerate(facts.classes):
        assert found.pixels == np.sum(masks == k)
        assert found.images == sum((truth.mask == k).any() for truth in truths)
        if k and found.images:
            counts = [ndimage.label(truth.mask == k, np.ones((3, 3)))[1] for truth in truths if (truth.mask == k).any()]
            assert found.objects_per_image == pytest.approx(np.mean(counts), rel=1e-5)
    inside = (masks > 0) & (masks != 255)
    for c, found_channel in enumerate(facts.channels):
        pixels = np.concatenate([truth.image[..., c].ravel() for truth in truths]).astype(np.float64)
        assert found_channel.mean == pytest.approx(pixels.mean(), rel=1e-4)
        assert found_channel.std == pytest.approx(pixels.std(), rel=1e-4)
        assert found_channel.foreground_mean == pytest.approx(pixels[inside].mean(), rel=1e-4)
        assert (found_channel.min, found_channel.max) == pytest.approx((pixels.min(), pixels.max()), rel=1e-5)
        assert found_channel.median == pytest.approx(np.median(pixels), abs=0.05 * np.ptp(pixels))
    empty = [not ((truth.mask > 0) & (truth.mask != 255)).any() for truth in truths]
    assert facts.empty_share == pytest.approx(np.mean(empty), rel=1e-5)


@pytest.mark.parametrize("name", READERS)
def test_json_round_trip(name: str, tmp_path: Path) -> None:
    READERS[name].example(tmp_path)
    facts = sg.data.fingerprint(sg.data.open(tmp_path))
    assert Fingerprint.from_json(json.loads(json.dumps(facts.to_json(), allow_nan=False))) == facts


def test_one_pass_serves_all_accumulators(tmp_path: Path) -> None:
    READERS["nifti"].example(tmp_path)
    data = sg.data.open(tmp_path)
    seen: list[tuple[int, int]] = []
    facts = scan(
        data.pairs(),
        {"a": FingerprintScan(data), "b": Census()},
        progress=lambda done, total: seen.append((done, total)),
    )
    assert facts["a"].samples == facts["b"].pairs == len(data)
    assert seen == [(i, len(data)) for i in range(1, len(data) + 1)]
    assert facts["a"].spacing == pytest.approx((1.25, 1.375, 1.5))


def test_reading_ahead_keeps_the_order_and_is_bounded() -> None:
    started: list[int] = []

    def read(i: int) -> int:
        started.append(i)
        return i

    numbers = in_order(read, 100, workers=2)
    assert next(numbers) == 0
    assert len(started) <= 8
    assert list(numbers) == list(range(1, 100))


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    import h5py

    image = np.full((3, 8, 8), 2.0, np.float32)
    image[0, 0] = np.nan
    image[1, 0] = np.inf
    for i in range(2):
        with h5py.File(tmp_path / f"patient{i}.h5", "w") as file:
            file["image"], file["label"] = image, np.stack([np.eye(8, dtype=np.uint8)] * 3)
    (channel,) = sg.data.fingerprint(sg.data.open(tmp_path)).channels
    assert (channel.mean, channel.std, channel.max) == (2.0, 0.0, 2.0)
