"""Augmentation throws the objects out of the picture.

## What it looks for
Stored pairs with foreground, before and after augmentation: masks that lose all of it, and pixels clipped to black or
white. Half of the masks lost is a suspicion; where 19 of 20 are lost, there is next to nothing left to learn from.

## Why the model does not learn
A crop that mostly misses a small lesion turns a data set of lesions into one of background; ranges that clip a third
of the pixels hide what the object looks like.

## What to do
Smaller ranges, and crops drawn around foreground part of the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segnosis.doctor.case import Case, pairs_from_arrays
from segnosis.doctor.evidence.augmented_targets import AugmentedTargets
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "PRE006", "warning"


def check(
    augmented_targets: AugmentedTargets,
    *,
    max_lost: float = 0.5,
    max_clipped: float = 0.3,
    min_count: int = 8,
    sure_lost: float = 0.95,
) -> Verdict:
    seen = augmented_targets
    if seen.count < min_count:
        return NotApplicable(f"{seen.count} pairs with foreground are too few")
    measured = {
        "pairs": seen.count,
        "masks_without_foreground_after": seen.lost,
        "foreground_area_after_over_before": seen.area,
        "pixels_clipped": seen.clipped,
    }
    if seen.lost <= max_lost and seen.clipped <= max_clipped:
        return Healthy(measured)
    lost = seen.lost > max_lost
    return Finding(
        says=f"After augmentation {seen.lost:.0%} of {seen.count} masks with foreground have none left."
        if lost
        else f"Augmentation clips {seen.clipped:.0%} of the pixels to the ends of their range.",
        measured=measured,
        fix="Smaller shifts and larger crops, or crops around a foreground pixel half of the time."
        if lost
        else "Smaller brightness and contrast ranges: `brightness_range=(0.9, 1.1)`.",
        where=("augmentation",),
        level="proven" if seen.lost >= sure_lost else "suspected",
        severity="warning",
    )


def _case(size: int) -> Case:
    random = np.random.default_rng(0)
    images = random.random((12, 32, 32, 1)).astype("float32")
    masks = np.zeros((12, 32, 32), "uint8")
    for mask in masks:
        top, left = random.integers(0, 28, 2)
        mask[top : top + 4, left : left + 4] = 1

    def crop(image: np.ndarray, mask: np.ndarray) -> tuple[Any, Any]:
        top, left = random.integers(0, 32 - size + 1, 2)
        return image[top : top + size, left : left + size], mask[top : top + size, left : left + size]

    return Case(pairs=pairs_from_arrays(images, masks), augment=crop)


def sick() -> Case:
    return _case(8)


def healthy() -> Case:
    return _case(28)
