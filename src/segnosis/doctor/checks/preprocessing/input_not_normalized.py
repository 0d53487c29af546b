"""The images reach the first convolution on a scale it was not initialized for.

## What it looks for
Values beyond ±20 at the first layer with weights. Rescaling inside the model, a Normalization or BatchNormalization
layer, and backbones that scale their input themselves are seen in the graph. The same batch is then given as it comes
and standardized, in training mode: only when the first is much worse is it called a cause, also where a normalization
stands behind the first layer and a shortcut leads around it. And raw images whose bright pixels are many times as high
in one as in another: units of several scanners or exposures, which a normalization over all of them leaves apart.

## Why the model does not learn
Weights are initialized for inputs of deviation 1. With 0 to 255 every layer passes on a hundred times too much: the
first loss is tens instead of ln C, outputs are saturated, and their gradients 0.

## What to do
`images / 255.0`, or `keras.layers.Rescaling(1 / 255)` as the first layer.
"""

from __future__ import annotations

import numpy as np

from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.input_scale import InputScale
from segnosis.doctor.evidence.input_statistics import InputStatistics, Range
from segnosis.doctor.evidence.trainable_map import TrainableMap
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "PRE001", "error"


def check(
    input_statistics: InputStatistics,
    *,
    max_value: float = 20.0,
    min_ratio: float = 2.0,
    min_saturated: float = 0.2,
    max_units: float = 8.0,
    fewest_images: int = 12,
    input_scale: InputScale | None = None,
    trainable_map: TrainableMap | None = None,
) -> Verdict:
    arriving = input_statistics.arriving or input_statistics.train
    largest = max(abs(arriving.low), abs(arriving.high))
    scale = input_scale
    measured: dict[str, float | str | None] = {
        "lowest": input_statistics.train.low,
        "highest": input_statistics.train.high,
        "highest_at_first_weights": largest,
        "bright_pixels_of_one_image_over_those_of_another": arriving.units,
        "scaling_layers": ", ".join(input_statistics.scalers) or "none",
        "first_loss": scale.loss if scale else None,
        "first_loss_standardized": scale.loss_standardized if scale else None,
        "output_deviation_ratio": scale.deviation / max(scale.deviation_standardized, 1e-9) if scale else None,
        "saturated": scale.extreme if scale else None,
        "saturated_standardized": scale.extreme_standardized if scale else None,
    }
    measured = {key: None if value in (float("inf"),) or value != value else value for key, value in measured.items()}
    unjudged = scale is not None and None in (scale.loss, scale.loss_standardized)  # the loss raises on this batch
    if largest <= max_value:
        return Healthy(measured)
    fresh = trainable_map is not None and all(part.is_drawn is not False for part in trainable_map.parts)
    settled = input_statistics.normalized and unjudged
    if (
        scale is None
        or settled
        or not (_spreads(scale, min_saturated) and fresh if unjudged else _worse(scale, min_ratio, min_saturated))
    ):
        if len(arriving.each) >= fewest_images and arriving.low >= 0 and arriving.units >= max_units:
            return _in_units_of_their_own(arriving, measured)
        return Healthy(measured)
    worse = (
        f"the first loss is {scale.loss:.3g} where the same batch with mean 0 and deviation 1 gives "
        f"{scale.loss_standardized:.3g}"
        if scale.loss is not None and scale.loss_standardized is not None
        else "outputs spread far wider than for the same batch standardized"
    )
    saturated = f", and {scale.extreme:.0%} of the outputs are saturated" if scale.extreme > min_saturated else ""
    train = input_statistics.train
    return Finding(
        says=f"Images run from {train.low:.4g} to {train.high:.4g} and reach the first convolution like that: "
        f"{worse}{saturated}.",
        measured=measured,
        fix=_fix(train.low, train.high),
        where=("the model's input",),
        level="suspected" if unjudged else "proven",
    )


def _in_units_of_their_own(arriving: Range, measured: dict[str, float | str | None]) -> Finding:
    """What no layer mends that has one mean and deviation for all."""
    return Finding(
        says=f"Images come in units of their own: up to {arriving.high:.4g}, and the bright pixels of one in ten are "
        f"{arriving.units:.0f} times those of another, so that one number means another thing in each.",
        measured=measured,
        fix="`image = (image - image.mean()) / image.std()` for every image by itself, in training, validation and "
        "prediction",
        where=("the model's input",),
        level="suspected",
    )


def _spreads(scale: InputScale, min_saturated: float) -> bool:
    """Whether outputs lie far further apart, or are far more often saturated, than for the standardized batch."""
    return (
        scale.deviation >= 5 * scale.deviation_standardized
        or scale.extreme >= min_saturated + scale.extreme_standardized
    )


def _worse(scale: InputScale, min_ratio: float, min_saturated: float) -> bool:
    """Whether the batch as it comes starts much worse; a model that was trained on this scale starts better."""
    if not _spreads(scale, min_saturated) or scale.loss is None or scale.loss_standardized is None:
        return False
    if not scale.loss < float("inf"):
        return scale.loss_standardized < float("inf")
    # outputs stuck at 0 and 1 can happen to be right for a large background; of a trained model they are right indeed
    saturates = (
        scale.extreme > min_saturated + scale.extreme_standardized and scale.loss > 0.5 * scale.loss_standardized
    )
    return saturates or scale.loss > min_ratio * abs(scale.loss_standardized)


def _fix(low: float, high: float) -> str:
    if low >= 0 and high <= 255:
        return "`images = images / 255.0` for training, validation and prediction, or `keras.layers.Rescaling(1 / "
        "255)` first."
    return (
        "`images = (images - images.mean()) / images.std()` with the training set's numbers everywhere, or a "
        "`keras.layers.Normalization` first, after `adapt(images)`."
    )


def sick() -> Case:
    return Case(
        model=segmenter(3, "softmax"), loss="sparse_categorical_crossentropy", batches=squares("ids", scale=255.0)
    )


def sick_of_two_scanners() -> Case:
    import keras

    model = segmenter(3, "softmax", before=[keras.layers.BatchNormalization()])
    batches = [
        Batch(batch.x * np.resize((80.0, 1600.0), len(batch.x))[:, None, None, None], batch.y)
        for batch in squares("ids", count=8)
    ]
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=batches)


def healthy_behind_a_normalization() -> Case:
    import keras

    model = segmenter(3, "softmax", before=[keras.layers.BatchNormalization()])
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=squares("ids", count=8, scale=255.0))


def healthy() -> Case:
    import keras

    return Case(
        model=segmenter(3, "softmax", before=[keras.layers.Rescaling(1 / 255)]),
        loss="sparse_categorical_crossentropy",
        batches=squares("ids", scale=255.0),
    )
