"""The classes of the masks vanish on the way to the loss.

## What it looks for
Targets whose largest value is about 1/255, the trace of a second division by 255. Raw masks of two classes or more
where the targets of a sample large enough hold but one.

## Why the model does not learn
The target is one value everywhere. The loss goes to 0 with a blank prediction, and the metric stands at 1/C or 0.5.

## What to do
Divide by 255 once; convert to integers after scaling, not before: `mask = (mask > 127).astype("int32")`.
"""

from __future__ import annotations

import numpy as np

from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence.label_census import LabelCensus
from segnosis.doctor.evidence.target_census import TargetCensus
from segnosis.doctor.shown import mask_values
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LAB004", "error"
EXPLAINED_BY = ("DAT003",)


def check(
    label_census: LabelCensus | None = None,
    target_census: TargetCensus | None = None,
    *,
    tiny: float = 0.02,
    chance: float = 1e-3,
) -> Verdict:
    seen = target_census.census if target_census is not None else label_census
    if seen is None:
        return NotApplicable("neither masks nor batches were given")
    if target_census is not None and target_census.form == "colour":
        return NotApplicable("the targets are pictures")
    top = target_census.maximum if target_census is not None else seen.maximum
    bottom = target_census.minimum if target_census is not None else seen.minimum
    raw = len(label_census.values) if label_census is not None else 0
    alone = sum(tally.count for tally in seen.one_value().values())
    full = (
        1 - sum(t.count for t in label_census.one_value().values()) / max(1, label_census.masks)
        if label_census
        else 0.0
    )
    measured = {
        "maximum": round(top, 6),
        "minimum": round(bottom, 6),
        "values_as_stored": raw,
        "values": len(seen.values),
        "masks_of_one_value": alone,
        "share_of_stored_masks_with_two_values": round(full, 4),
    }
    if bottom >= 0 and 0 < top < tiny:
        times = "twice" if abs(top - 1 / 255) < 1e-4 else "once too often"
        return Finding(
            says=f"The largest value of the masks is {top:.4g}{' = 1/255' if times == 'twice' else ''}: they were "
            f"divided {times}.",
            measured=measured,
            fix='`mask = (mask > 0).astype("int32")` after one division, or leave the second one out',
            where=tuple(seen.fractional.where[:5]),
            pictures=mask_values(label_census, target_census),
        )
    flattened = target_census is not None and len(seen.values) == 1 and raw >= 2
    if flattened and target_census is not None and (1 - full) ** target_census.samples < chance:
        return Finding(
            says=f"The stored masks hold {raw} values, {full:.0%} of them two or more; all "
            f"{target_census.samples} masks after the pipeline "
            f"hold nothing but {next(iter(seen.values)):g}.",
            measured=measured,
            fix="Find the step that flattens them: print `np.unique(mask)` before and after each; convert to "
            "integers after scaling, "
            'not before: `(mask > 127).astype("int32")`',
            where=("batch 0",),
            pictures=mask_values(label_census, target_census),
        )
    return Healthy(measured)


def sick() -> Case:
    images, masks = pair_patients.scenes(8)
    return Case(batches=pair_patients.batches(images, (masks / 255.0).astype("float32")[..., None]), num_classes=1)


def healthy() -> Case:
    images, masks = pair_patients.scenes(8)
    return Case(
        pairs=pair_patients.pairs(images, masks * np.uint8(255)),
        batches=pair_patients.batches(images, masks.astype("float32")[..., None]),
        num_classes=1,
    )
