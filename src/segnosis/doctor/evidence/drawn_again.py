"""Samples that the training pipeline gives once more, and whether augmentation changed them in between."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence._batch_pairs import pairs_of

PRICE = "data"
_SECONDS = 5.0
_FEWEST = 8
_ALL_MET, _NONE_MET = 0.9, 0.1


@dataclass(frozen=True)
class DrawnAgain:
    """A second draw.

    Attributes:
        pairs: Its samples; none of a generator, which cannot be wound back, and of arrays, which need no second look.
        unchanged: Whether samples are passed on as they are stored: `None` where no sample was met twice.
        masks_met: Share of its samples whose mask came exactly so before, blank ones apart; `None` of fewer than 8, and
            of pipelines whose second draw need not hold the same samples. Colours alone leave it at 1, a mirror image
            of both leaves a half, and what crops, turns or scales each sample leaves nothing.
    """

    pairs: tuple[Pair, ...]
    unchanged: bool | None
    masks_met: float | None = None

    @property
    def in_place(self) -> bool | None:
        """Whether masks come where they are stored: `None` if nobody knows, or if some do."""
        if self.unchanged or (self.masks_met is not None and self.masks_met >= _ALL_MET):
            return True
        return False if self.masks_met is not None and self.masks_met <= _NONE_MET else None


def measure(
    batches: Sequence[Batch], fit_arguments: Mapping[str, Any] | None = None, seed: int | None = None
) -> DrawnAgain:
    """Draw again where that is possible; the pipeline's counters and all random states are put back."""
    import keras  # here and below: checking files needs no Keras

    from segnosis.doctor.random_state import random_state_kept

    source = (fit_arguments or {}).get("x")
    if isinstance(source, np.ndarray):
        return DrawnAgain((), True)
    known: set[bytes] = set()
    repeated = _repeats(pairs_of(batches), known)
    with random_state_kept(source):
        np.random.seed((seed or 0) + 1)
        random.seed((seed or 0) + 1)
        pairs = tuple(_second(source, seed or 0))
    same = _repeats(pairs, known)
    if repeated >= _FEWEST or same >= max(_FEWEST, len(pairs) / 2):
        return DrawnAgain(pairs, True)
    met = _share_met(batches, pairs) if isinstance(source, keras.utils.PyDataset) else None
    whole = len(pairs) >= _FEWEST and (isinstance(source, keras.utils.PyDataset) or _met(batches, pairs) >= _FEWEST)
    return DrawnAgain(pairs, False if whole and (not same or _changed(batches, pairs) >= _FEWEST) else None, met)


def _second(source: Any, seed: int) -> Iterator[Pair]:
    import keras

    from segnosis.doctor.batches import Limits, draw

    if isinstance(source, keras.utils.PyDataset):
        start = time.perf_counter()
        for index in range(min(len(source), 8)):
            for _ in range(2):  # one after the other, so that generators it holds move on in between
                x, y, _weight = keras.utils.unpack_x_y_sample_weight(source[index])
                yield from pairs_of([Batch(_host(x), _host(y))])
            if time.perf_counter() - start > _SECONDS:
                return
        return
    rereadable = source is not None and not hasattr(source, "gi_frame") and not isinstance(source, zip)
    if rereadable and not isinstance(source, list | tuple | dict) and not hasattr(source, "__next__"):
        again = draw(source, seed=seed + 1, limits=Limits(samples=128, megabytes=150, seconds=_SECONDS))
        yield from pairs_of(again.batches)


def _repeats(pairs: Iterable[Pair], known: set[bytes]) -> int:
    """Images that are in `known` or come twice, blank ones apart; `known` then holds them all."""
    count = 0
    for pair in pairs:
        if pair.image is None or pair.image.min() == pair.image.max():
            continue
        name = name_of(pair.image)
        count += name in known
        known.add(name)
    return count


def _met(batches: Sequence[Batch], pairs: Sequence[Pair]) -> int:
    """Samples of the second draw with exactly a mask of the first."""
    masks = {name_of(pair.mask) for pair in pairs_of(batches) if pair.mask is not None and pair.mask.any()}
    return sum(pair.mask is not None and name_of(pair.mask) in masks for pair in pairs)


def _share_met(batches: Sequence[Batch], pairs: Sequence[Pair]) -> float | None:
    """Share of the second draw's masks, blank ones apart, that the first draw or an earlier sample holds exactly."""
    known = {name_of(pair.mask) for pair in pairs_of(batches) if pair.mask is not None}
    met = []
    for pair in pairs:
        if pair.mask is not None and pair.mask.min() != pair.mask.max():
            met.append(name_of(pair.mask) in known)
            known.add(name_of(pair.mask))
    return sum(met) / len(met) if len(met) >= _FEWEST else None


def _changed(batches: Sequence[Batch], pairs: Sequence[Pair]) -> int:
    """Samples of the second draw that have exactly a mask of the first, and another image with it."""
    seen: dict[bytes, set[bytes]] = {}
    for pair in pairs_of(batches):
        if pair.mask is not None and pair.image is not None and pair.mask.any():
            seen.setdefault(name_of(pair.mask), set()).add(name_of(pair.image))
    return sum(
        name_of(pair.image) not in seen[name_of(pair.mask)]
        for pair in pairs
        if pair.mask is not None and pair.image is not None and name_of(pair.mask) in seen
    )


def _host(part: Any) -> Any:
    import keras

    from segnosis.doctor.random_state import to_host

    return keras.tree.map_structure(to_host, part)


def name_of(array: np.ndarray) -> bytes:
    """A hash of the values, by which an array is known again."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=12).digest()
