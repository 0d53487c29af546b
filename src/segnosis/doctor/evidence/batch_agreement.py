"""`pair_agreement` after the user's pipeline: images and masks as the model gets them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import pair_agreement
from segnosis.doctor.evidence._batch_pairs import leaves, middles_of, pairs_of

PRICE = "data"


def measure(
    batches: Sequence[Batch], heads: Sequence[Any] | None = None, fit_arguments: Mapping[str, Any] | None = None
) -> pair_agreement.PairAgreement:
    """Compare the masks of the batches with their images; of arrays the first rows, where neighbours are together.

    Masks smaller than their images may be scaled down or a middle cut out: what fits better counts. Volumes are cut
    across each of their axes: where two axes of the masks are exchanged, only slices across the third show it.
    """
    if any(np.ndim(leaf) == 5 for leaf in leaves(batches[0].x)):
        cut = [compared(pairs_of(batches, heads, across=axis)) for axis in range(3)]
        return max(cut, key=lambda agreement: agreement.unit)
    return compared(_first_rows(fit_arguments or {}) or pairs_of(batches, heads))


def compared(given: Iterable[Pair]) -> pair_agreement.PairAgreement:
    """The agreement of pairs as a pipeline gives them, masks of a middle that is left after cutting borders too."""
    pairs = list(given)
    found = [_compared(pairs)]
    if (middles := middles_of(pairs)) is not None:
        found.append(_compared(middles))
    return max(found, key=lambda agreement: agreement.own)


def _compared(pairs: Iterable[Pair]) -> pair_agreement.PairAgreement:
    scan = pair_agreement.Scan()
    for pair in pairs:
        scan.add(pair)
    return scan.result()


def _first_rows(arguments: Mapping[str, Any]) -> Iterable[Pair]:
    """Pairs by their rows: lists shifted against each other show among neighbours, and a person can look them up."""
    x, y = arguments.get("x"), arguments.get("y")
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        return ()
    end = min(len(x), len(y), pair_agreement.KEPT)
    rows = pairs_of([Batch(x[:end], y[:end])])
    return [replace(pair, id=f"sample {k}", group=f"sample {k}") for k, pair in enumerate(rows)]
