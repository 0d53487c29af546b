"""The user's augmentation as one function of an image and its mask, in whichever form it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from segnosis.doctor.random_state import to_host

JointAugmentation = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def joint_augmentation(augment: Any) -> JointAugmentation | None:
    """A callable `(image, mask) -> (image, mask)` of host arrays.

    Args:
        augment: A callable of an image `(height, width, channels)` and a mask `(height, width)` or
            `(height, width, channels)`; or a Keras layer, which gets both as `{"images", "segmentation_masks"}` if it
            can take them, and else changes the image alone, as it does in the user's pipeline.

    Example:
        >>> flip = joint_augmentation(lambda image, mask: (image[::-1], mask[::-1]))
        >>> flip(np.eye(2)[..., None], np.eye(2))[1].tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    if augment is None:
        return None
    if isinstance(augment, keras.layers.Layer):
        return lambda image, mask: _through_layer(augment, image, mask)
    return lambda image, mask: _both(augment(image, mask))


def _both(result: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(result, dict):  # as albumentations returns it
        result = result["image"], result["mask"]
    image, mask = result
    return to_host(image), to_host(mask)


def _through_layer(layer: keras.layers.Layer, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = mask.ndim == 2
    batch = {"images": image[None], "segmentation_masks": (mask[..., None] if flat else mask)[None]}
    try:
        out = layer(batch, training=True)
        changed, moved = to_host(out["images"])[0], to_host(out["segmentation_masks"])[0]
    except (TypeError, ValueError, KeyError, AttributeError):  # it knows images only
        return to_host(layer(image[None], training=True))[0], mask
    return changed, moved[..., 0] if flat else moved
