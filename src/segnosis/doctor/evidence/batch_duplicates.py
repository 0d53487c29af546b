"""`duplicates` between the training and the validation batches of the user's pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import duplicates
from segnosis.doctor.evidence._batch_pairs import pairs_of

PRICE = "data"


def measure(batches: Sequence[Batch], validation_batches: Sequence[Batch]) -> duplicates.Duplicates:
    """Compare what was drawn of both."""
    scan = duplicates.Scan()
    for split, drawn in (("train", batches), ("validation", validation_batches)):
        for pair in pairs_of(drawn, split=split):
            scan.add(pair)
    return scan.result()
