"""Validation holds what was trained on.

## What it looks for
Images with identical pixels in two splits; groups (patients, slides, videos) with samples in more than one;
pictures that look alike and have the same mask, on either side. Blank images are alike without meaning anything.

## Why the model does not learn
It may learn by heart, and nobody sees it: the validation score follows the training score, and the first new
patient ends it.

## What to do
Split by group, not by sample: `segnosis.data.split(data)` never cuts one, or
`sklearn.model_selection.GroupShuffleSplit`. Remove identical files from one side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.sample import Pair
from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence.duplicates import Duplicates
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "DAT005", "error"


def check(
    duplicates: Duplicates | None = None,
    batch_duplicates: Duplicates | None = None,
    groups: tuple[Sequence[Any], Sequence[Any]] | None = None,
    spec: DatasetSpec | None = None,
    *,
    most_exact: int = 0,
    most_near: int = 0,
) -> Verdict:
    found = [item for item in (duplicates, batch_duplicates) if item is not None and len(item.splits) > 1]
    crossing = sorted({str(name) for name in groups[0]} & {str(name) for name in groups[1]}) if groups else []
    if not found and not groups:
        return NotApplicable("no splits are known")
    exact = [shared for item in found for shared in item.exact]
    near = [shared for item in found for shared in item.near]
    stored = duplicates.groups if duplicates is not None and len(duplicates.splits) > 1 else ()
    measured = {
        "identical": sum(item.exact_count for item in found),
        "alike": sum(item.near_count for item in found),
        "groups_in_two_splits": len(crossing) + (duplicates.group_count if stored and duplicates else 0),
        "compared": sum(sum(item.splits.values()) for item in found),
    }
    unit = (spec.group_by if spec else None) or "group"
    if crossing:
        return Finding(
            says=f"{len(crossing)} groups are in training and validation, {crossing[0]} among them.",
            measured=measured,
            fix="Split by group: `GroupShuffleSplit(n_splits=1, test_size=0.2).split(x, y, groups)`",
            where=tuple(crossing[:20]),
        )
    if measured["identical"] > most_exact:
        first = exact[0]
        return Finding(
            says=f"{measured['identical']} images are in two splits with identical pixels: {first.first} "
            f"({first.splits[0]}) "
            f"and {first.second} ({first.splits[1]}).",
            measured=measured,
            fix=f"Remove one of each two, `{first.second}` for one, or split the data again without repeats",
            where=tuple(place for shared in exact[:10] for place in (shared.first, shared.second)),
        )
    if stored and duplicates is not None:
        name, one, other = stored[0]
        return Finding(
            says=f"{duplicates.group_count} of {duplicates.num_groups} {unit}s have samples in more than one split: "
            f"{name}, "
            f"with {one} and {other}.",
            measured=measured,
            fix=f"Keep each {unit} in one split: `train, val, test = segnosis.data.split(data)`",
            where=tuple(place for row in stored[:7] for place in row),
            level="proven" if spec is not None and spec.group_by else "suspected",
        )
    if measured["alike"] > most_near:
        first = near[0]
        return Finding(
            says=f"{measured['alike']} images look alike across splits and have the same mask: {first.first} "
            f"({first.splits[0]}) and "
            f"{first.second} ({first.splits[1]}).",
            measured=measured,
            fix="If they come from one scene, patient or video, keep them in one split: give `groups=`",
            where=tuple(place for shared in near[:10] for place in (shared.first, shared.second)),
            level="suspected",
        )
    return Healthy(measured)


def _split(repeat: bool) -> list[Pair]:
    images, masks = pair_patients.scenes(12)
    if repeat:
        images[9], masks[9] = images[2], masks[2]
    return pair_patients.pairs(images, masks, splits=["train"] * 8 + ["val"] * 4)


def sick() -> Case:
    return Case(pairs=_split(repeat=True), spec=pair_patients.SPEC)


def healthy() -> Case:
    return Case(pairs=_split(repeat=False), spec=pair_patients.SPEC)
