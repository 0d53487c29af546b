"""Whether the values of masks number the objects in each, as instance masks do, and are no classes.

Numbers of objects run from 1 without a gap in every mask, each is one piece, and how far they run differs from mask to
mask. Classes have several pieces, and where one is absent it need not be the highest. Crops and overlaps leave gaps:
then each is still one piece, there are many, and the highest number is another in most masks.
"""

from __future__ import annotations

from collections import Counter
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
_MANY, _SAME_HIGHEST = (
    5,
    0.4,
)  # values of a mask, and share of the masks that have the same highest, where gaps are left


@dataclass(frozen=True)
class NumberedObjects:
    """What the masks with two or more values above 0 look like.

    Attributes:
        masks: How many there are.
        numbered: Those whose values run from 1 without a gap, a piece each.
        most: The highest number in masks each value of which is a piece.
        counts: How many different numbers of objects there are.
        pieces: Masks each value of which is a piece, gaps or none.
        values: Values above 0 in the mask that is in the middle by that.
        same_highest: Share of the masks that have the commonest highest value.
    """

    masks: int
    numbered: int
    most: int
    counts: int
    pieces: int
    values: int
    same_highest: float

    @property
    def sure(self) -> bool:
        """Whether this is a numbering and not a choice of classes."""
        enough = max(_FEWEST_MASKS, _NUMBERED * self.masks)
        with_gaps = self.pieces >= enough and self.values >= _MANY and self.same_highest <= _SAME_HIGHEST
        return with_gaps or (self.numbered >= enough and self.counts >= _COUNTS)


def measure(batches: Sequence[Batch], heads: Sequence[Any] | None = None) -> NumberedObjects:
    """Raises `Unavailable` without masks of whole numbers of which several hold two values above 0."""
    masks, pieces, most, counts = 0, 0, 0, []
    sizes, highest = [], Counter[float]()
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
        sizes.append(len(values))
        highest[float(values[-1])] += 1
        if len(values) <= _MOST_OBJECTS and all(_is_one_piece(plane == value) for value in values):
            pieces += 1
            most = max(most, int(values[-1]))
            counts += [len(values)] if values[-1] == len(values) else []
        if masks == _MOST_MASKS:
            break
    if not masks:
        raise Unavailable("no mask holds two values above 0")
    same_highest = highest.most_common(1)[0][1] / masks
    return NumberedObjects(
        masks, len(counts), most, len(set(counts)), pieces, int(np.median(sizes)), round(same_highest, 3)
    )


def _is_one_piece(area: np.ndarray) -> bool:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(area.astype(np.uint8), connectivity=8)
    sizes = statistics[1:, cv2.CC_STAT_AREA]
    return bool(sizes.max() >= _ONE_PIECE * sizes.sum())
