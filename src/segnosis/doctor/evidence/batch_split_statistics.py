"""`split_statistics` between the training and the validation batches, with how many independent samples they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.digest import digest
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence._mask_planes import ids_of
from segnosis.doctor.evidence.drawn_again import DrawnAgain
from segnosis.doctor.evidence.label_space import LabelSpace
from segnosis.doctor.evidence.split_statistics import MEASURES, Numbers, numbers, tabulated

PRICE = "data"
_GIVEN = {"train": "x", "validation": "validation_data"}


@dataclass(frozen=True)
class BatchSplitStatistics:
    """Numbers per sample, samples met again left out.

    Attributes:
        values, quantities: As of `SplitStatistics`, of samples.
        independent: Split → `(quantities,)`: so many independent samples they are worth. Neighbouring slices or frames
            are alike: a run of numbers that stay close to the one before counts as fewer, unless it is all there is.
        unchanged: Whether training samples are known to be passed on as they are stored.
        same_size: Whether images of both are of one size.
        classes: Split → value → masks that hold it, ignored ones left out; of masks with one plane or one-hot.
    """

    values: Mapping[str, np.ndarray]
    independent: Mapping[str, np.ndarray]
    unchanged: bool
    same_size: bool
    classes: Mapping[str, Counter[float]]
    quantities: tuple[str, ...] = MEASURES


def measure(
    batches: Sequence[Batch],
    validation_batches: Sequence[Batch],
    label_space: LabelSpace | None = None,
    drawn_again: DrawnAgain | None = None,
    fit_arguments: Mapping[str, Any] | None = None,
) -> BatchSplitStatistics:
    """Measure what was drawn of both."""
    ignore = label_space.ignore if label_space is not None else frozenset()
    whole = _whole(fit_arguments or {})
    rows: dict[str, list[Numbers]] = {}
    classes, sizes = {}, {}
    for split, drawn in (("train", batches), ("validation", validation_batches)):
        counts: Counter[float] = Counter()
        rows[split] = []
        for pair in _once(pairs_of(drawn, split=split)):
            assert pair.image is not None and pair.mask is not None
            plane = ids_of(pair.mask)
            kept = ~np.isin(plane, list(ignore))
            row = numbers(pair.image, np.where(kept, plane, 0))
            if row is not None:
                rows[split].append(row)
                counts.update(np.unique(plane[kept]).tolist() if len(counts) < 512 else ())
            sizes[split] = pair.image.shape[:2]
        if not rows[split]:
            raise Unavailable(f"the {split} batches hold no images with masks")
        classes[split] = counts
    values, quantities = tabulated(rows)
    independent = {
        split: np.full(len(quantities), len(one)) if len(one) == whole.get(split) else _independent_in_each(one)
        for split, one in values.items()
    }
    return BatchSplitStatistics(
        values,
        independent,
        unchanged=bool(drawn_again and drawn_again.unchanged),
        same_size=sizes["train"] == sizes["validation"],
        classes=classes,
        quantities=quantities,
    )


def _whole(given: Mapping[str, Any]) -> dict[str, int | None]:
    """Split → samples of the arrays that `fit` was given."""
    whole = {split: _length(given.get(key)) for split, key in _GIVEN.items()}
    if (share := given.get("validation_split")) and whole["train"] and whole["validation"] is None:
        first = int(whole["train"] * (1 - share))
        whole = {"train": first, "validation": whole["train"] - first}
    return whole


def _length(data: Any) -> int | None:
    """Samples of arrays as `fit` takes them."""
    first = data[0] if isinstance(data, tuple) and data else data
    return len(first) if isinstance(first, np.ndarray) else None


def _once(pairs: Iterator[Pair]) -> Iterator[Pair]:
    seen: set[bytes] = set()
    for pair in pairs:
        if pair.image is None or pair.mask is None or pair.image.size == 0 or (key := digest(pair.image)) in seen:
            continue
        seen.add(key)
        yield pair


def _independent_in_each(values: np.ndarray) -> np.ndarray:
    """Effective number of samples per quantity; samples sorted by a class still differ in all the others."""
    found = np.array([_independent(column) for column in values.T])
    measures, areas = np.split(found, [len(MEASURES)])
    return np.append(measures, np.maximum(areas, measures.min()))


def _independent(column: np.ndarray) -> float:
    """Effective number of independent values of a series, from the correlation of neighbours."""
    away = column - column.mean()
    power = float((away**2).sum())
    if len(column) < 3 or power == 0:
        return 1.0
    near = min(max(float((away[1:] * away[:-1]).sum()) / power, 0.0), 0.99)
    return len(column) * (1 - near) / (1 + near)
