"""The samples of a pipeline's batches, as pairs: what a scan of files sees, it can see after the pipeline too.

A volume is represented by one of its slices, across its first axis unless said: the one whose mask says most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch


def images_of(batch: Batch, across: int = 0) -> np.ndarray | None:
    """The images of a batch, `(batch, height, width, channels)`: its largest input that can be one."""
    arrays = [np.asarray(leaf) for leaf in leaves(batch.x)]
    arrays = [array for array in arrays if array.ndim in (3, 4, 5) and array.dtype.kind in "uifb"]
    if not arrays:
        return None
    image = max(arrays, key=lambda array: array.size)
    if image.ndim == 5:
        return _slices(image, batch, across)
    if image.ndim == 3:
        return image[..., None]
    return _channels_last(image)


def targets_of(batch: Batch, heads: Sequence[Any] | None = None, across: int = 0) -> np.ndarray | None:
    """The masks of a batch, `(batch, height, width)` or `(batch, height, width, planes)`.

    Of several outputs the largest target is taken, one of classes before one of measures such as a distance. Weights
    that are packed beside it, for a loss of one's own to take apart, are left out. Targets flattened to
    `(batch, pixels[, classes])` get the shape of the images back where the number of pixels fits.
    """
    target = batch.y
    if heads:
        picked = [item for item in (head.pick(target) for head in heads) if item is not None]
        target = picked or target
    arrays = [np.asarray(leaf) for leaf in leaves(target) if leaf is not None]
    arrays = [_unflattened(_slices(array, batch, across), batch) for array in arrays if array.dtype.kind in "uifb"]
    arrays = [_channels_last(array) for array in arrays if array.ndim in (3, 4)]
    return max(arrays, key=lambda array: (_is_whole(array), array.size), default=None)


def _is_whole(array: np.ndarray) -> bool:
    part = array[:, ::4, ::4]
    return bool(array.dtype.kind in "uib" or np.array_equal(part, np.round(part)))


def pairs_of(
    batches: Sequence[Batch], heads: Sequence[Any] | None = None, split: str = "train", across: int = 0
) -> Iterator[Pair]:
    """Every sample of `batches` as a pair, named by its batch and row; volumes are cut `across` one of their axes."""
    for number, batch in enumerate(batches):
        images, masks = _seen_together(batch, across), targets_of(batch, heads, across)
        rows = len(images) if images is not None else len(masks) if masks is not None else 0
        for row in range(rows):
            name = f"batch {number}, sample {row}" if split == "train" else f"{split} batch {number}, sample {row}"
            image = images[row] if images is not None else None
            mask = masks[row] if masks is not None and row < len(masks) else None
            yield Pair(image, mask, id=name, group=name, split=split)


def middles_of(pairs: Sequence[Pair]) -> list[Pair] | None:
    """The images cut to the size of their smaller masks, as when borders are cut off; `None` where no mask is smaller.

    Whether smaller masks were scaled down or are those of a middle, their sizes do not say: look at both.
    """
    if not any(map(_is_smaller, pairs)):
        return None
    return [_middle(pair) for pair in pairs]


def _is_smaller(pair: Pair) -> bool:
    if pair.image is None or pair.mask is None:
        return False
    sizes = list(zip(pair.image.shape[:2], pair.mask.shape[:2], strict=True))
    return all(mask <= image for image, mask in sizes) and any(mask < image for image, mask in sizes)


def _middle(pair: Pair) -> Pair:
    if not _is_smaller(pair) or pair.image is None or pair.mask is None:
        return pair
    starts = [(image - mask) // 2 for image, mask in zip(pair.image.shape[:2], pair.mask.shape[:2], strict=True)]
    rows, columns = (slice(start, start + size) for start, size in zip(starts, pair.mask.shape[:2], strict=True))
    return replace(pair, image=pair.image[rows, columns])


def _seen_together(batch: Batch, across: int) -> np.ndarray | None:
    """`images_of`; of several inputs of one size, such as two dates, a channel each and how the first two differ."""
    first = images_of(batch, across)
    if first is None:
        return None
    alike = [leaf for leaf in map(np.asarray, leaves(batch.x)) if leaf.ndim == 4 and leaf.dtype.kind in "uifb"]
    alike = [leaf for leaf in map(_channels_last, alike) if leaf.shape == first.shape]
    if len(alike) < 2:
        return first
    planes = [leaf.mean(-1, dtype="float32") for leaf in alike]
    return np.stack([np.abs(planes[0] - planes[1]), *planes], -1)


def _slices(array: np.ndarray, batch: Batch, across: int) -> np.ndarray:
    """Of volumes `(batch, depth, height, width, …)` the slice of each whose mask varies most; else the array itself."""
    volumes = [np.shape(leaf) for leaf in leaves(batch.x) if np.ndim(leaf) == 5]
    if not volumes or array.shape[:4] != volumes[0][:4]:
        return array
    array = np.moveaxis(array, 1 + across, 1)
    masks = [np.asarray(leaf) for leaf in leaves(batch.y) if leaf is not None and np.shape(leaf)[:4] == array.shape[:4]]
    if masks and masks[0].size:
        mask = masks[0].argmax(-1) if masks[0].ndim == 5 and masks[0].shape[-1] > 1 else masks[0]
        mask = np.moveaxis(mask, 1 + across, 1)
        chosen = mask.reshape(*mask.shape[:2], -1).std(axis=-1, dtype="float32").argmax(axis=1)
    else:
        chosen = np.full(len(array), array.shape[1] // 2)
    return array[np.arange(len(array)), chosen]


def _channels_last(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4 and _channels_first():
        return np.moveaxis(array, 1, -1)
    return array


def _unflattened(array: np.ndarray, batch: Batch) -> np.ndarray:
    if array.ndim not in (2, 3):
        return array
    images = images_of(batch)
    if images is None or (array.ndim == 3 and array.shape[1:] == images.shape[1:3]):
        return array
    height, width = images.shape[1:3]
    if array.shape[1] == height * width:
        return array.reshape(len(array), height, width, *array.shape[2:])
    return array


def leaves(structure: Any) -> list[Any]:
    """The arrays of a structure."""
    import keras  # only here and below: checking files needs no Keras

    return list(keras.tree.flatten(structure))


def _channels_first() -> bool:
    import keras

    return bool(keras.config.image_data_format() == "channels_first")
