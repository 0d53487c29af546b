"""Whether masks lie on their images in one way however often a sample is drawn.

An augmentation that moves image and mask differently does so anew each time. A mask that was stored in another turn
than its image lies so in every draw, mirrored together or not. A sample is known again by its mask, in any turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.digest import digest, turn_free
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence.drawn_again import DrawnAgain
from segnosis.doctor.evidence.sample_moves import IN_PLACE, SampleMoves, turn_of

PRICE = "data"

_FEWEST = 8


@dataclass(frozen=True)
class SteadyMoves:
    """Samples drawn twice whose image changed in between.

    Attributes:
        met: How many show edges and outlines.
        kept: Of these, whose mask lay on its image in the same turn both times, but for mirroring both.
    """

    met: int
    kept: int


def measure(
    batches: Sequence[Batch], drawn_again: DrawnAgain, sample_moves: SampleMoves, heads: Sequence[Any] | None = None
) -> SteadyMoves:
    """Raises `Unavailable` where masks fit as they are, or fewer than 8 samples are known again."""
    if sample_moves.widest.in_place >= IN_PLACE:
        raise Unavailable("the masks fit their images as they are")
    if drawn_again.unchanged:
        raise Unavailable("samples come as they are stored, however often they are drawn")
    first = list(_keyed(pairs_of(batches, heads)))
    times = Counter(key for key, _ in first)
    before = {key: pair for key, pair in first if times[key] == 1}
    met = kept = 0
    for key, again in _keyed(drawn_again.pairs):
        once = before.get(key)
        if once is None or once.image is None or again.image is None or digest(once.image) == digest(again.image):
            continue
        turns = turn_of(once), turn_of(again)
        if None not in turns:
            met, kept = met + 1, kept + (turns[0] == turns[1])
    if met < _FEWEST:
        raise Unavailable(f"{met} samples were known again, {_FEWEST} are needed")
    return SteadyMoves(met, kept)


def _keyed(pairs: Iterable[Pair]) -> Iterator[tuple[bytes, Pair]]:
    for pair in pairs:
        key = None if pair.mask is None else turn_free(pair.mask)
        if key is not None:
            yield key, pair
