"""Label-error review: samples whose masks the model contradicts most, sure of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from segnosis.training.measures.base import Scored

MARGIN = 0.8
"""Probability by which the predicted class must exceed the mask's, for a pixel to contradict its mask."""
LISTED = 20


class Doubts:
    """Ranks samples by the largest region in which the model is sure that the mask is wrong.

    A pixel contradicts its mask when the probability of the predicted class exceeds that of the mask's class by
    `MARGIN`; contours, where experts differ by a pixel or two, are taken away by a morphological opening of 3 × 3. The
    size of a sample's largest connected region, as a share of its image, is its doubt. Whoever is asked must not have
    learnt the masks: the samples are those the weights were not trained on. It is a list to look through, not proof,
    for the model may be the one that errs.

    Reference:
        Lad & Mueller, Estimating label quality and errors in semantic segmentation data via any model, ICML workshop
        DMLR 2023; Northcutt et al., Confident learning, JAIR 2021.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self._rows: list[dict[str, Any]] = []
        self._looked = 0

    def add(self, sample: Scored) -> None:
        """Measure one sample's doubt; only the most doubtful are kept."""
        self._looked += 1
        row = doubt(sample)
        if row is not None:
            row["mask_says"], row["model_says"] = (self.class_names[row[name]] for name in ("mask_says", "model_says"))
            self._rows = _first([*self._rows, row])

    def result(self) -> dict[str, Any] | None:
        """`looked_at`, the number of samples, and `listed`, the most doubtful first: `id`, `share` of the image,
        `pixels`, `box` (top, left, height, width), `confidence`, `mask_says` and `model_says`."""
        return {"looked_at": self._looked, "listed": self._rows} if self._looked else None


def merged(parts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Lists of several parts of a data set as one; each row says its `part`."""
    known = {part: found for part, found in parts.items() if found is not None}
    if not known:
        return None
    rows = [{**row, "part": part} for part, found in known.items() for row in found["listed"]]
    return {"looked_at": {part: found["looked_at"] for part, found in known.items()}, "listed": _first(rows)}


def part(found: Mapping[str, Any] | None, name: str) -> dict[str, Any] | None:
    """What `merged` has of one part."""
    if found is None or name not in found["looked_at"]:
        return None
    return {"looked_at": found["looked_at"][name], "listed": [row for row in found["listed"] if row["part"] == name]}


def _first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (-row["share"], row["id"]))[:LISTED]


def doubt(sample: Scored) -> dict[str, Any] | None:
    """The largest region in which the model is sure that the mask is wrong; `None` where there is none."""
    known = sample.truth >= 0
    of_mask = np.take_along_axis(sample.probabilities, np.maximum(sample.truth, 0)[..., None], axis=-1)[..., 0]
    of_guess = np.take_along_axis(sample.probabilities, sample.guess[..., None], axis=-1)[..., 0]
    against = (known & (of_guess - of_mask >= MARGIN)).astype(np.uint8)
    against = cv2.morphologyEx(against, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    number, labels, stats, _ = cv2.connectedComponentsWithStats(against, connectivity=8)
    if number < 2:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    region = labels == largest
    left, top, width, height, pixels = (int(value) for value in stats[largest])
    return {
        "id": sample.id,
        "share": pixels / against.size,
        "pixels": pixels,
        "box": [top, left, height, width],
        "confidence": float(of_guess[region].mean()),
        "mask_says": int(np.bincount(sample.truth[region]).argmax()),
        "model_says": int(np.bincount(sample.guess[region]).argmax()),
    }
