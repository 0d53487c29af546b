"""Training and validation are drawn from different data.

## What it looks for
Brightness, contrast and share of marked pixels of each split, one number per image or, where samples come in
groups, per group; two splits whose numbers differ more than chance and by a large step. Classes that are common in
training and missing in a validation split large enough to hold them.

## Why the model does not learn
It does, but the validation score stays low from the first epoch: it measures another task.

## What to do
Shuffle before splitting, stratify by site or class, and read every split through the same loader.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import ks_2samp

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence.label_census import LabelCensus
from segnosis.doctor.evidence.split_statistics import MEASURES, SplitStatistics
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "DAT006", "warning"
EXPLAINED_BY = ("DAT001", "DAT003", "DAT004", "LAB", "PRE007")


def check(
    split_statistics: SplitStatistics,
    label_census: LabelCensus | None = None,
    spec: DatasetSpec | None = None,
    *,
    fewest: int = 20,
    most_p: float = 1e-4,
    least_step: float = 0.5,
    disjoint: float = 0.98,
    chance_of_absence: float = 1e-3,
) -> Verdict:
    values = {split: rows for split, rows in split_statistics.values.items() if len(rows) >= fewest}
    if len(values) < 2:
        counts = {split: len(rows) for split, rows in split_statistics.values.items()}
        return NotApplicable(
            f"it takes two splits of {fewest} {split_statistics.units}s each; there are {counts or 'none'}"
        )
    names = sorted(values, key=lambda split: (split != "train", split))
    reference = values[names[0]]
    largest, measured = (
        (0.0, 1.0, "", ""),
        {f"{split_statistics.units}s_in_{name}": len(values[name]) for name in names},
    )
    for other in names[1:]:
        for k, quantity in enumerate(MEASURES):
            test = ks_2samp(reference[:, k], values[other][:, k])
            step = float(test.statistic)
            measured[f"{quantity.replace(' ', '_')}_step_to_{other}"] = round(step, 4)  # type: ignore[assignment]
            if test.pvalue < most_p and step > max(least_step, largest[0]):
                largest = (step, float(test.pvalue), quantity, other)
    if largest[0]:
        step, p, quantity, other = largest
        k = MEASURES.index(quantity)
        return Finding(
            says=f"{quantity.capitalize()} differs between {names[0]} (median {np.median(reference[:, k]):.4g}) and "
            f"{other} (median "
            f"{np.median(values[other][:, k]):.4g}): their distributions are {step:.0%} apart (p = {p:.1g}).",
            measured=measured,
            fix="Shuffle before splitting (`segnosis.data.split(data, seed=0)`), and read all splits through one "
            "loader",
            where=(other,),
            level="proven" if step >= disjoint else "suspected",
        )
    missing = _missing(label_census, names, chance_of_absence, spec)
    if missing:
        value, split, share = missing
        return Finding(
            says=f"The value {value:g} is in {share:.0%} of the masks of {names[0]} and in none of {split}.",
            measured=measured,
            fix="Stratify the split by class, or shuffle before splitting",
            where=(split,),
            level="suspected",
        )
    return Healthy(measured)


def _missing(
    census: LabelCensus | None, names: list[str], chance: float, spec: DatasetSpec | None
) -> tuple[float, str, float] | None:
    """A value common in the first split and in no mask of another, against all odds (samples of a group count as "
    "one)."""
    if census is None or (spec is not None and spec.group_by):
        return None
    for value, count in census.values.items():
        share = count.splits.get(names[0], 0) / max(1, census.splits.get(names[0], 0))
        for other in names[1:]:
            if not count.splits.get(other) and (1 - share) ** census.splits.get(other, 0) < chance:
                return value, other, share
    return None


def _cases(shift: float) -> Case:
    images, masks = pair_patients.scenes(44, size=32)
    images[24:] += shift
    return Case(pairs=pair_patients.pairs(images, masks, splits=["train"] * 24 + ["val"] * 20), spec=pair_patients.SPEC)


def sick() -> Case:
    return _cases(shift=90.0)


def healthy() -> Case:
    return _cases(shift=0.0)
