"""`pair_agreement` after the user's pipeline: images and masks as the model gets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import pair_agreement
from segnosis.doctor.evidence._batch_pairs import pairs_of

PRICE = "data"


def measure(batches: Sequence[Batch], heads: Sequence[Any] | None = None) -> pair_agreement.PairAgreement:
    """Compare the masks of the batches with their images."""
    scan = pair_agreement.Scan()
    for pair in pairs_of(batches, heads):
        scan.add(pair)
    return scan.result()
