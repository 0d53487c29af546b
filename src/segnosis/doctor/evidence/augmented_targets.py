"""What augmentation leaves of the objects: masks and images of stored pairs before and after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.random_state import random_state_kept

PRICE = "data"

_PAIRS = 48


@dataclass(frozen=True)
class AugmentedTargets:
    """Pairs with foreground, before and after.

    Attributes:
        count: Pairs with foreground that were augmented.
        lost: Share of them without any foreground afterwards.
        area: Foreground share afterwards over the share before, mean over the pairs.
        clipped: Share of pixels at the ends of the image's range afterwards, beyond what there was before.
    """

    count: int
    lost: float
    area: float
    clipped: float


def measure(augment: Callable[..., Any], pairs: Iterable[Pair]) -> AugmentedTargets:
    """On up to 48 pairs, once each."""
    lost, areas, clipped = [], [], []
    with random_state_kept():
        np.random.seed(0)
        for pair in islice(pairs, _PAIRS):
            if pair.image is None or pair.mask is None or not (pair.mask > 0).any():
                continue
            try:
                image, mask = augment(np.array(pair.image), np.array(pair.mask))
            except Exception as error:  # anything that a user's augmentation can raise
                raise Unavailable(f"the augmentation raises {type(error).__name__}: {error}") from error
            mask = np.asarray(mask)
            lost.append(not (mask > 0).any())
            areas.append(float((mask > 0).mean() / (pair.mask > 0).mean()))
            clipped.append(max(0.0, _at_ends(np.asarray(image), pair.image) - _at_ends(pair.image, pair.image)))
    if not areas:
        raise Unavailable("no stored mask has any foreground")
    return AugmentedTargets(len(areas), float(np.mean(lost)), float(np.mean(areas)), float(np.mean(clipped)))


def _at_ends(image: np.ndarray, original: np.ndarray) -> float:
    top = 255.0 if np.asarray(original).max() > 1.5 else 1.0
    return float(np.mean((image <= 0) | (image >= top)))
