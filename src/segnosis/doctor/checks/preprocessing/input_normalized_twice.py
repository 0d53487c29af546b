"""The images are scaled down twice.

## What it looks for
Images whose values span less than two hundredths at the first layer with weights: a division by 255 in the pipeline
and another in the model or in `preprocess_input`. Images that are merely dark are told apart by where the range ends:
1/255, or the lower end of −1 to 1; by a Rescaling layer behind data that is scaled already; and by the images as
stored, when given. Where training images are brightened or darkened at random, validation images tell. And images whose
every channel stays within `max_contrast` of a value `min_offset` deviations away from 0: that is what subtracting a
mean and dividing by a deviation makes of images that were standardized already.

## Why the model does not learn
The network sees one constant, the image does not reach it: it learns how common each class is, and no more.

## What to do
Remove one of the two.
"""

from __future__ import annotations

import numpy as np

from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.input_statistics import InputStatistics, Range
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "PRE002", "error"


def check(
    input_statistics: InputStatistics,
    *,
    max_span: float = 0.02,
    min_span: float = 1e-7,
    max_contrast: float = 0.03,
    min_offset: float = 25.0,
    max_lit: float = 0.3,
) -> Verdict:
    train = input_statistics.train
    arriving = input_statistics.arriving or train
    measured: dict[str, float | str | None] = {
        "lowest": train.low,
        "highest": train.high,
        "span_at_first_weights": arriving.inner,
        "rescaling_in_model": input_statistics.rescaling,
        "scaling_layers": ", ".join(input_statistics.scalers) or "none",
    }
    if train.high - train.low < min_span:
        return NotApplicable("every image is one constant")
    offset = min(abs(mean) / max(spread, 1e-12) for mean, spread in zip(arriving.mean, arriving.deviation, strict=True))
    measured["offset_in_deviations"] = offset
    if arriving.inner >= max_span and max(arriving.deviation) <= max_contrast and offset >= min_offset:
        means = ", ".join(f"{mean:.2f}" for mean in arriving.mean)
        return Finding(
            says=f"Every pixel lies within {max(arriving.deviation):.3f} (standard deviation) of its channel's mean "
            f"({means}): images that were standardized once were standardized again, and next to no contrast is left.",
            measured=measured,
            fix="`images = (images / 255.0 - mean) / std` once.",
            where=("the input pipeline",),
        )
    held_out = input_statistics.validation
    if held_out is not None and _lit(train, held_out, max_span, max_lit):
        measured |= {"validation_lowest": held_out.low, "validation_highest": held_out.high}
        return _twice(held_out, "Validation images, which nothing brightens,", measured)
    if arriving.inner >= max_span or arriving.high - arriving.low >= 5 * max_span:
        return Healthy(measured)
    factor = (arriving.high - arriving.low) / (train.high - train.low)  # by Rescaling, a Lambda or an operation
    if factor < 0.02 and train.low >= -1.5 and train.high <= 1.5:
        names = " → ".join(f"`{name}`" for name in input_statistics.scalers) or "the beginning of the model"
        return Finding(
            says=f"Images run from {train.low:.3g} to {train.high:.3g} already, and {names} scales them by "
            f"{factor:.3g} again: only values from {arriving.low:.4f} to {arriving.high:.4f} reach the first "
            "convolution.",
            measured=measured,
            fix=f"Remove the scaling of {names}, or the division in the pipeline.",
            where=input_statistics.scalers or ("the model's first layers",),
        )
    if factor > 0.5 and train.high > 0.2 and train.low > 0.5 * train.high:
        return Healthy(measured)  # bright and flat: no division leaves that
    return _twice(train, "Images", measured)


def _lit(train: Range, held_out: Range, max_span: float, max_lit: float) -> bool:
    """Whether training images differ by their light alone, by more than validation images span in all."""
    span = held_out.high - held_out.low
    light = float(train.each.mean(axis=-1).std())
    return span < max_span < train.high - train.low < max_lit and light > span


def _twice(seen: Range, which: str, measured: dict[str, float | str | None]) -> Finding:
    twice = seen.low >= 0 and 0.5 / 255 <= seen.high <= 1.02 / 255
    signed = seen.low >= -1.001 and seen.high <= -0.98
    once = "`/ 255`" if twice else "`preprocess_input`, which expects 0 to 255," if signed else "a division"
    return Finding(
        says=f"{which} run from {seen.low:.5f} to {seen.high:.5f}: {once} was applied to images that were "
        "scaled already.",
        measured=measured,
        fix="`images = images / 255.0` once, and no second scaling (`ToFloat`, `rescale=1/255`, `preprocess_input`) "
        "behind it.",
        where=("the input pipeline",),
        level="proven" if twice or signed else "suspected",
    )


def sick() -> Case:
    import keras

    return Case(model=segmenter(3, before=[keras.layers.Rescaling(1 / 255)]), batches=squares("ids", scale=1.0))


def sick_by_a_function() -> Case:
    import keras

    return Case(model=segmenter(3, before=[keras.layers.Lambda(lambda x: x / 255)]), batches=squares("ids", scale=1.0))


def sick_in_another_light() -> Case:
    """Twice through a function for 0 to 255; training images are then brightened or darkened."""
    drawn = [Batch(2 * batch.x / 255 - 1, batch.y) for batch in squares("ids")]
    light = np.linspace(-0.06, 0.06, len(drawn[0].x), dtype="float32")[:, None, None, None]
    return Case(
        model=segmenter(3), batches=[Batch(batch.x + light, batch.y) for batch in drawn], validation_batches=drawn
    )


def sick_standardized() -> Case:
    mean, deviation = np.array([0.485, 0.456, 0.406], "float32"), np.array([0.229, 0.224, 0.225], "float32")

    def standardized(x: np.ndarray) -> np.ndarray:
        return (x / 255 - mean) / deviation

    colour = [Batch(np.repeat(batch.x, 3, -1), batch.y) for batch in squares("ids", scale=255.0)]
    batches = [Batch(standardized(standardized(batch.x)), batch.y) for batch in colour]
    return Case(model=segmenter(3, image_channels=3), batches=batches)


def healthy() -> Case:
    import keras

    return Case(model=segmenter(3, before=[keras.layers.Rescaling(1 / 255)]), batches=squares("ids", scale=255.0))
