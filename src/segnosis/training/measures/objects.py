"""Score by object size: are small objects found as well as large ones?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from segnosis.training.measures.base import Scored

THIRDS = ("small", "medium", "large")
FOUND = 0.5
"""Share of an object's pixels that must be predicted as its class for it to count as found."""


class Facts(NamedTuple):
    """True objects of one class in one image, and the predicted ones that touch none of them.

    Attributes:
        area: Pixels of each true object.
        recall: Share of them predicted as the class.
        dice: Overlap of each with the predicted objects that lie mostly on it.
        invented: Predicted objects on no true one.
    """

    area: np.ndarray
    recall: np.ndarray
    dice: np.ndarray
    invented: int


class Objects:
    """Recall and Dice of true objects, by thirds of their area within each class.

    An object is a connected region (8 neighbours) of a class but the background, in the plane. A predicted object
    belongs to the true one it shares most pixels with; Dice of an object is that of its pixels and all that belong to
    it. Both thirds' limits and means are over all objects of all images.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self._seen: list[list[Facts]] = [[] for _ in class_names]

    def add(self, sample: Scored) -> None:
        """Match the objects of one image."""
        known = sample.truth >= 0
        for k in range(1, len(self.class_names)):
            true, guess = sample.truth == k, sample.guess == k
            if true.any() or (guess & known).any():
                self._seen[k].append(match(true, guess, known))

    def result(self) -> dict[str, Any] | None:
        """Class → `objects`, `invented` and, by `small`, `medium`, `large`: `objects`, `area` (least and most
        pixels), `found` (share), `recall` and `dice`; a third that equal sizes leave empty is left out."""
        out = {name: self._of(k) for k, name in enumerate(self.class_names) if self._seen[k]}
        return out or None

    def _of(self, k: int) -> dict[str, Any]:
        area, recall, dice = (
            np.concatenate([getattr(facts, name) for facts in self._seen[k]]) for name in ("area", "recall", "dice")
        )
        entry: dict[str, Any] = {"objects": len(area), "invented": sum(facts.invented for facts in self._seen[k])}
        limits = np.quantile(area, [1 / 3, 2 / 3]) if len(area) else np.zeros(2)
        third = np.searchsorted(limits, area)  # an area equal to a limit is of the smaller third
        for number, name in enumerate(THIRDS):
            of = third == number
            if of.any():
                entry[name] = {
                    "objects": int(of.sum()),
                    "area": [int(area[of].min()), int(area[of].max())],
                    "found": float(np.mean(recall[of] >= FOUND)),
                    "recall": float(recall[of].mean()),
                    "dice": float(dice[of].mean()),
                }
        return entry


def match(true: np.ndarray, guess: np.ndarray, known: np.ndarray) -> Facts:
    """Objects of two boolean regions `(height, width)`, each predicted one given to the true one it overlaps most.

    Pixels that are not `known` count for nothing, yet hold an object together: what an ignored rim cuts off a predicted
    car is no second, invented car.
    """
    _, whole = cv2.connectedComponents(guess.astype(np.uint8), connectivity=8)
    guess = guess & known
    invented = len(np.setdiff1d(whole[guess], whole[guess & true]))
    number_true, at_true = cv2.connectedComponents(true.astype(np.uint8), connectivity=8)
    number_guess, at_guess = cv2.connectedComponents(guess.astype(np.uint8), connectivity=8)
    area = np.bincount(at_true.ravel(), minlength=number_true)[1:].astype(np.float64)
    guessed = np.bincount(at_guess.ravel(), minlength=number_guess)[1:].astype(np.float64)
    both = (at_true > 0) & (at_guess > 0)
    pairs, shared = np.unique(
        (at_guess[both].astype(np.int64) - 1) * max(number_true - 1, 1) + at_true[both] - 1, return_counts=True
    )
    of_guess, of_true = np.divmod(pairs, max(number_true - 1, 1))
    hit = np.bincount(of_true, weights=shared, minlength=number_true - 1)
    # The largest share comes last, so that it is the one an assignment keeps.
    order = np.argsort(shared, kind="stable")
    owner = np.full(number_guess - 1, -1)
    owner[of_guess[order]] = of_true[order]
    own = owner[of_guess] == of_true
    given = np.bincount(owner[owner >= 0], weights=guessed[owner >= 0], minlength=number_true - 1)
    overlap = np.bincount(of_true[own], weights=shared[own], minlength=number_true - 1)
    return Facts(area, hit / area, 2 * overlap / (area + given), invented)
