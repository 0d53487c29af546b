"""Batches on their way into TensorFlow's `fit`, without the autotuner of tf.data.

Keras puts every `PyDataset` into an autotuned pipeline. Its tuner sleeps longer and longer, up to a minute, and can
miss that the epoch is over: `fit` then returns only when it has slept enough. Three of ten epochs lost most of
their own length that way (Keras 3.15 on TensorFlow 2). There is nothing to tune here: the feed works ahead by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

_AHEAD = 2
"""Batches that TensorFlow copies while a step runs."""


def fed(batches: Any) -> tuple[Any, list[keras.callbacks.Callback]]:
    """What `fit` takes in place of `batches`, and the callbacks that belong to it: a stream on TensorFlow alone."""
    if keras.backend.backend() != "tensorflow":
        return batches, []
    return stream(batches), [Epochs(batches)]


def stream(batches: Any) -> Any:
    """The batches of one epoch as a `tf.data.Dataset`, in their order.

    Args:
        batches: `keras.utils.PyDataset` of tuples of arrays.
    """
    import tensorflow as tf  # what `fit` takes instead of a PyDataset on this backend

    def one_by_one() -> Iterator[Any]:
        for index in range(len(batches)):
            yield batches[index]

    kinds = tuple(tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in batches[0])
    options = tf.data.Options()
    options.autotune.enabled = False
    made = tf.data.Dataset.from_generator(one_by_one, output_signature=kinds)
    return made.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(_AHEAD).with_options(options)


class Epochs(keras.callbacks.Callback):
    """Tells batches that an epoch begins and ends, as Keras does where it knows that they are a `PyDataset`."""

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Pass it on."""
        self.batches.on_epoch_begin()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Pass it on."""
        self.batches.on_epoch_end()
