"""Whether the values of masks number the objects in each, as instance masks do, and are no classes.

Numbers of objects run from 1 without a gap in every mask, each is one piece, and how far they run differs from mask to
mask. Classes have several pieces, and where one is absent it need not be the highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence._mask_planes import plane_of

PRICE = "data"

_MOST_MASKS, _MOST_OBJECTS = 64, 500
_FEWEST_MASKS, _COUNTS = 6, 3
_ONE_PIECE = 0.9  # of an object's pixels; resizing and crops cut slivers off
_NUMBERED = 0.8  # of the masks


@dataclass(frozen=True)
class NumberedObjects:
    """What the masks with two or more values above 0 look like.

    Attributes:
        masks: How many there are.
        numbered: Those whose values run from 1 without a gap, a piece each.
        most: Of their objects.
        counts: How many different numbers of objects there are.
    """

    masks: int
    numbered: int
    most: int
    counts: int

    @property
    def sure(self) -> bool:
        """Whether this is a numbering and not a choice of classes."""
        return self.numbered >= max(_FEWEST_MASKS, _NUMBERED * self.masks) and self.counts >= _COUNTS


def measure(batches: Sequence[Batch], heads: Sequence[Any] | None = None) -> NumberedObjects:
    """Raises `Unavailable` without masks of whole numbers of which several hold two values above 0."""
    masks, counts = 0, []
    for pair in pairs_of(batches, heads):
        if pair.mask is None or (pair.mask.ndim == 3 and pair.mask.shape[-1] > 1):
            continue
        plane = plane_of(pair.mask)
        values = np.unique(plane)
        if not np.array_equal(values, np.round(values)):
            raise Unavailable("the masks hold fractions")
        values = values[values > 0]
        if len(values) < 2:
            continue
        masks += 1
        in_a_row = len(values) <= _MOST_OBJECTS and values[-1] == len(values)
        if in_a_row and all(_is_one_piece(plane == value) for value in values):
            counts.append(len(values))
        if masks == _MOST_MASKS:
            break
    if not masks:
        raise Unavailable("no mask holds two values above 0")
    return NumberedObjects(masks, len(counts), max(counts, default=0), len(set(counts)))


def _is_one_piece(area: np.ndarray) -> bool:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(area.astype(np.uint8), connectivity=8)
    sizes = statistics[1:, cv2.CC_STAT_AREA]
    return bool(sizes.max() >= _ONE_PIECE * sizes.sum())
