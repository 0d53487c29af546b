"""Surface distances where they are known by hand: millimetres along unequal axes, volumes, empty masks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import segnosis as sg

SPACING = (3.0, 0.5, 1.0)  # thick slices


def volume(*at):
    mask = np.zeros((1, 4, 6, 8), "int32")
    if at:
        mask[(0, *at)] = 1
    return mask


def score(metric, true, pred):
    metric.update_state(true, pred)
    return float(metric.result())


@pytest.mark.parametrize(("moved", "millimetres"), [((1, 0, 0), 3.0), ((0, 2, 0), 1.0), ((1, 2, 3), math.sqrt(19))])
def test_distance_is_in_millimetres(moved, millimetres):
    there = volume(*(1 + step for step in moved))
    distance = sg.metrics.HausdorffDistance95(2, spacing=SPACING)
    assert score(distance, volume(1, 1, 1), there) == pytest.approx(millimetres, rel=1e-6)
    for tolerance, share in ((millimetres + 0.01, 1.0), (millimetres - 0.01, 0.0)):
        near = sg.metrics.NormalizedSurfaceDistance(2, tolerance=tolerance, spacing=SPACING)
        assert score(near, volume(1, 1, 1), there) == share


@pytest.mark.parametrize("pair", [(volume(), volume(1, 1, 1)), (volume(1, 1, 1), volume())])
def test_one_empty_mask_is_the_worst_there_is(pair):
    worst = math.dist((0, 0, 0), (4 * 3.0, 6 * 0.5, 8 * 1.0))
    assert score(sg.metrics.HausdorffDistance95(2, spacing=SPACING), *pair) == pytest.approx(worst, rel=1e-6)
    assert score(sg.metrics.NormalizedSurfaceDistance(2, spacing=SPACING), *pair) == 0.0


def test_two_empty_masks_are_left_out():
    for metric in (sg.metrics.HausdorffDistance95(2), sg.metrics.NormalizedSurfaceDistance(2)):
        metric.update_state(volume(), volume())
        assert metric.per_class() == (None, None)
