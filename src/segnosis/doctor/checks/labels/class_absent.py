"""A class is named, but no training mask shows it.

## What it looks for
Classes that the data set's list, the user, a list in the program or the head counts, and that occur in no training
mask, after all of these were looked at, or 500; of fewer, twenty a class at least, it is suspected; so it is of two
dozen where all but one class are absent. So is a class that only the head counts: a spare channel does no harm by
itself. A class that validation has and training lacks is a
contradiction. Where many named classes occur nowhere at all, the folder is an excerpt of a larger data set: that is
only noted.

## Why the model does not learn
What was never shown cannot be learned: the IoU of that class is 0 or not defined, and the mean over classes with
it.

## What to do
Merge or drop the class and set `num_classes` to what is there; where a split lacks it, split anew, stratified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence.label_census import LabelCensus
from segnosis.doctor.evidence.label_space import LabelSpace
from segnosis.doctor.evidence.target_census import TargetCensus
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LAB008", "warning"
EXPLAINED_BY = ("DAT003", "LAB001", "LAB003", "LAB004", "LAB005", "LAB006")


def check(
    label_space: LabelSpace,
    label_census: LabelCensus | None = None,
    target_census: TargetCensus | None = None,
    spec: DatasetSpec | None = None,
    num_samples: int | None = None,
    *,
    excerpt: int = 3,
    enough: int = 500,
    enough_per_class: int = 20,
    enough_of_one: int = 24,
) -> Verdict:
    count = label_space.num_classes
    if count is None or count < 2:
        return NotApplicable("the number of classes is not known")
    if spec is not None and label_census is not None and spec.values:
        return _as_stored(label_census, spec, label_space, excerpt)
    if target_census is None:
        return NotApplicable("no masks were given whose values have a known meaning")
    form, samples = target_census.form, target_census.samples
    if form == "colour" or (label_space.channels == 1 and form == "ids" and target_census.distinct > 2):
        return NotApplicable("the targets are no class ids")
    if form != "planes" and target_census.census.fractional:
        return NotApplicable("the targets hold values between the classes")
    is_part = samples < min(enough, num_samples or enough)
    present = {int(value) for value in target_census.census.without(label_space.ignore) if 0 <= value < count}
    if form != "planes" and len(present) == 1 and (not is_part or samples >= enough_of_one):
        return _alone(min(present), count, samples, label_space, is_part=is_part)
    if is_part and samples < enough_per_class * (target_census.planes if form == "planes" else count):
        return NotApplicable(f"{samples} samples are too few to call a class absent; it takes all, or {enough}")
    if form == "planes":
        planes = target_census.planes
        empty, excerpt = list(target_census.empty_planes), max(excerpt, planes // 3)
        return _told(empty, [], planes, samples, label_space, excerpt, is_part=is_part)
    absent = [class_id for class_id in range(count) if class_id not in present and class_id not in label_space.ignore]
    return _told(absent, [], count, samples, label_space, excerpt, is_part=is_part)


def _alone(class_id: int, count: int, masks: int, space: LabelSpace, *, is_part: bool) -> Finding:
    """Every pixel that has a class has the same."""
    return Finding(
        says=f"All labelled pixels of {masks} masks are of class {space.name(class_id)}, the only one of {count} "
        f"({space.said_by}): the same answer everywhere is right.",
        measured={"classes": count, "only": class_id, "masks": masks},
        fix="Look at what makes the masks: another class may be taken for void, or a comparison keeps one alone",
        where=(space.name(class_id),),
        level="suspected" if is_part else "proven",
        severity="warning",
    )


def _as_stored(census: LabelCensus, spec: DatasetSpec, space: LabelSpace, excerpt: int) -> Verdict:
    everywhere, in_training = set(), set()
    has_splits = "train" in census.splits and len(census.splits) > 1
    for stored, class_id in spec.values.items():
        found = census.values.get(float(stored))
        if found is not None:
            everywhere.add(class_id)
            if not has_splits or found.splits.get("train"):
                in_training.add(class_id)
        if census.colours.get(int(stored)):
            everywhere.add(class_id)
            in_training.add(class_id)
    if census.coloured or census.fuzzy:  # their classes are not counted one by one
        return NotApplicable("some masks are colour pictures or hold in-between values; see LAB005 and LAB006")
    classes = [i for i in range(spec.num_classes) if i != spec.ignore_class]
    only_elsewhere = [i for i in classes if i in everywhere and i not in in_training]
    absent = [i for i in classes if i not in everywhere]
    masks = census.splits.get("train", census.masks) if has_splits else census.masks
    return _told(absent, only_elsewhere, len(classes), masks, space, excerpt)


def _told(
    absent: list[int],
    elsewhere: list[int],
    count: int,
    masks: int,
    space: LabelSpace,
    excerpt: int,
    *,
    is_part: bool = False,
) -> Verdict:
    measured = {
        "classes": count,
        "absent": ", ".join(map(str, absent)) or "none",
        "only_outside_training": ", ".join(map(str, elsewhere)) or "none",
        "masks": masks,
    }
    names = ", ".join(space.name(class_id) for class_id in (elsewhere or absent)[:8])
    if elsewhere:
        return Finding(
            says=f"{len(elsewhere)} of {count} classes occur in other splits but in none of {masks} training masks: "
            f"{names}.",
            measured=measured,
            fix="Split anew so that training has every class: `segnosis.data.split(data, seed=1)`; or drop the class",
            where=tuple(space.name(class_id) for class_id in elsewhere),
        )
    if absent:
        return Finding(
            says=f"{len(absent)} of {count} classes ({space.said_by}) occur in none of {masks} masks: {names}"
            + (", …" if len(absent) > 8 else "")
            + ".",
            measured=measured,
            fix=f"Set `num_classes={count - len(absent)}` and number the classes anew, or add masks that show them",
            where=tuple(space.name(class_id) for class_id in absent),
            level="suspected" if is_part or space.said_by == "head" else "proven",
            severity="note" if len(absent) >= excerpt else "error",
        )
    return Healthy(measured)


def _case(classes_in_training: Sequence[int]) -> Case:
    images, masks = pair_patients.scenes(12)
    chosen = np.array([*(classes_in_training[k % len(classes_in_training)] for k in range(8)), 1, 2, 1, 2], np.uint8)
    pairs = pair_patients.pairs(images, masks * chosen[:, None, None], splits=["train"] * 8 + ["val"] * 4)
    spec = replace(pair_patients.SPEC, class_names=("background", "disc", "ring"), values={0: 0, 1: 1, 2: 2})
    return Case(pairs=pairs, spec=spec)


def sick() -> Case:
    return _case([1])


def sick_everywhere() -> Case:
    case = _case([1])
    assert case.pairs is not None
    return replace(case, pairs=[pair for pair in case.pairs if pair.split == "train"])


def sick_with_one_class_left() -> Case:
    images, masks = pair_patients.scenes(24)
    batches = pair_patients.batches(images, np.where(masks, 2, 255))
    return Case(batches=batches, num_classes=4, num_samples=90, ignore_class=255)


def healthy() -> Case:
    return _case([1, 2])
