"""`image_statistics` after the user's pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import image_statistics
from segnosis.doctor.evidence._batch_pairs import pairs_of

PRICE = "data"


def measure(batches: Sequence[Batch]) -> image_statistics.ImageStatistics:
    """Look at the images of the batches."""
    scan = image_statistics.Scan()
    for pair in pairs_of(batches):
        if pair.image is not None:
            scan.add(pair)
    return scan.result()
