"""Validation images come on another scale than training images.

## What it looks for
The ranges of both pipelines: a spread ten times as large or small, or values below zero in one and none in the other.
Another mean alone is no fault of preprocessing, but another hospital or season.

## Why the model does not learn
It does, on numbers that validation never shows: the validation loss is bad from the first epoch, and the gap stays.

## What to do
One function for training, validation and prediction; random augmentation in training alone.
"""

from __future__ import annotations

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.input_statistics import InputStatistics
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "PRE007", "error"


def check(
    input_statistics: InputStatistics, *, max_ratio: float = 10.0, min_negative: float = 0.3, max_constant: float = 1e-6
) -> Verdict:
    train, held_out = input_statistics.train, input_statistics.validation
    if held_out is None:
        return NotApplicable("no validation data was given")
    measured = {
        "train_lowest": train.low,
        "train_highest": train.high,
        "train_deviation": train.spread,
        "validation_lowest": held_out.low,
        "validation_highest": held_out.high,
        "validation_deviation": held_out.spread,
        "train_dtype": train.dtype,
        "validation_dtype": held_out.dtype,
    }
    if min(train.spread, held_out.spread) <= max_constant:
        return NotApplicable("the images of one split are constant")
    ratio = held_out.spread / train.spread
    reach = max(abs(held_out.low), abs(held_out.high)) / max(abs(train.low), abs(train.high), 1e-9)
    scaled = not 1 / max_ratio <= ratio <= max_ratio and not 1 / max_ratio <= reach <= max_ratio
    signed = (train.low < -min_negative * train.high) != (held_out.low < -min_negative * held_out.high) and (
        train.low >= 0 or held_out.low >= 0
    )
    if not scaled and not signed:
        return Healthy(measured)
    return Finding(
        says=f"Training images run from {train.low:.3g} to {train.high:.3g}, validation images from "
        f"{held_out.low:.3g} to "
        f"{held_out.high:.3g}: they are not scaled alike.",
        measured=measured,
        fix="Call the same function on both: `x_train, x_val = scale(x_train), scale(x_val)`"
        + (f", here `x_val {'/' if ratio > 1 else '*'} {max(ratio, 1 / ratio):.0f}`." if scaled else "."),
        where=("validation data",),
    )


def sick() -> Case:
    return Case(model=segmenter(3), batches=squares("ids"), validation_batches=squares("ids", scale=255.0))


def healthy() -> Case:
    return Case(model=segmenter(3), batches=squares("ids"), validation_batches=squares("ids", scale=0.9))
