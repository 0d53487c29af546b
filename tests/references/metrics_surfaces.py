"""Distances of surfaces by looking at every pair of pixels; arguments as in `metrics_pixels`, and `spacing`."""

from __future__ import annotations

import math

import numpy as np


def hausdorff_distance_95(true, pred, keep, classes, *, skip_background=True, spacing=None, **_):
    def score(a, b, shape, size):
        if not (a and b):
            return math.dist((0,) * len(shape), [n * s for n, s in zip(shape, size, strict=True)])
        return max(_percentile_95(_distances(a, b, size)), _percentile_95(_distances(b, a, size)))

    return _mean(true, pred, keep, classes, skip_background, spacing, score)


def normalized_surface_distance(true, pred, keep, classes, *, skip_background=True, spacing=None, tolerance=1.0, **_):
    def score(a, b, shape, size):
        if not (a and b):
            return 0.0
        distances = _distances(a, b, size) + _distances(b, a, size)
        return sum(d <= tolerance for d in distances) / len(distances)

    return _mean(true, pred, keep, classes, skip_background, spacing, score)


def _mean(true, pred, keep, classes, skip_background, spacing, score):
    scores = []
    for image in range(len(true)):
        size = spacing or (1.0,) * true[image].ndim
        for k in range(1 if skip_background else 0, classes):
            regions = [(ids[image] == k) & keep[image] for ids in (true, pred)]
            if any(region.any() for region in regions):
                scores.append(score(*map(_surface, regions), true[image].shape, size))
    return sum(scores) / max(1, len(scores))


def _surface(region):
    out = []
    for at in zip(*np.nonzero(region), strict=True):
        for axis in range(region.ndim):
            for step in (-1, 1):
                where = tuple(a + step * (i == axis) for i, a in enumerate(at))
                inside = all(0 <= w < n for w, n in zip(where, region.shape, strict=True))
                if at not in out and not (inside and region[where]):
                    out.append(at)
    return out


def _distances(of, to, size):
    def distance(a, b):
        return math.sqrt(sum(((x - y) * s) ** 2 for x, y, s in zip(a, b, size, strict=True)))

    return [min(distance(a, b) for b in to) for a in of]


def _percentile_95(values):
    values = sorted(values)
    position = 0.95 * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (position - low) * (values[high] - values[low])
