"""Samples that the training pipeline gives once more, and whether augmentation changed them in between."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.digest import digest
from segnosis.doctor.evidence._batch_pairs import pairs_of

PRICE = "data"
_SECONDS = 5.0
MOST_AGAIN = 128
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

    source = (fit_arguments or {}).get("x")
    if isinstance(source, np.ndarray):
        return DrawnAgain((), True)
    first = [Known.of(pair) for pair in pairs_of(batches)]
    pairs = second_draw(source, seed or 0)
    second = [Known.of(pair) for pair in pairs]
    images = {one.image for one in first if one.pictured}
    repeated = sum(one.pictured for one in first) - len(images)
    same = met_before(images, (one.image for one in second if one.pictured))
    if repeated >= _FEWEST or same >= max(_FEWEST, len(pairs) / 2):
        return DrawnAgain(pairs, True)
    indexed = isinstance(source, keras.utils.PyDataset)  # the others may give other samples the second time
    with_masks: dict[bytes | None, set[bytes | None]] = {}
    for one in first:
        with_masks.setdefault(one.mask, set()).add(one.image)
    again = [one for one in second if one.drawn and one.mask in with_masks]
    changed = sum(one.image not in with_masks[one.mask] for one in again)
    whole = len(pairs) >= _FEWEST and (indexed or len(again) >= _FEWEST)
    met = _share_met(first, second) if indexed else None
    return DrawnAgain(pairs, False if whole and (not same or changed >= _FEWEST) else None, met)


@dataclass(frozen=True)
class Known:
    """A sample by its digests.

    Attributes:
        image, mask: Their digests; `None` where there is none.
        pictured: Whether the image holds more than one value.
        drawn: Whether the mask holds anything but zeros.
        varied: Whether the mask holds more than one value.
    """

    image: bytes | None
    mask: bytes | None
    pictured: bool
    drawn: bool
    varied: bool

    @classmethod
    def of(cls, pair: Pair) -> Known:
        """Of one sample."""
        image, mask = pair.image, pair.mask
        return cls(
            None if image is None else digest(image),
            None if mask is None else digest(mask),
            pictured=image is not None and image.min() != image.max(),
            drawn=mask is not None and bool(mask.any()),
            varied=mask is not None and mask.min() != mask.max(),
        )


def second_draw(source: Any, seed: int) -> tuple[Pair, ...]:
    """Samples of a pipeline that can be read again, drawn by other random numbers; all is put back afterwards.

    Of a `PyDataset` each of its first batches comes twice.
    """
    from segnosis.doctor.random_state import random_state_kept

    with random_state_kept(source):
        np.random.seed(seed + 1)
        random.seed(seed + 1)
        return tuple(_drawn(source, seed))


def _drawn(source: Any, seed: int) -> Iterator[Pair]:
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
        again = draw(source, seed=seed + 1, limits=Limits(samples=MOST_AGAIN, megabytes=150, seconds=_SECONDS))
        yield from pairs_of(again.batches)


def met_before(known: set[bytes | None], digests: Iterable[bytes | None]) -> int:
    """How many are in `known` or come a second time."""
    met = 0
    seen = set(known)
    for one in digests:
        met += one in seen
        seen.add(one)
    return met


def _share_met(first: Sequence[Known], second: Sequence[Known]) -> float | None:
    """Share of the second draw's masks, of one value apart, that the first draw or an earlier sample holds exactly."""
    varied = [one.mask for one in second if one.varied]
    met = met_before({one.mask for one in first}, varied)
    return met / len(varied) if len(varied) >= _FEWEST else None


def _host(part: Any) -> Any:
    import keras

    from segnosis.doctor.random_state import to_host

    return keras.tree.map_structure(to_host, part)
