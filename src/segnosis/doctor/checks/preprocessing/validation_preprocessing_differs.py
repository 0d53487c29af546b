"""Validation images come on another scale than training images.

## What it looks for
The ranges of both pipelines: a spread ten times as large or small, or values below zero in one and none in the other;
suspected from `suspected_ratio` times on, where every image of the one is brighter than every image of the other. And
the colours of training images with their channels in reverse order; or channels that are like the training's in
another order only, in what scaling and shifting each does not change: how they go together, skewness, tails, roughness.
And training images of which each has its own mean removed, where validation images have not. Another mean alone is no
fault of preprocessing, but another hospital or season.

## Why the model does not learn
It does, on numbers that validation never shows: the validation loss is bad from the first epoch, and the gap stays.

## What to do
One function for training, validation and prediction; random augmentation in training alone.
"""

from __future__ import annotations

import numpy as np

from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.channel_orders import ChannelOrders
from segnosis.doctor.evidence.input_statistics import InputStatistics
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "PRE007", "error"
EXPLAINED_BY = ("PRE002",)

_IN_ONE_WAY = "Read both through one function; after `cv2.imread`, `cv2.cvtColor(image, cv2.COLOR_BGR2RGB)`."


def check(
    input_statistics: InputStatistics,
    *,
    max_ratio: float = 10.0,
    suspected_ratio: float = 4.0,
    min_negative: float = 0.3,
    max_constant: float = 1e-6,
    min_images: int = 8,
    min_apart: float = 8.0,
    certain_apart: float = 16.0,
    max_reversed: float = 0.3,
    min_apart_in_kind: float = 4.0,
    max_centred: float = 1e-3,
    min_off_centre: float = 0.1,
    channel_orders: ChannelOrders | None = None,
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
    times = min(max(ratio, 1 / ratio), max(reach, 1 / max(reach, 1e-9))) if (ratio > 1) == (reach > 1) else 1.0
    apart = bool(train.each.size and held_out.each.size) and (
        train.each.min() > held_out.each.max() or train.each.max() < held_out.each.min()
    )
    scaled = times > max_ratio or (times > suspected_ratio and apart)
    signed = (train.low < -min_negative * train.high) != (held_out.low < -min_negative * held_out.high) and (
        train.low >= 0 or held_out.low >= 0
    )
    if not scaled and not signed:
        means = [np.abs(side.each.mean(axis=1)) / side.spread for side in (train, held_out)]
        largest, typical = float(means[0].max(initial=0.0)), float(np.median(means[1])) if len(means[1]) else 0.0
        measured |= {"largest_mean_in_training": largest, "typical_mean_in_validation": typical}
        if len(means[0]) >= min_images and largest <= max_centred and typical >= min_off_centre:
            return Finding(
                says=f"The mean of each of {len(means[0])} training images is 0 (at most {largest:.1g} deviations), "
                f"that of validation images {typical:.2g} deviations: every training image has its own mean removed, "
                "validation images have not.",
                measured=measured,
                fix="Call the same function on both: `image = image - image.mean()`.",
                where=("validation data",),
            )
        as_given, reverse = _apart(train.each, held_out.each, min_images)
        measured |= {"channels_apart": as_given, "channels_apart_in_reverse": reverse}
        if as_given >= min_apart and reverse <= max_reversed * as_given:
            return Finding(
                says=f"The channels of validation images are those of training images in reverse order: channel by "
                f"channel they are {as_given:.0f} standard errors apart, in reverse {reverse:.1f}.",
                measured=measured,
                fix=_IN_ONE_WAY,
                where=("validation data",),
                level="proven" if as_given >= certain_apart else "suspected",
            )
        seen = channel_orders
        if seen is not None and seen.as_given >= min_apart_in_kind and seen.in_order <= max_reversed * seen.as_given:
            order = ", ".join(map(str, seen.order))
            return Finding(
                says=f"The channels of {seen.samples[1]} validation images are like those of {seen.samples[0]} "
                f"training images in the order {order}: {seen.in_order:.1f} apart, and {seen.as_given:.1f} as they are "
                "(mean square in standard errors).",
                measured=measured,
                fix=_IN_ONE_WAY,
                where=("validation data",),
                level="suspected",
            )
        return Healthy(measured)
    return Finding(
        says=f"Training images run from {train.low:.3g} to {train.high:.3g}, validation images from "
        f"{held_out.low:.3g} to "
        f"{held_out.high:.3g}: they are not scaled alike.",
        measured=measured,
        fix="Call the same function on both: `x_train, x_val = scale(x_train), scale(x_val)`"
        + (f", here `x_val {'/' if ratio > 1 else '*'} {max(ratio, 1 / ratio):.0f}`." if scaled else "."),
        where=("validation data",),
        level="proven" if signed or times > max_ratio else "suspected",
    )


def _apart(train: np.ndarray, held_out: np.ndarray, fewest: int) -> tuple[float, float]:
    """Largest distance of mean colours over the channels, in standard errors: in this order, and in reverse."""
    if min(len(train), len(held_out)) < fewest or train.shape[-1] != held_out.shape[-1] or train.shape[-1] < 3:
        return 0.0, 0.0
    ours, theirs = (each - each.mean(axis=1, keepdims=True) for each in (train, held_out))  # colours, not brightness
    error = np.sqrt(ours.var(axis=0) / len(ours) + theirs.var(axis=0) / len(theirs)) + 1e-9
    away = [float(np.max(np.abs(ours.mean(0) - order.mean(0)) / error)) for order in (theirs, theirs[:, ::-1])]
    return away[0], away[1]


def sick_by_a_sixth() -> Case:
    return Case(model=segmenter(3), batches=squares("ids"), validation_batches=squares("ids", scale=1 / 6))


def sick_in_reverse() -> Case:
    colour = np.array([0.9, 0.5, 0.2], "float32")
    train = [Batch(batch.x * colour, batch.y) for batch in squares("ids", count=4)]
    return Case(
        model=segmenter(3, image_channels=3),
        batches=train,
        validation_batches=[Batch(batch.x[..., ::-1], batch.y) for batch in train],
    )


def _of_three_kinds(order: list[int]) -> Case:
    """Standardized channels of different contrast and noise; those of validation in some order."""
    random = np.random.default_rng(0)
    weights = np.array([1.0, 1.5, 3.0]), np.array([0.02, 0.05, 0.2])
    halves = []
    for _ in range(2):
        batches = list(squares("ids", count=4))
        planes = [batch.x ** weights[0] + random.normal(size=(*batch.x.shape[:3], 3)) * weights[1] for batch in batches]
        halves.append([(x - x.mean((0, 1, 2))) / x.std((0, 1, 2)) for x in planes])
    train, held_out = (
        [Batch(x[..., turned].astype("float32"), batch.y) for x, batch in zip(half, batches, strict=True)]
        for half, turned in zip(halves, ([0, 1, 2], order), strict=True)
    )
    return Case(model=segmenter(3, image_channels=3), batches=train, validation_batches=held_out)


def sick_in_reverse_once_standardized() -> Case:
    return _of_three_kinds([2, 1, 0])


def healthy_once_standardized() -> Case:
    return _of_three_kinds([0, 1, 2])


def sick_off_centre() -> Case:
    train = [Batch(batch.x - batch.x.mean((1, 2, 3), keepdims=True), batch.y) for batch in squares("ids", count=4)]
    return Case(
        model=segmenter(3),
        batches=train,
        validation_batches=[Batch(batch.x - 0.2, batch.y) for batch in squares("ids", count=4)],
    )


def sick() -> Case:
    return Case(model=segmenter(3), batches=squares("ids"), validation_batches=squares("ids", scale=255.0))


def healthy() -> Case:
    return Case(model=segmenter(3), batches=squares("ids"), validation_batches=squares("ids", scale=0.9))
