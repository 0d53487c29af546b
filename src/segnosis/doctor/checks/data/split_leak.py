"""Validation holds what was trained on.

## What it looks for
Images with identical pixels in two splits. Files, ids or rows that the objects given for training and for validation
both hold, and parts taken from what is shuffled anew in each pass, whatever augmentation does afterwards. Around a loop
of one's own, the same of variables whose names say training and held out: suspected. Groups (patients, slides, videos)
with samples in more than one split; where only the names of files tell of them: suspected. Pictures that look alike and
have the same mask, on either side; blank images are alike without meaning anything. And validation images most of which
share their fine structure with an image trained on, as neighbouring slices and frames do and two patients do not:
suspected, unless most images are alike.

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

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.sample import Pair
from segnosis.doctor import pair_patients
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.batch_relatives import Relatives
from segnosis.doctor.evidence.duplicates import Duplicates
from segnosis.doctor.evidence.shared_sources import SharedSources
from segnosis.doctor.verdict import Finding, Healthy, Level, NotApplicable, Verdict

CODE, SEVERITY = "DAT005", "error"


def check(
    duplicates: Duplicates | None = None,
    batch_duplicates: Duplicates | None = None,
    groups: tuple[Sequence[Any], Sequence[Any]] | None = None,
    spec: DatasetSpec | None = None,
    shared_sources: SharedSources | None = None,
    batch_relatives: Relatives | None = None,
    *,
    most_exact: int = 0,
    most_near: int = 0,
    most_related: float = 0.5,
    max_common: float = 0.05,
    max_by_chance: float = 0.2,
) -> Verdict:
    found = [item for item in (duplicates, batch_duplicates) if item is not None and len(item.splits) > 1]
    crossing = sorted({str(name) for name in groups[0]} & {str(name) for name in groups[1]}) if groups else []
    shared_source = shared_sources if shared_sources is not None and shared_sources.how else None
    if not found and not groups and shared_source is None:
        return NotApplicable("no splits are known")
    exact = [shared for item in found for shared in item.exact]
    near = [shared for item in found for shared in item.near]
    stored = duplicates.groups if duplicates is not None and len(duplicates.splits) > 1 else ()
    relatives = batch_relatives
    identical, alike = sum(item.exact_count for item in found), sum(item.near_count for item in found)
    measured: dict[str, float | str | None] = {
        "identical": identical,
        "alike": alike,
        "groups_in_two_splits": len(crossing) + (duplicates.group_count if stored and duplicates else 0),
        "compared": sum(sum(item.splits.values()) for item in found),
        "held_by_both": shared_source.shared if shared_source else 0,
        "related": relatives.related if relatives else None,
        "nearest_correlation": relatives.typical if relatives else None,
        "deviation_of_correlations": relatives.by_chance if relatives else None,
    }
    if shared_source is not None and not identical:
        return _same_source(shared_source, measured)
    unit = (spec.group_by if spec else None) or "group"
    if crossing:
        return Finding(
            says=f"{len(crossing)} groups are in training and validation, {crossing[0]} among them.",
            measured=measured,
            fix="Split by group: `GroupShuffleSplit(n_splits=1, test_size=0.2).split(x, y, groups)`",
            where=tuple(crossing[:20]),
        )
    if identical > most_exact:
        first = exact[0]
        return Finding(
            says=f"{identical} images are in two splits with identical pixels: {first.first} "
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
    if alike > most_near:
        first = near[0]
        return Finding(
            says=f"{alike} images look alike across splits and have the same mask: {first.first} "
            f"({first.splits[0]}) and "
            f"{first.second} ({first.splits[1]}).",
            measured=measured,
            fix="If they come from one scene, patient or video, keep them in one split: give `groups=`",
            where=tuple(place for shared in near[:10] for place in (shared.first, shared.second)),
            level="suspected",
        )
    is_telling = relatives is not None and relatives.common <= max_common and relatives.by_chance <= max_by_chance
    if relatives is not None and is_telling and relatives.related > most_related * relatives.held_out:
        return Finding(
            says=f"{relatives.related} of {relatives.held_out} validation images are nearly images that are trained "
            f"on: their fine structure correlates to {relatives.typical:.2f}, where two images at random have 0 ± "
            f"{relatives.by_chance:.2f}. So look slices of one patient, frames of one film, tiles of one scene.",
            measured=measured,
            fix="Split by patient, film or scene: `GroupShuffleSplit(n_splits=1, test_size=0.2).split(x, y, groups)`",
            where=relatives.example,
            level="suspected",
        )
    return Healthy(measured)


def _same_source(seen: SharedSources, measured: dict[str, float | str | None]) -> Finding:
    """The same files, rows or object behind both, whatever the pixels look like after augmentation."""
    says = {
        "list": f"{seen.shared} of {seen.held_out} entries of `{seen.name}` of the validation data are in that of the "
        f"training data too, `{seen.example}` for one.",
        "array": f"`{seen.name}` of the validation data shares {seen.shared} of its {seen.held_out} rows with that of "
        "the training data.",
        "pictures": f"{seen.shared} of the {seen.held_out} pictures in `{seen.name}` of the validation data are in "
        "that of the training data too, pixel for pixel before augmentation.",
        "groups": f"`{seen.name}` tells of {seen.held_out} groups in the validation data; "
        f"{seen.shared} of them, `{seen.example}` for one, are in the training data too.",
        "object": "The same object is given as training and as validation data.",
        "shuffle": "Training and validation are each taken from a data set that is shuffled anew in each pass: what "
        "one leaves out changes every time, and each sees nearly all samples.",
    }
    fixes = {
        "list": f"Keep them apart: `train_{seen.name} = [one for one in all_{seen.name} if one not in "
        f"set(val_{seen.name})]`",
        "array": f"Cut `{seen.name}` at one place: `[:-n]` for training, `[-n:]` for validation.",
        "pictures": "Split the list of files once, before either side reads: `train, val = files[:-n], files[-n:]`.",
        "groups": "Split by group: `GroupShuffleSplit(n_splits=1, test_size=0.2).split(files, groups=groups)`.",
        "object": "`validation_data=` other samples than those of training.",
        "shuffle": "`shuffle(…, reshuffle_each_iteration=False)` before `take` and `skip`, and a second `shuffle` on "
        "the training part.",
    }
    level: Level = "suspected" if seen.by_name else "proven"
    return Finding(says=says[str(seen.how)], measured=measured, fix=fixes[str(seen.how)], level=level)


def _split(repeat: bool) -> list[Pair]:
    images, masks = pair_patients.scenes(12)
    if repeat:
        images[9], masks[9] = images[2], masks[2]
    return pair_patients.pairs(images, masks, splits=["train"] * 8 + ["val"] * 4)


def sick() -> Case:
    return Case(pairs=_split(repeat=True), spec=pair_patients.SPEC)


def healthy() -> Case:
    return Case(pairs=_split(repeat=False), spec=pair_patients.SPEC)


def sick_of_neighbouring_slices() -> Case:
    return _slices(volumes_apart=False)


def healthy_volumes_apart() -> Case:
    return _slices(volumes_apart=True)


def _slices(volumes_apart: bool) -> Case:
    """Volumes that change little from slice to slice, each in one split or every fourth slice held out."""
    random = np.random.default_rng(3)
    first, last = random.normal(size=(2, 6, 1, 48, 48, 1))
    along = np.linspace(0, 0.4, 12)[None, :, None, None, None]
    volumes = (first + along * last).astype("float32")
    held = np.zeros((6, 12), bool)
    if volumes_apart:
        held[4:] = True
    else:
        held[:, 2::4] = True
    return Case(
        batches=[Batch(volumes[~held], (volumes[~held] > 1.5).astype("uint8"))],
        validation_batches=[Batch(volumes[held], (volumes[held] > 1.5).astype("uint8"))],
    )
