"""`pair_agreement` after the user's pipeline: images and masks as the model gets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence.pair_agreement import PairAgreement, Scan

PRICE = "data"


def measure(batches: Sequence[Batch], heads: Sequence[Any] | None = None) -> PairAgreement:
    """Compare the masks of the batches with their images."""
    scan = Scan()
    for pair in pairs_of(batches, heads):
        scan.add(pair)
    return scan.result()
