"""How sure scores are: bootstrap and permutation by group, from each image's counts of pixels alone.

A data set is resampled by giving every group (patient, slide, video; every image where there are none) a weight, so
that all resampled data sets are one product of matrices, whatever the images' sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000
_BLOCK = 4_000_000
"""Weights held at once."""
HEADLINES = ("mean_iou", "mean_dice", "foreground_iou", "foreground_dice")


def intervals(
    counts: np.ndarray,
    groups: Sequence[str],
    class_names: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Percentile bootstrap of data-set-level scores, whole groups drawn with replacement.

    Args:
        counts: `(images, classes, 3)`: pixels right, true and predicted of each class in each image.
        groups: Group of each image; images of one group are alike and drawn together.
        class_names: Name per class id, background first.
        resamples: Number of resampled data sets.
        seed: Seed of the resampling.

    Returns:
        `[low, high]` of each of `HEADLINES`, and `per_class` of each class' `iou`, `dice` and `dice_per_image`;
        `None` for what most of the resampled data sets do not hold, and for everything with fewer than two groups.

    Example:
        >>> counts = np.array([[[90, 95, 92], [5, 8, 10]], [[80, 90, 85], [10, 15, 20]], [[70, 70, 80], [20, 30, 20]]])
        >>> found = intervals(counts, ["a", "b", "c"], ["background", "cell"])
        >>> found["groups"], found["foreground_iou"][0] < 35 / 68 < found["foreground_iou"][1]
        (3, True)

    Reference:
        Efron & Tibshirani, An introduction to the bootstrap, 1993, chapters 13 and 8 (the cluster is the unit).
    """
    number, index = _numbered(groups)
    if number < 2:
        return None
    per_image = _dice(counts)
    seen = ~np.isnan(per_image)
    packed = np.concatenate([counts, np.where(seen, per_image, 0.0)[..., None], seen[..., None]], axis=-1)
    by_group = _summed(packed, index, number)
    parts: dict[Any, list[np.ndarray]] = {}
    for weights in _drawn(number, resamples, seed):
        sums = np.tensordot(weights, by_group, axes=1)
        for name, values in _scores(sums[..., :3]).items():
            parts.setdefault(name, []).append(values)
        parts.setdefault("dice_per_image", []).append(_share(sums[..., 3], sums[..., 4]))
    drawn = {name: np.concatenate(blocks) for name, blocks in parts.items()}
    return {
        "confidence": CONFIDENCE,
        "resamples": resamples,
        "groups": number,
        **{name: _limits(drawn[name]) for name in HEADLINES},
        "per_class": {
            name: {score: _limits(drawn[score][:, k]) for score in ("iou", "dice", "dice_per_image")}
            for k, name in enumerate(class_names)
        },
    }


def compare(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[str],
    class_names: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """What the second run scores more than the first on the same images, and whether chance alone would do that.

    The interval of the difference is a bootstrap that draws the same groups for both. The p-value is that of a
    two-sided paired permutation test: how often the difference is at least as large when each group's two results are
    exchanged at random; all exchanges are tried where they are few.

    Args:
        first: `(images, classes, 3)` as in `intervals`, of the first run.
        second: The same of the second, images in the same order.
        groups: Group of each image.
        class_names: Name per class id, background first.
        resamples: Number of resampled data sets, and of exchanges.
        seed: Seed of both.

    Returns:
        Of each of `HEADLINES` and of each `dice of <class>`: `difference`, `low`, `high`, `p_value`; each `None` where
        there is no score.

    Reference:
        Good, Permutation, parametric and bootstrap tests of hypotheses, 2005; Phipson & Smyth, Permutation p-values
        should never be zero, 2010.
    """
    number, index = _numbered(groups)
    one, two = _summed(first, index, number), _summed(second, index, number)
    named = _named(class_names)
    observed = {name: read(_scores(two.sum(0))) - read(_scores(one.sum(0))) for name, read in named.items()}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in named}
    for weights in _drawn(number, resamples, seed):
        after, before = (_scores(np.tensordot(weights, side, axes=1)) for side in (two, one))
        for name, read in named.items():
            drawn[name].append(read(after) - read(before))
    extreme, tried = dict.fromkeys(named, 0), 0
    for swap in _exchanges(number, resamples, seed):
        kept = 1.0 - swap
        after = _scores(np.tensordot(kept, two, axes=1) + np.tensordot(swap, one, axes=1))
        before = _scores(np.tensordot(kept, one, axes=1) + np.tensordot(swap, two, axes=1))
        tried += len(swap)
        for name, read in named.items():
            extreme[name] += int(np.sum(np.abs(read(after) - read(before)) >= abs(observed[name]) - 1e-12))
    exact = 2**number <= resamples
    out = {}
    for name in named:
        known = not np.isnan(observed[name])
        limits = (_limits(np.concatenate(drawn[name])) if number > 1 else None) or (None, None)
        # Drawn at random, the observed labelling is one exchange more, so a p-value is never 0.
        p_value = extreme[name] / tried if exact else (extreme[name] + 1) / (tried + 1)
        out[name] = {
            "difference": float(observed[name]) if known else None,
            "low": limits[0],
            "high": limits[1],
            "p_value": float(p_value) if known else None,
        }
    return out


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm 1979): the chance of even one false alarm among them stays that low.

    Example:
        >>> holm([0.01, 0.04, None, 0.03])
        [0.03, 0.06, None, 0.06]
    """
    known = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    out: list[float | None] = [None] * len(p_values)
    worst = 0.0
    for rank, (value, place) in enumerate(known):
        worst = max(worst, min(1.0, value * (len(known) - rank)))
        out[place] = worst
    return out


def _numbered(groups: Sequence[str]) -> tuple[int, np.ndarray]:
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return len(names), index


def _summed(values: np.ndarray, index: np.ndarray, number: int) -> np.ndarray:
    out = np.zeros((number, *values.shape[1:]))
    np.add.at(out, index, values)
    return out


def _drawn(groups: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group is in each resampled data set, `(some, groups)` at a time."""
    draw, block = np.random.default_rng(seed), max(1, _BLOCK // groups)
    for start in range(0, resamples, block):
        some = min(block, resamples - start)
        yield draw.multinomial(groups, np.full(groups, 1.0 / groups), size=some).astype(np.float64)


def _exchanges(groups: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """1 where a group's two results are exchanged, `(some, groups)` at a time: all patterns where those are few."""
    if 2**groups <= resamples:
        yield (np.arange(2**groups)[:, None] >> np.arange(groups) & 1).astype(np.float64)
        return
    draw, block = np.random.default_rng(seed + 1), max(1, _BLOCK // groups)
    for start in range(0, resamples, block):
        yield draw.integers(0, 2, size=(min(block, resamples - start), groups)).astype(np.float64)


def _named(class_names: Sequence[str]) -> dict[str, Callable[[Mapping[str, np.ndarray]], Any]]:
    """Name of a score → how it is read from `_scores`."""
    named: dict[str, Callable[[Mapping[str, np.ndarray]], Any]] = {
        name: lambda scores, name=name: scores[name]  # type: ignore[misc]
        for name in HEADLINES
    }
    for k, name in enumerate(class_names):
        named[f"dice of {name}"] = lambda scores, k=k: scores["dice"][..., k]  # type: ignore[misc]
    return named


def _scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of `(…, classes, 3)` sums: per class `(…, classes)`, means `(…)`; NaN where there is no score."""
    hit, true, guess = sums[..., 0], sums[..., 1], sums[..., 2]
    iou, dice = _share(hit, true + guess - hit), _share(2 * hit, true + guess)
    out = {"iou": iou, "dice": dice}
    for name, values in (("iou", iou), ("dice", dice)):
        out[f"mean_{name}"] = _mean(values)
        out[f"foreground_{name}"] = _mean(values[..., 1:])
    return out


def _dice(counts: np.ndarray) -> np.ndarray:
    return _share(2.0 * counts[..., 0], counts[..., 1] + counts[..., 2])


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1e-300), np.nan)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what has a value."""
    seen = ~np.isnan(values)
    return _share(np.where(seen, values, 0.0).sum(axis=-1), seen.sum(axis=-1))


def _limits(values: np.ndarray) -> tuple[float, float] | None:
    known = values[~np.isnan(values)]
    if 2 * len(known) < len(values):
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
