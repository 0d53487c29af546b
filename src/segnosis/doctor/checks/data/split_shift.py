"""Training and validation are drawn from different data.

## What it looks for
Brightness, contrast, tint, share of marked pixels and area of each class in each split, one number per image or, where
samples come in groups, per group; two splits whose numbers differ more than chance and by a large step. Classes that
are common in training and missing in a validation split large enough to hold them. Between the batches of a program
brightness, tint and contrast must be nearly disjoint, for augmentation may change training images, and runs of like
samples, such as the slices of one patient, count as few; marked pixels and classes are compared only where no
augmentation is at work.

## Why the model does not learn
It does, but the validation score stays low from the first epoch: it measures another task.

## What to do
Shuffle before splitting, stratify by site or class, and read every split through the same loader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence._two_samples import chance, distance
from segnosis.doctor.evidence.batch_split_statistics import BatchSplitStatistics
from segnosis.doctor.evidence.label_census import LabelCensus
from segnosis.doctor.evidence.split_statistics import MEASURES, SplitStatistics
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "DAT006", "warning"
EXPLAINED_BY = ("DAT001", "DAT003", "DAT004", "LAB", "PRE006", "PRE007")


def check(
    split_statistics: SplitStatistics | None = None,
    batch_split_statistics: BatchSplitStatistics | None = None,
    label_census: LabelCensus | None = None,
    spec: DatasetSpec | None = None,
    *,
    fewest: int = 12,
    most_p: float = 1e-4,
    least_step: float = 0.5,
    least_step_of_batches: float = 0.85,
    disjoint: float = 0.98,
    chance_of_absence: float = 1e-3,
    chance_of_blank: float = 1e-6,
) -> Verdict:
    stored = split_statistics if split_statistics is not None and len(split_statistics.values) > 1 else None
    if stored is None and batch_split_statistics is None:
        return NotApplicable("neither splits of stored data nor validation batches were given")
    unit = f"{stored.units}s" if stored else "samples"
    seen: SplitStatistics | BatchSplitStatistics = stored or batch_split_statistics  # type: ignore[assignment]
    everything = seen.values
    values = {split: rows for split, rows in everything.items() if len(rows) >= fewest}
    if len(values) < 2:
        counts = {split: len(rows) for split, rows in everything.items()}
        return NotApplicable(f"it takes two splits of {fewest} {unit} each; there are {counts}")
    names = sorted(values, key=lambda split: (split != "train", split))
    measured: dict[str, float | int] = {f"{unit}_in_{name}": len(values[name]) for name in names}
    if isinstance(seen, BatchSplitStatistics):
        steps, least, as_stored = _steps_of_batches(seen), least_step_of_batches, seen.unchanged
    else:
        steps, least, as_stored = _steps(values, names, seen.quantities), least_step, True
    measured |= {f"{step.quantity.replace(' ', '_')}_step_to_{step.other}": round(step.size, 4) for step in steps}
    missing = (
        _missing(label_census, names, chance_of_absence, spec)
        if stored
        else _missing_in_batches(batch_split_statistics, chance_of_absence, chance_of_blank)
    )
    apart = [step for step in steps if step.p < most_p and step.size > least]
    if missing:  # a class that is not there at all is told as that
        apart = [step for step in apart if step.quantity in MEASURES]
    if apart:
        step = max(apart, key=lambda step: step.size)
        k = seen.quantities.index(step.quantity)
        first, second = (float(np.median(values[name][:, k])) for name in (names[0], step.other))
        certain = step.size >= disjoint and as_stored
        return Finding(
            says=f"{step.quantity.capitalize()} differs between {names[0]} (median {first:.4g}) and {step.other} "
            f"(median {second:.4g}): their distributions are {step.size:.0%} apart (p = {step.p:.1g}).",
            measured=measured,
            fix="Shuffle before splitting (`segnosis.data.split(data, seed=0)`), and read all splits through one "
            "loader",
            where=(step.other,),
            level="proven" if certain else "suspected",
        )
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


_LEAST = {"brightness": 0.5, "tint": 0.25}
"""Difference of medians that would matter to a network, in standard deviations of an image's pixels."""


class _Step(NamedTuple):
    """How far one number's distribution lies from that of the training split, and how likely by chance."""

    quantity: str
    other: str
    size: float
    p: float


def _steps(values: Mapping[str, np.ndarray], names: Sequence[str], quantities: Sequence[str]) -> list[_Step]:
    found = []
    for other in names[1:]:
        for k, quantity in enumerate(quantities):
            train, held_out = values[names[0]][:, k], values[other][:, k]
            size = distance(train, held_out)
            found.append(_Step(quantity, other, size, chance(size, len(train), len(held_out))))
    return found


def _steps_of_batches(seen: BatchSplitStatistics) -> list[_Step]:
    """Of what augmentation leaves comparable, and of differences that would matter: where every image is alike, a trace
    of noise keeps the distributions apart too."""
    found = []
    train, held_out = seen.values["train"], seen.values["validation"]
    contrast = np.median(train[:, 1])
    for k, quantity in enumerate(seen.quantities):
        first, second = float(np.median(train[:, k])), float(np.median(held_out[:, k]))
        if quantity in _LEAST:
            matters = (seen.unchanged or seen.same_size) and abs(first - second) > _LEAST[quantity] * contrast
        else:
            matters = seen.unchanged and max(first, second) > 1.5 * min(first, second)
        if matters:
            size = distance(train[:, k], held_out[:, k])
            p = chance(size, seen.independent["train"][k], seen.independent["validation"][k])
            found.append(_Step(quantity, "validation", size, p))
    return found


def _missing_in_batches(
    seen: BatchSplitStatistics | None, chance: float, of_blank: float
) -> tuple[float, str, float] | None:
    """Augmentation may hide a small class here and there; that no held-out mask has any foreground is not its doing."""
    if seen is None:
        return None
    if not seen.unchanged:
        if not seen.same_size or any(value for value in seen.classes["validation"]):
            return None
        chance = of_blank
    train, held_out = (len(seen.values[name]) for name in ("train", "validation"))
    fewer = min(held_out, float(seen.independent["validation"].min()))
    for value, count in seen.classes["train"].items():
        share = count / train
        if value and not seen.classes["validation"].get(value) and (1 - share) ** fewer < chance:
            return value, "validation", share
    return None


def _missing(
    census: LabelCensus | None, names: list[str], chance: float, spec: DatasetSpec | None
) -> tuple[float, str, float] | None:
    """A value common in the first split and in no mask of another, against all odds."""
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


def sick_batches() -> Case:
    images, masks = pair_patients.scenes(44, size=32)
    images[20:] = 200 + images[20:] / 5
    return Case(
        batches=pair_patients.batches(images[20:], masks[20:]),
        validation_batches=pair_patients.batches(images[:20], masks[:20]),
        fit_arguments={"x": images[20:, ..., None]},
    )


def sick_of_one_class() -> Case:
    """As many marked pixels on both sides, but hardly any of class 2 in training: the easy ones came first."""
    return _sorted_by_class(apart=True)


def healthy() -> Case:
    return _cases(shift=0.0)


def healthy_classes() -> Case:
    return _sorted_by_class(apart=False)


def _sorted_by_class(apart: bool) -> Case:
    images, masks = pair_patients.scenes(44, size=32)
    order = np.arange(44) if apart else np.random.default_rng(0).permutation(44)
    for row, k in enumerate(order):  # the lower columns of each mask are of class 2
        masks[row] += masks[row] * (np.arange(32) < 20 * (k >= 24) + 4)
    return Case(pairs=pair_patients.pairs(images, masks, splits=["train"] * 24 + ["val"] * 20), spec=pair_patients.SPEC)
