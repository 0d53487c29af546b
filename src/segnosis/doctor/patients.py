"""Parts that checks build their smallest sick and healthy patients of: a two-layer network and a few drawn squares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segnosis.doctor.case import Batch

if TYPE_CHECKING:
    import keras

Encoding = Literal["ids", "one-hot", "binary"]


def segmenter(
    channels: int = 3,
    activation: Any = None,
    *,
    before: Sequence[keras.layers.Layer] = (),
    after: Sequence[keras.layers.Layer] = (),
    l2: float = 0.0,
    size: int = 16,
    image_channels: int = 1,
) -> keras.Model:
    """Two convolutions, seeded.

    Args:
        channels: Channels of the head.
        activation: Activation of the head.
        before: Layers between the input and the first convolution.
        after: Layers behind the head.
        l2: Weight decay of both kernels.
        size: Height and width.
        image_channels: Channels of the image.
    """
    import keras  # checks of files alone have no need of it

    regularizer = keras.regularizers.L2(l2) if l2 else None
    first, last = (keras.initializers.HeNormal(seed=seed) for seed in (1, 2))
    convolution = keras.layers.Conv2D(
        8,
        3,
        padding="same",
        activation="relu",
        kernel_initializer=first,
        kernel_regularizer=regularizer,
        name="encoder_conv",
    )
    head = keras.layers.Conv2D(
        channels, 1, activation=activation, kernel_initializer=last, kernel_regularizer=regularizer, name="head"
    )
    image = keras.Input((size, size, image_channels), name="image")
    return keras.Sequential([image, *before, convolution, head, *after])


def without_a_graph(inner: keras.Model, then: Callable[[Any], Any]) -> keras.Model:
    """A model of one's own class that does something to what another says: no graph tells what."""
    import keras

    class Network(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def call(self, x: Any) -> Any:
            return then(self.inner(x))

    network = Network()
    network(np.zeros((1, *inner.input_shape[1:]), "float32"))
    return network


def squares(
    encoding: Encoding = "ids",
    *,
    num_classes: int = 3,
    scale: float = 1.0,
    foreground: float = 0.25,
    void: float | None = None,
    count: int = 2,
    empty: bool = False,
    image_channels: int = 1,
    size: int = 16,
) -> tuple[Batch, ...]:
    """Batches of four images with one bright square per foreground class on noise.

    Args:
        encoding: How the masks are written.
        num_classes: Classes with background.
        scale: Factor on images in 0 … 1.
        foreground: Share of the image's side that a square takes, at most 1 / `num_classes` of it fits side by side.
        void: Value of a frame of two pixels around every mask that is no class; `None` for no frame.
        count: Number of batches.
        empty: Whether half of the images have no foreground.
        image_channels: Channels of the image.
        size: Height and width.
    """
    random = np.random.default_rng(0)
    batches = []
    for _ in range(count):
        masks = np.zeros((4, size, size), "int32")
        for i, mask in enumerate(masks):
            if empty and i % 2:
                continue
            side = max(1, int(size * foreground))
            for class_id in range(1, num_classes):
                top, left = random.integers(2, size - side - 1, 2)
                mask[top : top + side, left : left + side] = class_id
        images = 0.2 * random.random((4, size, size, image_channels)) + 0.8 * masks[..., None] / (num_classes - 1)
        if void is not None:
            masks[:, :2] = masks[:, -2:] = masks[:, :, :2] = masks[:, :, -2:] = int(void)
        target = {
            "ids": lambda m=masks: m,
            "binary": lambda m=masks: m[..., None].astype("float32"),
            "one-hot": lambda m=masks: (m[..., None] == np.arange(num_classes)).astype("float32"),
        }[encoding]()
        batches.append(Batch((scale * images).astype("float32"), target))
    return tuple(batches)
