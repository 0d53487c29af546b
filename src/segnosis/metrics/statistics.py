"""How sure a score is, and whether one run is better than another: bootstrap over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from segnosis.core.errors import ArgumentError


class Interval(NamedTuple):
    """A score with its confidence interval."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Score of the second run minus that of the first, its confidence interval, and a two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float


def mean_of(values: np.ndarray) -> float:
    """Mean over images, the default statistic."""
    return float(np.mean(values))


def bootstrap_interval(
    values: np.ndarray,
    *,
    statistic: Callable[[np.ndarray], float] = mean_of,
    groups: Sequence[object] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of a statistic over images.

    Args:
        values: One score, or one confusion matrix, per image: `(images, …)`.
        statistic: From `(images, …)` to a number; a data set's IoU from the matrices of its images, say.
        groups: Patient, slide or video of each image. Whole groups are drawn, since their images are alike.
        confidence: Probability that the interval is meant to hold.
        resamples: Number of resampled data sets.
        seed: Seed of the resampling.

    Example:
        >>> value, low, high = bootstrap_interval([0.7, 0.8, 0.9, 0.8], seed=1)
        >>> low < value < high
        True
    """
    values = np.asarray(values)
    members = _members(len(values), groups)
    _check(len(members), confidence, resamples)
    draw = np.random.default_rng(seed)
    drawn = [statistic(values[_resample(members, draw)]) for _ in range(resamples)]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(statistic(values)), float(low), float(high))


def paired_comparison(
    first: np.ndarray,
    second: np.ndarray,
    *,
    statistic: Callable[[np.ndarray], float] = mean_of,
    groups: Sequence[object] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two runs on the same images.

    The interval of the difference is a bootstrap that draws the same images for both. The p-value is that of a
    permutation test: how often the difference is at least as large when each group's two results are swapped at random.

    Args:
        first: One score, or one confusion matrix, per image of the first run: `(images, …)`.
        second: The same of the second run, images in the same order.
        statistic: From `(images, …)` to a number.
        groups: Patient, slide or video of each image.
        confidence: Probability that the interval is meant to hold.
        resamples: Number of resampled data sets, and of permutations.
        seed: Seed of both.

    Example:
        >>> comparison = paired_comparison([0.5, 0.6, 0.7], [0.6, 0.7, 0.8])
        >>> round(comparison.difference, 3), comparison.p_value > 0.05  # 3 images prove nothing
        (0.1, True)
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ArgumentError(
            "Both runs are scored on the same images, one value per image.",
            received={"first.shape": first.shape, "second.shape": second.shape},
            cure="Evaluate both runs on one data set, in one order.",
        )
    members = _members(len(first), groups)
    _check(len(members), confidence, resamples)
    draw = np.random.default_rng(seed)
    observed = statistic(second) - statistic(first)
    drawn, extreme = [], 0
    for _ in range(resamples):
        images = _resample(members, draw)
        drawn.append(statistic(second[images]) - statistic(first[images]))
        swapped = np.zeros(len(first), dtype=bool)
        for images in members:
            swapped[images] = draw.random() < 0.5
        swap = swapped.reshape((-1,) + (1,) * (first.ndim - 1))
        difference = statistic(np.where(swap, first, second)) - statistic(np.where(swap, second, first))
        extreme += abs(difference) >= abs(observed) - 1e-12
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    # The observed labelling is itself one of the permutations, so a p-value is never 0.
    return Comparison(float(observed), float(low), float(high), (extreme + 1) / (resamples + 1))


def _members(images: int, groups: Sequence[object] | None) -> list[np.ndarray]:
    if groups is None:
        return [np.array([image]) for image in range(images)]
    if len(groups) != images:
        raise ArgumentError(
            "`groups` holds the group of each image.",
            received={"len(groups)": len(groups), "images": images},
            cure="Pass one key per image.",
        )
    by_key: dict[object, list[int]] = {}
    for image, key in enumerate(groups):
        by_key.setdefault(key, []).append(image)
    return [np.array(images_of) for images_of in by_key.values()]


def _resample(members: list[np.ndarray], draw: np.random.Generator) -> np.ndarray:
    return np.concatenate([members[k] for k in draw.integers(len(members), size=len(members))])


def _check(groups: int, confidence: float, resamples: int) -> None:
    if groups < 2:
        raise ArgumentError(
            "Resampling needs at least 2 images (or groups of them).",
            received={"groups": groups},
            cure="Score more images.",
        )
    if not 0 < confidence < 1 or resamples < 1:
        raise ArgumentError(
            "`confidence` lies between 0 and 1, and `resamples` is at least 1.",
            received={"confidence": confidence, "resamples": resamples},
            cure="Leave both at their defaults, 0.95 and 2000.",
        )
