"""Looking into Keras' legacy image generators: the arrays or files they were given, and what they do to them."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from keras.src.legacy.preprocessing.image import BatchFromFilesMixin, NumpyArrayIterator
from keras.src.legacy.preprocessing.image import Iterator as Flow

from segnosis.doctor.case import pairs_from_arrays
from segnosis.doctor.stored import stored_pairs

_MOST = 256


def legacy_fields(data: Any) -> dict[str, Any]:
    """Fields of a `Case` that legacy iterators inside `data` tell: `pairs` before, and `augment`.

    Args:
        data: What `fit` was given: one `ImageDataGenerator.flow(x, y)`, or a zip or generator over a flow of images
            and a flow of masks, from arrays, from folders (`flow_from_directory`) or from a table of files.

    Returns:
        `{}` when there is no such iterator inside.
    """
    if isinstance(data, NumpyArrayIterator):
        if data.y is None or np.ndim(data.y) < 3:
            return {}
        return {"pairs": _pairs(data.x, data.y), "augment": _image_alone(data)}
    flows = _flows(data)
    if len(flows) != 2:
        return {}
    images, masks = flows
    pairs = _stored(images, masks)
    return {} if pairs is None else {"pairs": pairs, "augment": _both(images, masks)}


def _flows(data: Any, depth: int = 3) -> list[Flow]:
    """Iterators inside a zip, or inside a generator's variables, in the order they are held."""
    if isinstance(data, Flow):
        return [data]
    if depth == 0:
        return []
    parts: list[Any] = []
    if isinstance(data, zip):
        parts = list(data.__reduce__()[1])
    elif isinstance(data, types.GeneratorType):
        frame = data.gi_frame
        parts = list(frame.f_locals.values()) if frame is not None else []
    found: list[Flow] = []
    for part in parts:
        found += [flow for flow in _flows(part, depth - 1) if all(flow is not other for other in found)]
    return found


def _stored(images: Flow, masks: Flow) -> Any:
    """Pairs in the order of both flows, as they lie in memory or on disk; `None` when they lie in different places."""
    if isinstance(images, NumpyArrayIterator) and isinstance(masks, NumpyArrayIterator):
        return _pairs(images.x, masks.x)
    if isinstance(images, BatchFromFilesMixin) and isinstance(masks, BatchFromFilesMixin):
        count = min(len(images.filepaths), len(masks.filepaths), _MOST)
        return stored_pairs((images.filepaths[:count], masks.filepaths[:count]))
    return None


def _pairs(images: np.ndarray, masks: np.ndarray) -> Any:
    count = min(len(images), len(masks), _MOST)
    return pairs_from_arrays(images[:count], masks[:count])


def _image_alone(flow: Flow) -> Callable[..., Any]:
    """`flow(x, y)` transforms `x`; `y` comes out as it went in."""
    generator = copy.copy(flow.image_data_generator)

    def augment(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _moved(generator, image), mask

    return augment


def _both(images: Flow, masks: Flow) -> Callable[..., Any]:
    """Two flows move image and mask alike only when both draw from the same seed."""
    turn = iter(range(1 << 31))

    def augment(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        step = next(turn)
        moved = []
        for flow, array in ((images, image), (masks, mask)):
            if flow.seed is not None:
                np.random.seed(flow.seed + step)
            flat = array.ndim == 2
            out = _moved(flow.image_data_generator, array[..., None] if flat else array)
            moved.append(out[..., 0] if flat else out)
        return moved[0], moved[1]

    return augment


def _moved(generator: Any, image: np.ndarray) -> np.ndarray:
    """The generator's geometry and brightness on one image, without its rescaling and standardisation."""
    moved: np.ndarray = generator.random_transform(np.asarray(image, "float32"))
    return moved
