"""Whole images at half their size: what a short training on a processor learns more from than from sharp crops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.fingerprint import Fingerprint
from segnosis.training.scores import confusion, from_confusion

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset

_SAMPLES = 32
"""Masks that are stretched to see what is lost."""
_DIVISOR = 16
"""Sides are multiples of it: what a network of depth 4 halves without padding."""
_LEAST = 96
"""Smaller images hold too little."""
_ALIKE = 1.5
"""Ratio of the largest to the smallest side up to which images are of about one size."""


def halved(fingerprint: Fingerprint) -> tuple[int, int] | None:
    """Half the median image, sides rounded up; `None` where images are small, or of very different sizes."""
    if any(most > _ALIKE * least for least, _, most in (fingerprint.height, fingerprint.width)):
        return None
    height, width = (
        math.ceil(middle / 2 / _DIVISOR) * _DIVISOR for _, middle, _ in (fingerprint.height, fingerprint.width)
    )
    return None if min(height, width) < _LEAST else (height, width)


def kept(dataset: Dataset, size: tuple[int, int]) -> float:
    """Foreground Dice of masks that were stretched to `size` and back: the most that a model of that size can score.

    Args:
        dataset: Samples; a few of them, spread over all, are looked at.
        size: `(height, width)`.
    """
    names, ignore = dataset.spec.class_names, dataset.spec.ignore_class
    total = np.zeros((len(names), len(names)), np.int64)
    for index in sorted(set(np.linspace(0, len(dataset) - 1, min(_SAMPLES, len(dataset))).round().astype(int))):
        try:
            mask = dataset[int(index)].mask
        except DataError:
            continue  # told by the checks, and when training begins
        if mask is not None:
            total += confusion(mask, _there_and_back(mask, size, len(names)), len(names), ignore)
    return from_confusion(total, names)["foreground_dice"] or 0.0


def _there_and_back(mask: np.ndarray, size: tuple[int, int], classes: int) -> np.ndarray:
    small = _most([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA) for plane in _planes(mask, classes)])
    height, width = mask.shape
    return _most([cv2.resize(plane, (width, height)) for plane in _planes(small, classes)])


def _planes(mask: np.ndarray, classes: int) -> list[np.ndarray]:
    return [(mask == number).astype(np.float32) for number in range(classes)]


def _most(planes: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(planes, axis=-1).argmax(axis=-1)
