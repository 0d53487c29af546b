"""Nearly all masks mark nothing.

## What it looks for
Masks that hold one and the same class everywhere, ignored pixels apart: as stored, and after the pipeline. Data
sets with many legitimate negatives are common; only when 99 of 100 masks are empty, or all of a sample large
enough, is it a fault. Masks that all mark the same few pixels are suspected to have lost their objects too, and so are
masks that are nearly all empty while the others mark a few pixels each.

## Why the model does not learn
With nothing to find, "background everywhere" is the perfect answer: loss near 0, accuracy near 1, a blank
prediction.

## What to do
Look at one mask: `np.unique(mask, return_counts=True)`. Often the value was lost on the way: a mask read in the
wrong mode, divided by 255 and cast to integers, cropped away. If the negatives are real, sample crops around the
foreground.
"""

from __future__ import annotations

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.doctor import pair_patients
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.label_census import LabelCensus, void_alone
from segnosis.doctor.evidence.label_space import LabelSpace
from segnosis.doctor.evidence.target_census import TargetCensus
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "DAT003", "error"


def check(
    label_space: LabelSpace,
    label_census: LabelCensus | None = None,
    target_census: TargetCensus | None = None,
    spec: DatasetSpec | None = None,
    *,
    most_empty: float = 0.99,
    fewest: int = 8,
    few_pixels: float = 0.005,
    max_spread: float = 3.0,
    mostly_empty: float = 0.85,
    few_marked: float = 8.0,
) -> Verdict:
    if target_census is None and label_census is None:
        return NotApplicable("neither masks nor batches were given")
    stored_empty, stored = _stored(label_census, spec)
    if target_census is not None:
        census, after = target_census.census, " after your pipeline"
        void = {255.0} if len(census.values) > 2 else {-1.0} if void_alone(census) else set()
        empty, value, where = _emptiest(census, label_space.ignore | void)
        total = census.masks
    else:
        assert label_census is not None
        census, after = label_census, ""
        background = {stored for stored, class_id in spec.values.items() if class_id == 0} if spec else None
        ignore = _ignored(spec)
        empty, value, where = _emptiest(census, ignore, background)
        total = stored
    measured = {
        "masks": total,
        "empty": empty,
        "share_empty": round(empty / total, 4) if total else 0.0,
        "stored_masks": stored,
        "stored_empty": stored_empty,
    }
    seen = target_census
    several = seen is not None and seen.samples >= fewest and seen.planes > 1
    if seen is not None and several and seen.distinct == 1 and seen.minimum == seen.maximum:
        return Finding(
            says=f"Every value of all {seen.planes} planes of {seen.samples} masks is {seen.minimum:g} after your "
            "pipeline: no pixel has a class.",
            measured=measured,
            fix="Print `mask.sum(axis=(0, 1))`, pixels per class, at every step from file to batch; most likely "
            "the values that the classes are looked up by are not those of the files.",
        )
    if total < fewest:
        return NotApplicable(f"{total} masks are too few to call them all empty; it takes {fewest}")
    if empty < most_empty * total:
        marked = (census.pixels - census.values[value].pixels) / (total - empty) if value in census.values else np.inf
        if empty >= mostly_empty * total and total >= 3 * fewest and marked <= few_marked:
            return Finding(
                says=f"{empty} of {total} masks hold nothing but the value {value:g}, and the others "
                f"{marked:.1f} other pixels each: there is next to nothing to learn from.",
                measured={**measured, "other_pixels_in_one_of_the_others": round(marked, 2)},
                fix="Look at which samples are chosen: slices, crops or images away from every object",
                where=tuple(where[:5]),
                level="suspected",
            )
        if seen is None or seen.marked is None:
            return Healthy(measured)
        anywhere, typical = seen.marked
        measured["marked_in_any_mask"] = round(anywhere, 6)
        if 0 < anywhere <= min(few_pixels, max_spread * typical):
            return Finding(
                says=f"All {total} masks together mark {anywhere:.2%} of their pixels, one mask {typical:.2%}: the "
                "same few pixels in every mask, and no object anywhere else.",
                measured=measured,
                fix="Look at one mask beside its image. Where outlines are drawn, their points are pixels, not shares "
                "of the width and height: `points * (width, height)`.",
                level="suspected",
            )
        return Healthy(measured)
    raw = f" (as stored: {stored_empty} of {stored})" if after and stored else ""
    return Finding(
        says=f"{empty} of {total} masks hold nothing but the value {value:g}{after}{raw}.",
        measured=measured,
        fix="Print `np.unique(mask, return_counts=True)` at every step from file to batch, and mend the step where "
        "the classes vanish"
        if after
        else "Export the masks again; check with `np.unique(mask, return_counts=True)` that they hold the classes",
        where=tuple(where[:5]),
        level="proven" if empty == total or stored_empty < most_empty * stored else "suspected",
    )


def _ignored(spec: DatasetSpec | None) -> set[float]:
    if spec is None or spec.ignore_class is None:
        return set()
    return {float(stored) for stored, class_id in spec.values.items() if class_id == spec.ignore_class}


def _stored(census: LabelCensus | None, spec: DatasetSpec | None) -> tuple[int, int]:
    if census is None:
        return 0, 0
    background = {stored for stored, class_id in spec.values.items() if class_id == 0} if spec else None
    return _emptiest(census, _ignored(spec), background)[0], census.masks


def _emptiest(
    census: LabelCensus, ignore: frozenset[float] | set[float], background: set[int] | None = None
) -> tuple[int, float, list[str]]:
    """(masks of one value, that value, their first places), for the value that most such masks hold."""
    alone = census.one_value(ignore)
    if background is not None:
        alone = {value: tally for value, tally in alone.items() if value in background}
    if not alone:
        return 0, 0.0, []
    value = max(alone, key=lambda value: alone[value].count)
    return alone[value].count, value, alone[value].where


def sick() -> Case:
    images, masks = pair_patients.scenes(12)
    return Case(
        pairs=pair_patients.pairs(images, masks), batches=pair_patients.batches(images, masks // 255), num_classes=2
    )


def sick_in_all_planes() -> Case:
    batches = [Batch(batch.x, np.zeros_like(batch.y)) for batch in squares("one-hot", count=3)]
    return Case(model=segmenter(3, "softmax"), loss="categorical_crossentropy", batches=batches)


def _two_of_thirty(pixels: int) -> Case:
    images, masks = pair_patients.scenes(30)
    masks[:28] = 0
    masks[28:, :, pixels:] = 0
    return Case(batches=pair_patients.batches(images, masks), num_classes=2)


def sick_but_for_a_few_pixels() -> Case:
    case = _two_of_thirty(0)
    for batch in (case.batches or ())[-1:]:
        batch.y[2:, :2, 0] = 1
    return case


def healthy_negatives() -> Case:
    return _two_of_thirty(64)


def healthy() -> Case:
    images, masks = pair_patients.scenes(12)
    masks = np.where(np.arange(12)[:, None, None] % 3, 0, masks)
    return Case(pairs=pair_patients.pairs(images, masks), batches=pair_patients.batches(images, masks), num_classes=2)


def _of_dots(moved: int) -> Case:
    """Masks of four pixels each, at one place or at others."""
    masks = np.zeros((12, 64, 64), np.uint8)
    for number, mask in enumerate(masks):
        mask[moved * number : moved * number + 2, :2] = 1
    images = np.random.default_rng(0).random((12, 64, 64)).astype("float32")
    return Case(batches=pair_patients.batches(images, masks), num_classes=2)


def sick_in_a_corner() -> Case:
    return _of_dots(0)


def healthy_dots() -> Case:
    return _of_dots(4)
