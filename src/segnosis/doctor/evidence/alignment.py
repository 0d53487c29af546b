"""Where in the image each output pixel looks: the centre of the slope of the output with respect to the image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras.src.layers.convolutional.base_conv import BaseConv
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv
from keras.src.layers.convolutional.base_separable_conv import BaseSeparableConv

from segnosis.doctor.ask import raised
from segnosis.doctor.autodiff import array_gradient
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.graph import all_layers
from segnosis.doctor.snapshot import untouched

PRICE = "gradient"

_PLACES = (0.25, 0.5, 0.75)
_NEAR = 4
Look = Callable[[int, int, Any], Any]
"""Row, column and image → what the output says there, as one number."""
_CONVOLUTIONS = (BaseConv, BaseConvTranspose, BaseDepthwiseConv, BaseSeparableConv)


@dataclass(frozen=True)
class Alignment:
    """One output.

    Attributes:
        size: Height and width of the output.
        image: Height and width of the image.
        offsets: For points on the diagonal, from a quarter to three quarters of the way: how many image pixels (down,
            right) from its own place the output looks.
        spread: How wide it looks there, as a standard deviation in image pixels.
        flat: Whether the output is a list of pixels, `(batch, pixels, classes)`, taken to run row by row.
        near: Largest share of the slope within 4 image pixels of a point's own place.
    """

    size: tuple[int, int]
    image: tuple[int, int]
    offsets: tuple[tuple[float, float], ...]
    spread: float
    flat: bool = False
    near: float = 1.0

    @property
    def largest(self) -> float:
        """Largest offset along an axis, in image pixels."""
        return max((abs(value) for offset in self.offsets for value in offset), default=0.0)

    @property
    def shift(self) -> float:
        """The offset along an axis that all points share to a quarter of it, the larger one; 0 where none is shared."""
        shared = [0.0]
        for along in np.transpose(self.offsets) if len(self.offsets) > 2 else ():
            if np.abs(along - along.mean()).max() <= 0.25 * abs(along.mean()):
                shared.append(float(abs(along.mean())))
        return max(shared)

    @property
    def stretch(self) -> float:
        """By how much the outer points look towards the middle, or both away from it, along an axis; 0 where not both.

        That is the smaller of the two offsets; what the borders of the image cut off a wide view draws both inwards
        too, by less than a third of `spread` where the border is that far away.
        """
        opposed = [0.0]
        for axis, along in enumerate(np.transpose(self.offsets) if len(self.offsets) > 2 else ()):
            first, middle, last = along
            both = min(abs(first), abs(last))
            if first * last < 0 and abs(middle) <= both / 2 and self.spread <= _PLACES[0] * self.image[axis]:
                opposed.append(float(both))
        return max(opposed)


def measure(model: keras.Model, heads: Sequence[Head], batches: Sequence[Batch]) -> Mapping[str, Alignment]:
    """Output name → alignment, on one image of noise, so that no content draws the slope to itself.

    Of several inputs the largest picture is taken; the others stay what the first sample has.
    """
    leaves = [np.asarray(leaf[:1]) for leaf in keras.tree.flatten(batches[0].x)]
    pictures = [number for number, leaf in enumerate(leaves) if leaf.ndim == 4]
    if not pictures:
        raise Unavailable("no input of the model is a batch of images")
    largest = max(pictures, key=lambda number: leaves[number].size)
    given = leaves[largest].astype("float32")
    noise = np.random.default_rng(0).normal(given.mean(), given.std() or 1.0, given.shape).astype("float32")

    given_inputs = [keras.ops.convert_to_tensor(leaf) for leaf in leaves]

    def outputs_of(image: Any) -> list[Any]:
        inputs = [*given_inputs[:largest], keras.ops.convert_to_tensor(image), *given_inputs[largest + 1 :]]
        return keras.tree.flatten(model(keras.tree.pack_sequence_as(batches[0].x, inputs), training=False))

    found = {}
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Keras warns of here, a check says in full
        try:
            outputs = outputs_of(noise)
        except Exception as error:  # anything that anyone's model can raise; fit() raises the same
            raise Unavailable(f"the model cannot be called on these inputs ({raised(error).error})") from error
        for head in heads:
            shape = tuple(outputs[head.index].shape)
            look = partial(_at, outputs_of, head.index)
            if len(shape) == 4:
                found[head.name] = _of(model, look, noise, (int(shape[1]), int(shape[2])))
            elif len(shape) == 3 and shape[1] == noise.shape[1] * noise.shape[2]:  # pixels row by row
                found[head.name] = replace(_of(model, look, noise, noise.shape[1:3]), flat=True)
    return found


def _of(model: keras.Model, look: Look, image: np.ndarray, size: tuple[int, int]) -> Alignment:
    """As it is; where that looks far, the mean of it and of the network with all kernels turned by 180°.

    Kernels drawn at random lean to one side, a network without skip connections by several pixels. Turned, they lean to
    the other; a shift that the layers make stays.
    """
    seen = _once(look, image, size)
    if seen.largest <= _NEAR:
        return seen
    _turn_kernels(model)
    turned = _once(look, image, size)
    _turn_kernels(model)
    if len(turned.offsets) != len(seen.offsets):
        return seen
    offsets = np.mean([seen.offsets, turned.offsets], axis=0)
    spread, near = max(seen.spread, turned.spread), max(seen.near, turned.near)
    return replace(seen, offsets=tuple(map(tuple, offsets.tolist())), spread=spread, near=near)


def _turn_kernels(model: keras.Model) -> None:
    for layer in all_layers(model):
        if not isinstance(layer, _CONVOLUTIONS):
            continue
        for variable in layer.weights:
            if len(variable.shape) == 4:
                variable.assign(keras.ops.flip(variable.value, axis=(0, 1)))


def _once(look: Look, image: np.ndarray, size: tuple[int, int]) -> Alignment:
    height, width = image.shape[1:3]
    offsets, spreads, near = [], [], []
    for place in _PLACES:
        row, column = (min(int(place * length), length - 1) for length in size)
        _, slope = array_gradient(partial(look, row, column), image)
        weight = np.square(slope[0]).sum(axis=-1)
        weight = np.where(weight >= 0.1 * weight.max(), weight, 0.0)  # a branch that pools the image sees all of it
        if weight.sum() == 0 or not np.isfinite(weight).all():
            continue
        own = ((row + 0.5) * height / size[0] - 0.5, (column + 0.5) * width / size[1] - 0.5)
        centre = [
            float((weight.sum(axis=1 - axis) * np.arange(weight.shape[axis])).sum() / weight.sum()) for axis in (0, 1)
        ]
        offsets.append((centre[0] - own[0], centre[1] - own[1]))
        away = (np.arange(height)[:, None] - centre[0]) ** 2 + (np.arange(width) - centre[1]) ** 2
        rows, columns = (
            np.abs(np.arange(length) - at) <= _NEAR for length, at in zip((height, width), own, strict=True)
        )
        near.append(float(weight[np.ix_(rows, columns)].sum() / weight.sum()))
        spreads.append(float(np.sqrt((weight * away).sum() / weight.sum())))
    return Alignment(size, (height, width), tuple(offsets), max(spreads, default=0.0), near=max(near, default=1.0))


def _at(outputs_of: Callable[[Any], list[Any]], index: int, row: int, column: int, image: Any) -> Any:
    output = outputs_of(image)[index]
    pixel = output[:, row, column] if len(output.shape) == 4 else output[:, row * image.shape[2] + column]
    output = keras.ops.cast(pixel, "float32")
    signs = keras.ops.convert_to_tensor(np.cos(np.arange(output.shape[-1])).astype("float32"))
    return keras.ops.sum(output * signs)  # the plain sum of a soft-max is 1, whatever the image
