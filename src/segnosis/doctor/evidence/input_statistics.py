"""What numbers reach the network: the images as the pipeline gives them, and behind the model's own scaling layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import images_of
from segnosis.doctor.graph import all_layers, beginning, has_kernels
from segnosis.doctor.listening import listening
from segnosis.doctor.snapshot import untouched

PRICE = "data"

_NORMALIZERS = (
    keras.layers.Normalization,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
)
_SCALERS = (*_NORMALIZERS, keras.layers.Rescaling)
_IMAGES = 32
_HEARD = 8


@dataclass(frozen=True)
class Range:
    """Numbers of a set of images.

    Attributes:
        low, high: Smallest and largest value.
        inner: Width between the 0.5th and the 99.5th percentile.
        mean, deviation: Per channel, over all pixels.
        shape: Of one image.
        dtype: As given.
        each: Mean of every image's channels, `(images, channels)`.
        units: How many times as high the bright pixels (99th percentile) of one image in ten are as those of another;
            1 where nothing bright is above 0.
    """

    low: float
    high: float
    inner: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    shape: tuple[int, ...]
    dtype: str
    each: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)), compare=False)
    units: float = 1.0

    @property
    def spread(self) -> float:
        """Mean deviation over the channels."""
        return float(np.mean(self.deviation))


@dataclass(frozen=True)
class InputStatistics:
    """Images of training and validation, and what the model does with them first.

    Attributes:
        train: As the training pipeline gives them.
        validation: As the validation pipeline does, or `None`.
        arriving: The training images at the first layer with kernels; `None` when the graph is unknown.
        scalers: Names of the layers before it that rescale or normalize, in order.
        rescaling: Product of the factors of the `Rescaling` layers before it.
        normalized: Whether a normalization layer stands before the first non-linear activation.
        known: Whether the beginning of the graph could be read.
    """

    train: Range
    validation: Range | None
    arriving: Range | None
    scalers: tuple[str, ...]
    rescaling: float
    normalized: bool
    known: bool


def measure(
    batches: Sequence[Batch], validation_batches: Sequence[Batch] | None = None, model: keras.Model | None = None
) -> InputStatistics:
    """On up to 32 images per pipeline, spread over the batches."""
    images = _some(batches)
    if images is None:
        raise Unavailable("no input of the model is a batch of images")
    held_out = _some(validation_batches) if validation_batches else None
    first = beginning(model) if model is not None else []
    before = [layer for layer in first if not has_kernels(layer)]
    arriving = _through(before, images, model) if first else None
    if model is not None and not first:
        first, arriving = _heard(model, images)
        before = [layer for layer in first if not has_kernels(layer)]
    return InputStatistics(
        train=_range(images),
        validation=None if held_out is None else _range(held_out),
        arriving=None if arriving is None else _range(arriving),
        scalers=tuple(layer.name for layer in first if isinstance(layer, _SCALERS)),
        rescaling=float(
            np.prod([np.mean(layer.scale) for layer in before if isinstance(layer, keras.layers.Rescaling)] or [1.0])
        ),
        normalized=_normalized(model, first),
        known=bool(first),
    )


def _some(batches: Sequence[Batch]) -> np.ndarray | None:
    found, per_batch = [], max(1, _IMAGES // max(1, len(batches)))
    for batch in list(batches)[:_IMAGES]:
        images = images_of(batch)
        if images is not None:
            found.append(images[:per_batch])
    if not found or len({images.shape[1:] for images in found}) > 1:
        return found[0] if found else None
    return np.concatenate(found)[:_IMAGES]


def _range(images: np.ndarray) -> Range:
    values = images.astype("float64")
    values = np.where(np.isfinite(values), values, 0.0)
    thin = values.ravel()[:: max(1, values.size // 500_000)]
    low, high = np.percentile(thin, [0.5, 99.5])
    pixels = values.reshape(-1, values.shape[-1])
    return Range(
        float(values.min()),
        float(values.max()),
        float(high - low),
        tuple(float(value) for value in pixels.mean(axis=0)),
        tuple(float(value) for value in pixels.std(axis=0)),
        tuple(images.shape[1:]),
        str(images.dtype),
        values.reshape(len(values), -1, values.shape[-1]).mean(axis=1),
        _units(values),
    )


def _units(images: np.ndarray) -> float:
    bright = np.percentile(images.reshape(len(images), -1), 99, axis=1)
    low, high = np.percentile(bright, [10, 90])
    return float(high / low) if low > 0 else 1.0


def _through(layers: Sequence[Any], images: np.ndarray, model: keras.Model | None) -> np.ndarray | None:
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensor = keras.ops.convert_to_tensor(images.astype("float32"))
        for layer in layers:
            try:
                tensor = layer(tensor, training=False) if _takes_training(layer) else layer(tensor)
            except Exception:  # an operation with further arguments: what arrives behind it stays unknown
                return None
        out = np.asarray(keras.ops.convert_to_numpy(tensor))
    return out if out.ndim == 4 else None


def _heard(model: keras.Model, images: np.ndarray) -> tuple[list[Any], np.ndarray | None]:
    """Layers without layers inside up to the first that has kernels, and what that one gets."""
    met: list[Any] = []
    arriving: list[Any] = []

    def note(layer: Any, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        if not arriving and not list(layer._flatten_layers(include_self=False)):
            met.append(layer)
            if has_kernels(layer) and args and len(args[0].shape) == 4:
                arriving.append(args[0])
        return call()

    with untouched(model), warnings.catch_warnings(), listening(note):
        warnings.simplefilter("ignore")
        try:
            model(keras.ops.convert_to_tensor(images[:_HEARD].astype("float32")), training=False)
        except Exception:  # a `call` that wants more than images: what arrives stays unknown
            return [], None
    if not arriving:
        return [], None
    return met, np.asarray(keras.ops.convert_to_numpy(arriving[0]))


def _takes_training(layer: Any) -> bool:
    return bool(getattr(layer, "_call_has_training_arg", False))


def _normalized(model: keras.Model | None, first: Sequence[Any]) -> bool:
    """A normalization right behind the first convolution scales its input away as well as one before it."""
    if model is None:
        return False
    if any(isinstance(layer, _NORMALIZERS) for layer in first):
        return True
    weighted = [layer for layer in all_layers(model) if layer.weights]
    first_two = weighted[:2]
    plain = [layer for layer in first_two[:1] if getattr(layer, "activation", None) in (None, keras.activations.linear)]
    return any(isinstance(layer, _NORMALIZERS) for layer in (first_two if plain else first_two[:1]))
