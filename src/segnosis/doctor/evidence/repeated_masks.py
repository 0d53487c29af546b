"""Masks that several images share, and whether they fit more than one of them.

Toy data and fixed cameras have equal masks for a reason: these fit each of their images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.digest import digest
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence._mask_planes import regions_of
from segnosis.doctor.evidence._oriented_edges import (
    DIHEDRAL,
    Field,
    Outline,
    agreement,
    edges_and_outline,
    resizable,
    turned,
)
from segnosis.doctor.evidence._places import place

PRICE = "data"

_MOST, _FEWEST, _OTHERS = 96, 12, 16


@dataclass(frozen=True)
class RepeatedMasks:
    """Of the samples whose mask shows outlines.

    Attributes:
        samples: How many were compared.
        shared: Those whose mask, in any mirror image or quarter turn, another image has too.
        masks: Different masks among these.
        best: How well such a mask fits the one image that it fits best: the mean, in standard deviations of how it fits
            images of others, and its own when it is turned.
        rest: The same of its other images.
        first, second: Two samples that share a mask.
    """

    samples: int
    shared: int
    masks: int = 0
    best: float = 0.0
    rest: float = 0.0
    first: str = ""
    second: str = ""


def measure(batches: Sequence[Batch], heads: Sequence[Any] | None = None) -> RepeatedMasks:
    """Raises `Unavailable` with fewer than a dozen comparable samples."""
    seen: list[tuple[Pair, Field, Outline, bytes]] = []
    for pair in pairs_of(batches, heads):
        if pair.image is None or pair.mask is None or min(pair.image.shape[:2]) < 8:
            continue
        both = edges_and_outline(pair.image, resizable(regions_of(pair.mask)))
        if both is not None:
            seen.append((pair, *both, turn_free(pair.mask)))
        if len(seen) == _MOST:
            break
    if len(seen) < _FEWEST:
        raise Unavailable(f"{len(seen)} samples show edges and outlines, {_FEWEST} are needed")
    groups: dict[bytes, list[int]] = {}
    for number, (*_, key) in enumerate(seen):
        groups.setdefault(key, []).append(number)
    shared = [numbers for numbers in groups.values() if len({digest(seen[n][0].image) for n in numbers}) > 1]  # type: ignore[arg-type]
    if not shared:
        return RepeatedMasks(len(seen), 0)
    fields = [field for _, field, _, _ in seen]
    best, rest = [], []
    for numbers in shared:
        others = [field for number, field in enumerate(fields) if number not in numbers][:_OTHERS]
        fits = sorted(_fits(fields[number], seen[number][2], others) for number in numbers)
        best.append(fits[-1])
        rest.append(float(np.mean(fits[:-1])))
    first, second = (place(seen[number][0]) for number in shared[0][:2])
    count = sum(map(len, shared))
    return RepeatedMasks(len(seen), count, len(shared), float(np.mean(best)), float(np.mean(rest)), first, second)


def turn_free(mask: np.ndarray) -> bytes:
    """A digest that a mask shares with all its mirror images and quarter turns.

    Example:
        >>> mask = np.triu(np.ones((4, 4)), 1)
        >>> turn_free(mask) == turn_free(mask.T), turn_free(mask) == turn_free(1 - mask)
        (True, False)
    """
    turns = [np.rot90(mask, quarter) for quarter in range(4)]
    return min(digest(each) for turn in turns for each in (turn, turn[::-1]))


def _fits(field: Field, outline: Outline, others: list[Field]) -> float:
    turns = [turned(outline, name) for name in DIHEDRAL]
    own, *beside = agreement([field], [outline, *turns])[0]
    chance = np.array([*beside, *(agreement(others, [outline])[:, 0] if others else ())])
    return float((own - chance.mean()) / max(chance.std(), 1e-6))
