"""`pair_agreement` of the validation samples, which hardly any pipeline augments and the same code reads.

A random crop or turn of image and mask together hides which fault lies before it: the pairs of one set then agree as
little as any. Only where the training batches leave it open are the validation batches looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence.batch_agreement import compared
from segnosis.doctor.evidence.pair_agreement import PairAgreement

PRICE = "data"

_MOST = 48
_RIGHT = 0.8
_MOVED = 0.6


def measure(
    validation_batches: Sequence[Batch], batch_agreement: PairAgreement, heads: Sequence[Any] | None = None
) -> PairAgreement:
    """Compare at most 48 validation pairs; raises `Unavailable` where the training batches settle the question."""
    if batch_agreement.capable:
        if batch_agreement.as_given >= _RIGHT:
            raise Unavailable("the training masks fit their images")
        if batch_agreement.commonest_move[1] >= _MOVED:
            raise Unavailable("the training masks tell how they were moved")
    return compared(islice(pairs_of(validation_batches, heads, split="validation"), _MOST))
