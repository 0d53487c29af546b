"""Batches on their way into TensorFlow: the same ones in the same order, and no epoch that ends late."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from segnosis.losses import CrossEntropy
from segnosis.training.faster import FasterModel
from segnosis.training.stream import stream

pytestmark = pytest.mark.one_backend


class Numbered(keras.utils.PyDataset):
    """Seven batches, the last one small; each holds its own number."""

    def __init__(self) -> None:
        super().__init__(workers=1)
        self.heard: list[str] = []

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = 3 if index == 6 else 4
        return np.full((rows, 4, 4, 1), index, np.float32), np.zeros((rows, 4, 4), np.int32)

    def on_epoch_begin(self) -> None:
        self.heard.append("begins")

    def on_epoch_end(self) -> None:
        self.heard.append("ends")


def test_all_batches_come_in_their_order() -> None:
    found = [(x.numpy(), y.numpy()) for x, y in stream(Numbered())]
    for (x, y), (true_x, true_y) in zip(found, (Numbered()[k] for k in range(7)), strict=True):
        np.testing.assert_array_equal(x, true_x)
        assert y.dtype == np.int32 and y.shape == true_y.shape


def test_no_thread_tunes_it() -> None:
    # The tuner of tf.data is what held `fit` up at the end of an epoch.
    assert stream(Numbered()).options().autotune.enabled is False


def test_fit_trains_on_each_batch_once_and_tells_where_an_epoch_begins_and_ends() -> None:
    image = keras.Input((4, 4, 1))
    model = FasterModel(image, keras.layers.Conv2D(2, 1)(image))
    model.compile("sgd", CrossEntropy(), jit_compile=False)
    seen: list[str] = []

    class Listening(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            seen.append(batches.heard[-1])

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            seen.append(batches.heard[-1])

    batches = Numbered()
    model.fit(batches, epochs=1, callbacks=[Listening()], verbose=0, shuffle=False)
    assert seen == ["begins"] * 7 + ["ends"] and batches.heard == ["begins", "ends"]
