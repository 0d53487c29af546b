"""A target for one sigmoid, or a one-hot target, leaves the range 0 to 1.

## What it looks for
Targets of a one-channel head, or planes of a one-hot target, below 0 or above 1: masks of 0 and 255, masks that
went through the image's normalisation or brightness augmentation, masks that number their objects. Soft labels
between 0 and 1 are legal; so are −1 and 1 for a hinge loss or a tanh head.

## Why the model does not learn
Binary cross-entropy of a target of 255 has no lower bound: the loss turns negative, Dice and IoU rise above 1, the
gradient pushes every pixel one way.

## What to do
`mask = (mask > 127).astype("float32")`, `mask > 0` where objects are numbered, and keep masks out of image
normalisation.
"""

from __future__ import annotations

import numpy as np

from segnosis.doctor import pair_patients
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.label_census import LabelCensus, void_alone
from segnosis.doctor.evidence.label_space import LabelSpace
from segnosis.doctor.evidence.numbered_objects import NumberedObjects
from segnosis.doctor.evidence.target_census import TargetCensus
from segnosis.doctor.shown import mask_values
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LAB003", "error"
EXPLAINED_BY = ("LAB002", "HED003")


def check(
    label_space: LabelSpace,
    label_census: LabelCensus | None = None,
    target_census: TargetCensus | None = None,
    numbered_objects: NumberedObjects | None = None,
    *,
    tolerance: float = 1e-3,
) -> Verdict:
    if target_census is None:
        return _as_stored(label_census)
    binary = target_census.form == "ids" and label_space.channels == 1
    planes = target_census.form in ("one-hot", "planes")
    if not binary and not planes:
        return NotApplicable("the targets are class ids for several channels")
    low, high = target_census.minimum, target_census.maximum
    measured = {"minimum": round(low, 6), "maximum": round(high, 6), "distinct": target_census.distinct}
    ignored = label_space.ignore if binary else frozenset()
    if ignored:
        values = list(target_census.census.without(ignored))
        low, high = (min(values), max(values)) if values else (0.0, 0.0)
    legal_low = -1.0 if label_space.signed else 0.0
    if low >= legal_low - tolerance and high <= 1 + tolerance:
        return Healthy(measured)
    two = target_census.distinct == 2
    if _is_void(target_census, high if high > 1 + tolerance else low):
        return Healthy(measured)
    if binary and numbered_objects is not None and numbered_objects.sure:
        seen = numbered_objects
        return Finding(
            says=f"The targets of a one-channel head number the objects, 1 to {seen.most}: in {seen.pieces} of "
            f"{seen.masks} masks every value is one piece, and how far they run differs from mask to mask. The head "
            "tells objects from background, from 0 to 1.",
            measured={**measured, "masks": seen.masks, "of_one_piece_each": seen.pieces},
            fix='`mask = (mask > 0).astype("float32")`',
            where=("batch 0",),
            pictures=mask_values(label_census, target_census),
        )
    return Finding(
        says=f"The targets of a {'one-channel head' if binary else 'one-hot loss'} run from {low:.4g} to {high:.4g}"
        f"{', two values' if two else ''}; they are probabilities, from 0 to 1.",
        measured=measured,
        fix=f'`mask = (mask > {(low + high) / 2:.4g}).astype("float32")`'
        if two or low < 0
        else f'`mask = mask.astype("float32") / {high:g}`',
        where=("batch 0",),
        pictures=mask_values(label_census, target_census),
    )


def _is_void(target: TargetCensus, value: float) -> bool:
    """255 or −1 beside 0 and 1 marks pixels that are no class: LAB002 speaks of those."""
    values = set(target.census.values)
    if target.unscaled_planes:
        return False
    if target.form == "ids" and void_alone(target.census):  # nothing but background beside it: DAT003 speaks of that
        return True
    three = values == {0.0, 1.0, value} if target.form == "ids" else target.distinct == 3
    return value in (255.0, -1.0) and three


def _as_stored(census: LabelCensus | None) -> Verdict:
    """Of stored masks only one thing is certain: two values, one of them negative and fractional, were normalised."""
    if census is None:
        return NotApplicable("neither masks nor batches were given")
    measured = {"minimum": census.minimum, "maximum": census.maximum, "distinct": len(census.values)}
    if census.fractional and census.minimum < 0 and len(census.values) <= 8:
        return Finding(
            says=f"{census.fractional.count} of {census.masks} masks hold fractions from {census.minimum:.4g} to "
            f"{census.maximum:.4g}: "
            "they went through the normalisation of images.",
            measured=measured,
            fix="Normalise the images only; save masks of class ids as integers",
            where=tuple(census.fractional.where),
        )
    return Healthy(measured)


def _case(scale: float) -> Case:
    images, masks = pair_patients.scenes(8)
    return Case(batches=pair_patients.batches(images, (masks * scale).astype("float32")[..., None]), num_classes=1)


def sick_one_plane() -> Case:
    """Of two planes that may overlap, one is left at 0 and 255."""
    images, masks = pair_patients.scenes(8)
    planes = np.stack([masks, 255 * np.roll(masks, 9, axis=1)], -1).astype("float32")
    return Case(batches=[Batch(images, planes)], num_classes=2)


def sick() -> Case:
    return _case(scale=255.0)


def sick_by_numbers() -> Case:
    """Instance masks: as many values as there are objects."""
    images, numbers = np.full((8, 64, 64), 0.2, np.float32), np.zeros((8, 64, 64), np.float32)
    for k in range(8):
        for number in range(2 + k % 4):
            place = np.s_[4 + 12 * number : 12 + 12 * number, 8 + 4 * k : 24 + 4 * k]
            images[k][place], numbers[k][place] = 0.8, number + 1
    return Case(batches=pair_patients.batches(images, numbers[..., None]), num_classes=1)


def healthy() -> Case:
    return _case(scale=1.0)
