"""BatchNormalization averages over too few numbers.

## What it looks for
BatchNormalization layers that move while the batch has one or two samples: how many numbers a channel's mean is made
of (batch × height × width), and how far the means of single batches lie apart. And how many samples stand behind the
statistics that prediction uses: an average of momentum m weighs as many as (1 + m) / (1 - m) batches. Frozen layers
are left alone.

## Why the model does not learn
Training normalises with the batch's own mean and variance, prediction with an average of earlier ones. Over a single
number the normalised value is 0 whatever the image shows, and the stored variance goes to 0, so that prediction blows
the branch up: that happens behind a global pooling at batch size 1. Over one or two images the statistics are those of
these images, other ones each step: more than 0.5 standard deviations between batches is noise that the stored average
does not have; with a single image more than 0.1, for no other image of the batch dampens it. A small momentum on top
keeps the statistics of the last image or two, and predicts all others with them.

## What to do
Batches of 8 or more; or `GroupNormalization`, which needs no batch; or frozen BatchNormalization with pretrained
statistics.
"""

from __future__ import annotations

from typing import Any

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.batch_statistics import BatchStatistics
from segnosis.doctor.patients import squares
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "NRM002", "error"


def check(
    batch_statistics: BatchStatistics,
    *,
    min_values: int = 2,
    max_batch: int = 2,
    max_spread: float = 0.5,
    max_spread_alone: float = 0.1,
    min_samples_behind: float = 4.0,
) -> Verdict:
    layers = batch_statistics.layers
    fewest = min(layers, key=lambda layer: layer.values)
    widest = max(layers, key=lambda layer: layer.spread)
    shortest = min(layers, key=lambda layer: layer.momentum)
    behind = batch_statistics.batch_size * (1 + shortest.momentum) / max(1e-9, 1 - shortest.momentum)
    measured = {
        "batch_size": batch_statistics.batch_size,
        "live_batch_normalizations": len(layers),
        "fewest_values_per_channel": fewest.values,
        "widest_spread_between_batches": widest.spread,
        "batches": batch_statistics.batches,
        "samples_behind_stored_statistics": behind,
    }
    if fewest.values < min_values:
        few = [layer.name for layer in layers if layer.values < min_values]
        return Finding(
            says=f"`{fewest.name}` normalises {fewest.values} number per channel (batch {batch_statistics.batch_size}, "
            "1 × 1 pixels): its training output is constant, and its stored variance goes to 0.",
            measured=measured,
            fix=f"`keras.layers.GroupNormalization(groups=8)` (or no normalisation) in place of `{fewest.name}`, or a "
            "`batch_size` of 8 or more.",
            where=tuple(few[:8]),
        )
    if batch_statistics.batch_size <= max_batch and behind < min_samples_behind:
        return Finding(
            says=f"`{shortest.name}` averages batches of {batch_statistics.batch_size} with momentum "
            f"{shortest.momentum:g}: prediction normalises with what the last {behind:.1f} samples happened to be.",
            measured=measured,
            fix="`momentum=0.9` or more, and `batch_size=8` or more, or `keras.layers.GroupNormalization(groups=8)`.",
            where=tuple(layer.name for layer in layers if layer.momentum == shortest.momentum)[:8],
            level="suspected",
            severity="warning",
        )
    too_wide = max_spread_alone if batch_statistics.batch_size == 1 else max_spread
    if batch_statistics.batch_size <= max_batch and batch_statistics.batches > 1 and widest.spread > too_wide:
        return Finding(
            says=f"{len(layers)} BatchNormalization layers train on batches of {batch_statistics.batch_size}; between "
            f"batches the mean in `{widest.name}` moves by {widest.spread:.2f} standard deviations (8 images: about "
            f"{widest.spread * (batch_statistics.batch_size / 8) ** 0.5:.2f}).",
            measured=measured,
            fix="`batch_size=8` or more, or `keras.layers.GroupNormalization(groups=8)` instead.",
            where=tuple(layer.name for layer in sorted(layers, key=lambda layer: -layer.spread)[:8]),
            level="suspected",
            severity="warning",
        )
    return Healthy(measured)


def mend(case: Case) -> Case:
    """GroupNormalization in place of every BatchNormalization that moves."""
    import keras

    from segnosis.doctor.mending import with_layers

    class InGroups(keras.layers.GroupNormalization):
        """A graph that was made for BatchNormalization also hands on a mask."""

        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            return super().call(inputs)

    def instead(layer: keras.layers.Layer) -> keras.layers.Layer | None:
        if not isinstance(layer, keras.layers.BatchNormalization) or not layer.trainable:
            return None
        channels = int(layer.gamma.shape[0] if layer.scale else layer.moving_mean.shape[0])
        groups = next(count for count in (8, 4, 2, 1) if channels % count == 0)
        return InGroups(groups=groups, axis=layer.axis, name=f"{layer.name}_in_groups")

    return with_layers(case, instead)


def _case(batch: int, pooled: bool) -> Case:
    import keras

    from segnosis.doctor.case import Batch

    layers, start = keras.layers, keras.initializers.HeNormal(seed=1)
    image = keras.Input((16, 16, 1))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, kernel_initializer=start)(image)
    x = layers.ReLU()(layers.BatchNormalization(name="encoder_norm")(x))
    if pooled:
        mean = layers.Conv2D(8, 1, kernel_initializer=start)(layers.GlobalAveragePooling2D(keepdims=True)(x))
        mean = layers.BatchNormalization(name="image_pooling_norm")(mean)
        x = layers.Concatenate()([x, layers.UpSampling2D(16)(mean)])
    model = keras.Model(image, layers.Conv2D(3, 1, activation="softmax", kernel_initializer=start)(x))
    batches = [Batch(drawn.x[:batch], drawn.y[:batch]) for drawn in squares("ids")]
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=batches)


def sick() -> Case:
    return _case(1, pooled=True)


def sick_unlike_images() -> Case:
    from dataclasses import replace

    case = _case(2, pooled=False)
    first, second = case.batches or ()
    return replace(case, batches=(first, replace(second, x=second.x + 1.0)))


def sick_of_the_last_image() -> Case:
    case = _case(1, pooled=False)
    case.model.get_layer("encoder_norm").momentum = 0.1
    return case


def healthy() -> Case:
    return _case(4, pooled=True)


def healthy_frozen() -> Case:
    """Statistics that do not move ask nothing of the batch."""
    case = _case(1, pooled=True)
    case.model.get_layer("image_pooling_norm").trainable = False
    return case
