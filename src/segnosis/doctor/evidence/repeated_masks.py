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
from segnosis.doctor.digest import digest, turn_free
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence._oriented_edges import DIHEDRAL, Field, Outline, agreement, turned
from segnosis.doctor.evidence._places import place
from segnosis.doctor.evidence.sample_moves import compared

PRICE = "data"

_MOST, _FEWEST, _OTHERS = 96, 12, 16


@dataclass(frozen=True)
class RepeatedMasks:
    """Of the samples whose mask shows outlines.

    Attributes:
        samples: How many were compared; where no mask comes twice, how many hold more than one value.
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
    """Edges are looked for only where a mask comes twice. Raises `Unavailable` with fewer than a dozen samples."""
    pairs = list(pairs_of(batches, heads))
    keys = [None if pair.mask is None else turn_free(pair.mask) for pair in pairs]
    drawn = len(keys) - keys.count(None)
    if len(set(keys) - {None}) == drawn:
        return RepeatedMasks(drawn, 0)
    seen: list[tuple[Pair, Field, Outline, bytes]] = []
    for pair, key in zip(pairs, keys, strict=True):
        parts = None if key is None else compared(pair)
        if parts is not None and key is not None:
            seen.append((pair, *parts[:2], key))
        if len(seen) == _MOST:
            break
    if len(seen) < _FEWEST:
        raise Unavailable(f"{len(seen)} samples show edges and outlines, {_FEWEST} are needed")
    groups: dict[bytes, list[int]] = {}
    for number, (*_, key) in enumerate(seen):
        groups.setdefault(key, []).append(number)
    images = [digest(np.asarray(pair.image)) for pair, *_ in seen]
    shared = [numbers for numbers in groups.values() if len({images[number] for number in numbers}) > 1]
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


def _fits(field: Field, outline: Outline, others: list[Field]) -> float:
    turns = [turned(outline, name) for name in DIHEDRAL]
    own, *beside = agreement([field], [outline, *turns])[0]
    chance = np.array([*beside, *(agreement(others, [outline])[:, 0] if others else ())])
    return float((own - chance.mean()) / max(chance.std(), 1e-6))
