"""Whether a second look at the validation samples shows the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence.drawn_again import MOST_AGAIN, Known, met_before, second_draw

PRICE = "data"

_FEWEST = 8


@dataclass(frozen=True)
class Redrawn:
    """A second draw of the whole validation set, or of its first batches by their numbers.

    Attributes:
        samples: Images that hold more than one value.
        met: Those that came so before, value for value.
    """

    samples: int
    met: int


def measure(validation_batches: Sequence[Batch], fit_arguments: Mapping[str, Any], seed: int | None = None) -> Redrawn:
    """Draw again; raises `Unavailable` for arrays, generators, and sets of which each draw may hold another part."""
    import keras  # checking files needs no Keras

    source = fit_arguments.get("validation_data")
    if source is None or isinstance(source, list | tuple | dict):
        raise Unavailable("validation comes from arrays, or from nothing that can be drawn again")
    first = list(pairs_of(validation_batches))
    second = second_draw(source, seed or 0)
    known, again = ([one.image for one in map(Known.of, pairs) if one.pictured] for pairs in (first, second))
    is_whole = isinstance(source, keras.utils.PyDataset) or len(first) == len(second) < MOST_AGAIN
    if not is_whole or len(again) < _FEWEST:
        raise Unavailable("a second draw may hold other samples than the first, or too few")
    return Redrawn(len(again), met_before(set(known), again))
