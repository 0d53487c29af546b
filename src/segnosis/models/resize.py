"""Images of any size through a network that halves them: mirrored up to a multiple, logits cropped back.

Keras' padding and cropping layers want their amounts in advance. Here they follow from each batch, by stock Keras
operations inside the graph, so that a saved model needs nothing but Keras.
"""

from __future__ import annotations

from keras import KerasTensor, layers, ops


def pad_to_multiple(x: KerasTensor, step: int) -> KerasTensor:
    """Mirror the sides of unknown length at the bottom and right up to the next multiple of `step`.

    Args:
        x: `(batch, height, width, channels)`; a side with a known length is left alone.
        step: What the padded sides are divisible by.
    """
    for axis in (1, 2):
        if x.shape[axis] is None:
            here = _positions(x, axis)
            last = ops.max(here)
            # One pixel per started step, each repeated `step` times: as long as the padded side.
            steps = ops.max_pool(ops.reshape(here, (1, -1, 1)), step, strides=step, padding="same")
            there = ops.cumsum(ops.ones_like(ops.repeat(ops.reshape(steps, (-1,)), step))) - 1.0
            mirrored = ops.maximum(last - ops.abs(last - there), 0.0)
            x = ops.take(x, ops.cast(mirrored, "int32"), axis=axis)
    return x


def crop_like(x: KerasTensor, image: KerasTensor, name: str) -> KerasTensor:
    """Cut `x`, `(batch, height, width, classes)`, to the sides of `image` where those are of unknown length."""
    unknown = [axis for axis in (1, 2) if image.shape[axis] is None]
    for axis in unknown:
        x = ops.take(x, ops.cast(_positions(image, axis), "int32"), axis=axis)
    # A layer at the end, for Keras names a model's outputs after what made them.
    return layers.Identity(dtype="float32", name=name)(x) if unknown else x


def _positions(x: KerasTensor, axis: int) -> KerasTensor:
    """0, 1, 2, … along `axis`; counted, since a symbolic shape cannot be. Float32 is exact up to 16 million."""
    line = x[0, :, 0, 0] if axis == 1 else x[0, 0, :, 0]
    return ops.cumsum(ops.ones_like(line, dtype="float32")) - 1.0
