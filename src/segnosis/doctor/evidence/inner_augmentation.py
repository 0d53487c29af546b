"""What augmentation layers inside the model do to the images of the first batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.batches import as_tensors
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import images_of
from segnosis.doctor.listening import Enough, listening
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import untouched

PRICE = "batch"

_IMAGES = 32


@dataclass(frozen=True)
class InnerAugmentation:
    """One layer, in training against without.

    Attributes:
        layer: Its name.
        kind: Its class.
        images: Images that it was given.
        clipped: Share of pixels at the ends of the range, beyond what there is without training.
        burnt: Share of images of a single value, beyond what there is without.
        shift: How far it moves the mean of an image, in deviations of the image: the median over the images.
    """

    layer: str
    kind: str
    images: int
    clipped: float
    burnt: float
    shift: float


def measure(model: keras.Model, batches: Sequence[Batch]) -> tuple[InnerAugmentation, ...]:
    """Call the model on up to 32 images as in training; raises `Unavailable` where no layer changes images alone."""
    few = list(_few(batches))
    still, moving = _heard(model, few, training=False), _heard(model, few, training=True)
    both = {name: (layer, images, moving[name][1]) for name, (layer, images) in still.items() if name in moving}
    found = [_compared(layer, before, after) for layer, before, after in both.values() if before.shape == after.shape]
    if not found:
        raise Unavailable("no layer of the model augments its images")
    return tuple(found)


def _few(batches: Sequence[Batch]) -> Iterator[Batch]:
    count = 0
    for batch in batches:
        images = images_of(batch)
        if images is None or count >= _IMAGES:
            return
        count += len(images)
        yield batch


def _heard(model: keras.Model, batches: Sequence[Batch], training: bool) -> dict[str, tuple[Any, np.ndarray]]:
    """Layers before the first with weights to train, and the images behind each."""
    met: dict[str, tuple[Any, list[np.ndarray]]] = {}

    def note(layer: Any, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        is_leaf = not list(layer._flatten_layers(include_self=False))
        if is_leaf and layer.built and layer.trainable_weights:
            raise Enough
        output = call()
        if is_leaf and _augments(layer) and len(getattr(output, "shape", ())) == 4:
            met.setdefault(layer.name, (layer, []))[1].append(to_host(output))
        return output

    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for batch in batches:
            try:
                with listening(note):
                    model(as_tensors(batch.x), training=training)
            except Exception as error:  # whatever the model raises; the checks of its shapes say so
                raise Unavailable(f"the model raises {type(error).__name__}") from error
            if not met:
                break
    return {name: (layer, np.concatenate(images)) for name, (layer, images) in met.items()}


def _augments(layer: Any) -> bool:
    """Stock layers that draw at random, and any layer of the user's own."""
    return type(layer).__name__.startswith("Random") or not type(layer).__module__.startswith("keras.")


def _compared(layer: Any, before: np.ndarray, after: np.ndarray) -> InnerAugmentation:
    before, after = before.astype("float64"), after.astype("float64")
    axes = (1, 2, 3)
    constant = [np.ptp(images, axis=axes) == 0 for images in (before, after)]
    deviation = before.std(axis=axes) + 1e-9
    return InnerAugmentation(
        layer=layer.name,
        kind=type(layer).__name__,
        images=len(before),
        clipped=round(max(0.0, _at_ends(after) - _at_ends(before)), 4),
        burnt=round(max(0.0, float(constant[1].mean() - constant[0].mean())), 4),
        shift=round(float(np.median(np.abs(after.mean(axis=axes) - before.mean(axis=axes)) / deviation)), 4),
    )


def _at_ends(images: np.ndarray) -> float:
    """Share of pixels that hold the lowest or the highest value of all."""
    return float(np.mean((images == images.min()) | (images == images.max())))
