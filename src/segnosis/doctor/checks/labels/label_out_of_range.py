"""Masks hold values that are no class.

## What it looks for
After the pipeline: class ids outside 0 to C − 1, apart from the ignored one and from pixels of weight 0. As stored:
values that the data set's other masks give no meaning to. 255 and −1 beside otherwise legal ids are the customary
"no class", for which there is a check of its own (LAB002); values between others are traces of interpolation
(LAB005). And a pipeline that stops where it looks up a weight or a colour for a value that is no class.

## Why the model does not learn
Sparse cross-entropy of an id the head does not have is NaN or an error on TensorFlow and torch, and silently zero
on JAX, where the class is never learned.

## What to do
Map the stored values to 0 to C − 1 with the table printed in the finding, `mask = table[mask]`, or widen the head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence.label_census import LabelCensus, ValueCount
from segnosis.doctor.evidence.label_space import LabelSpace
from segnosis.doctor.evidence.numbered_objects import NumberedObjects
from segnosis.doctor.evidence.target_census import TargetCensus
from segnosis.doctor.shown import mask_values
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LAB001", "error"

_CUSTOMARY_VOID = {255.0, -1.0}
_TOO_FAR = re.compile(
    r"= (?P<value>-?\d+) is not in \[0, (?P<limit>\d+)\)|"
    r"index (?P<index>-?\d+) is out of bounds for axis \d+ with size (?P<size>\d+)"
)


def check(
    label_space: LabelSpace,
    label_census: LabelCensus | None = None,
    target_census: TargetCensus | None = None,
    spec: DatasetSpec | None = None,
    extra: Mapping[str, Any] | None = None,
    numbered_objects: NumberedObjects | None = None,
    *,
    max_share: float = 0.0,
    stray_share: float = 0.01,
    stray_masks: int = 20,
) -> Verdict:
    if target_census is not None:
        return _after_pipeline(target_census, label_space, max_share, label_census, numbered_objects)
    stopped = _stopped(str((extra or {}).get("pipeline_error", "")), label_space)
    if stopped is not None:
        return stopped
    if label_census is None:
        return NotApplicable("neither masks nor batches were given")
    if spec is None or not spec.values:
        return NotApplicable("nobody says what the stored values mean")
    return _as_stored(label_census, spec, max_share, stray_share, stray_masks)


def _stopped(error: str, space: LabelSpace) -> Verdict | None:
    """A pipeline that looks something up by class id, such as a weight, and stops at a value that is none."""
    found = _TOO_FAR.search(error)
    if found is None or space.num_classes is None:
        return None
    value, limit = (int(part) for part in (found["value"] or found["index"], found["limit"] or found["size"]))
    if limit != space.num_classes:
        return None
    return Finding(
        says=f"The input pipeline stops: it takes the value {value} for a class id, but {limit} classes "
        f"({space.said_by}) have the ids 0 to {limit - 1}.",
        measured={"value": value, "num_classes": limit},
        fix="Map the masks' values to class ids first: `ids = np.searchsorted(values, mask)` with the values that "
        "`np.unique(mask)` shows, or by colour where masks are colour pictures.",
        where=("the input pipeline",),
    )


def _after_pipeline(
    target: TargetCensus,
    space: LabelSpace,
    max_share: float,
    stored: LabelCensus | None,
    numbers: NumberedObjects | None,
) -> Verdict:
    census = target.census
    if target.form != "ids" or space.channels == 1 or space.independent:
        what = target.form if target.form != "ids" else "for sigmoid channels"
        return NotApplicable(f"the targets are no class ids but {what}")
    if space.num_classes is None:
        return NotApplicable("the number of classes is not known")
    whole = {value: count for value, count in census.without(space.ignore).items() if value == int(value)}
    limit = space.num_classes
    outside = {value: count for value, count in whole.items() if not 0 <= value < limit}
    others = set(whole) - set(outside)
    if len(outside) == 1 and set(outside) <= _CUSTOMARY_VOID and not _is_scaled_binary(set(whole)) and others:
        (beside,) = outside.values()
        commonest = all(beside.pixels > whole[value].pixels for value in others)
        if not (commonest and others == set(range(limit - 1))):  # 1 was taken from ids that begin at 0
            outside = {}
    pixels = sum(count.pixels for count in outside.values())
    measured = {
        "values": [value if value != int(value) else int(value) for value in list(whole)[:30]],
        "num_classes": limit,
        "outside": [int(value) for value in list(outside)[:30]],
        "share_outside": round(pixels / max(1, census.pixels), 6),
    }
    if not outside or pixels <= max_share * census.pixels:
        return Healthy(measured)
    numbered = numbers is not None and numbers.sure
    hint = " The masks number their objects, they name no classes." if numbered else _hint(set(whole), limit)
    return Finding(
        says=f"{pixels / census.pixels:.2%} of the target's pixels hold {_list(outside)}, but {limit} classes "
        f"({space.said_by}) have "
        f"the ids 0 to {limit - 1}.{hint}",
        measured=measured,
        fix="`mask = (mask > 0).astype(int)`, or the class of each object in place of its number"
        if numbered
        else _remap(sorted(whole), limit),
        where=tuple(next(iter(outside.values())).where.where[:5]),
        pictures=mask_values(stored, target),
    )


def _as_stored(
    census: LabelCensus, spec: DatasetSpec, max_share: float, stray_share: float, stray_masks: int
) -> Verdict:
    known = {float(value) for value in spec.values}
    outside = {value: count for value, count in census.values.items() if value not in known and value == int(value)}
    pixels = sum(count.pixels for count in outside.values())
    stray = _stray(census, spec, stray_share) if census.masks >= stray_masks else None
    measured = {
        "values": [int(value) for value in list(census.values)[:30] if value == int(value)],
        "num_classes": spec.num_classes,
        "outside": [int(value) for value in list(outside)[:30]],
        "share_outside": round(pixels / max(1, census.pixels), 6),
    }
    wrong_ids = sorted({i for i in spec.values.values() if i != spec.ignore_class and not 0 <= i < spec.num_classes})
    if wrong_ids:
        return Finding(
            says=f"The stored values are read as the class ids {wrong_ids}, but {spec.num_classes} classes have 0 to "
            f"{spec.num_classes - 1}." + _hint({float(value) for value in spec.values}, spec.num_classes),
            measured=measured,
            fix=_remap(sorted(known), spec.num_classes),
        )
    if outside and pixels > max_share * census.pixels:
        where = list(dict.fromkeys(place for count in outside.values() for place in count.where.where))
        return Finding(
            says=f"{pixels} pixels of {len(where)} masks hold {_list(outside)}, which is no class; the "
            f"{census.masks} masks of this data "
            f"set hold {_brief(sorted(known))}.",
            measured=measured,
            fix=f"Correct these pixels in {where[0]}, or name the value `ignore_class={int(next(iter(outside)))}` if "
            f"it is none",
            where=tuple(where[:20]),
        )
    if stray is not None:
        value, count = stray
        return Finding(
            says=f"The value {value:g} is in {count.masks} of {census.masks} masks only, away from all others "
            f"({_brief(sorted(set(census.values) - {value}))}): a slip, or a class of its own?",
            measured=measured,
            fix=f"Correct it in {count.where.where[0]}, or name the classes: `class_names=[...]`",
            where=tuple(count.where.where),
            level="suspected",
        )
    return Healthy(measured)


def _stray(census: LabelCensus, spec: DatasetSpec, share: float) -> tuple[float, ValueCount] | None:
    """A value beyond a gap after ids without gap, in hardly any mask."""
    values = [
        value
        for value in census.values
        if spec.values.get(int(value)) != spec.ignore_class or spec.ignore_class is None
    ]
    if len(values) < 3:
        return None
    run = [value for k, value in enumerate(values) if value == k]
    beyond = [value for value in values if value not in run]
    if len(run) >= 2 and len(beyond) == 1 and census.values[beyond[0]].masks <= max(1, share * census.masks):
        return beyond[0], census.values[beyond[0]]
    return None


def _is_scaled_binary(values: set[float]) -> bool:
    return values <= {0.0, 255.0}


def _hint(values: set[float], limit: int) -> str:
    if values and min(values) == 1 and max(values) == limit:
        return " They run from 1: subtract 1."
    if _is_scaled_binary(values):
        return " They are a black-and-white picture: divide by 255."
    if len(values) <= limit:
        return " They have gaps: number them anew."
    return ""


def _remap(values: list[float], limit: int) -> str:
    ids = [int(value) for value in values]
    if ids and min(ids) == 1 and max(ids) == limit:
        return "`mask = mask - 1`"
    if len(ids) <= limit:
        pairs = ", ".join(f"{value}: {k}" for k, value in enumerate(ids[:12]))
        return f"`mask = np.searchsorted({ids[:12]}, mask)`, which maps {{{pairs}}}"
    return (
        f"Give the head a channel for every value, `num_classes={max(ids) + 1}`, or map the values above {limit - 1} "
        "to `ignore_class`"
    )


def _list(values: Mapping[float, ValueCount]) -> str:
    shown = ", ".join(f"{value:g}" for value in list(values)[:8])
    return f"the value{'s' if len(values) > 1 else ''} {shown}" + (", …" if len(values) > 8 else "")


def _brief(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values[:24]) + (", …" if len(values) > 24 else "")


def _case(offset: int) -> Case:
    images, masks = pair_patients.scenes(8)
    classes = masks + np.where(np.arange(64) > 32, masks, 0).astype(np.uint8)
    return Case(batches=pair_patients.batches(images, classes.astype(np.int32) + offset), num_classes=3)


def sick() -> Case:
    return _case(offset=1)


def sick_in_a_pipeline_that_stops() -> Case:
    error = IndexError("index 130 is out of bounds for axis 0 with size 3")
    return Case(num_classes=3, extra={"pipeline_error": error})


def healthy() -> Case:
    return _case(offset=0)
