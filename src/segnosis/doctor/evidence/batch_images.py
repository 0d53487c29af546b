"""`image_statistics` after the user's pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence.image_statistics import ImageStatistics, Scan

PRICE = "data"


def measure(batches: Sequence[Batch]) -> ImageStatistics:
    """Look at the images of the batches."""
    scan = Scan()
    for pair in pairs_of(batches):
        if pair.image is not None:
            scan.add(pair)
    return scan.result()
