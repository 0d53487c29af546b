"""How a batch lies on several devices, of one process or of many; only the JAX backend trains on more than one.

The step is one program over all devices: every device has all weights and an equal part of the batch, and what needs
the whole batch (the loss, BatchNormalization's statistics, the gradient) is computed over the whole. So the numbers are
those of one device with the same batch, up to the order of sums. A batch that cannot be divided equally, as the last of
an epoch, is computed as a whole on every device: as right, no faster.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from segnosis.data.share import Share
from segnosis.training import processes
from segnosis.training.machine import devices
from segnosis.training.recorder import TwoTermModel


def share() -> Share:
    """The part of every batch that is this process' own; processes have equally many devices, and JAX counts them
    process by process."""
    own = devices() // processes.count()
    return Share(processes.launched()[0] * own, own, devices())


def begin() -> None:
    """From here on models are made on all devices."""
    if devices() > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))


def says(batch_size: int) -> str:
    """How a batch lies on the devices, in words."""
    number, part = devices(), batch_size / devices()
    there = f"{number} devices in {processes.count()} processes" if processes.count() > 1 else f"{number} devices"
    if batch_size % number:
        return f"{batch_size} samples a batch are no multiple of {there}: each of them computes the whole batch"
    return f"{there} compute {part:.0f} samples of every batch each"


def end() -> None:
    """From here on models are made on one device of this process."""
    if devices() > 1:
        keras.distribution.set_distribution(None)


def copied(fresh: keras.Model, network: keras.Model) -> keras.Model:
    """`fresh`, made on one device, with the values of `network`, which lies on many."""
    for variable, value in zip(fresh.variables, network.variables, strict=True):
        variable.assign(keras.ops.convert_to_numpy(value))
    return fresh


def _laid(tensor: Any, *, split: bool) -> Any:
    """The tensor with its rows split among the devices, or whole on every device."""
    layout = keras.distribution.distribution()
    axes = [layout.batch_dim_name if split else None, *[None] * (len(tensor.shape) - 1)]
    return keras.distribution.distribute_tensor(tensor, keras.distribution.TensorLayout(axes, layout.device_mesh))


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])


class Shared(keras.utils.PyDataset):
    """The batches of a feed that makes a share of each, in equal parts, with the size of the whole.

    Keras divides every batch like the first one. So what is missing is filled with zeros, which the step takes off
    again: a third array beside x and y has a row for each device and a column for each true sample.
    """

    def __init__(self, feed: Any, own: Share) -> None:
        super().__init__(workers=1)
        self.feed, self.share = feed, own

    def __len__(self) -> int:
        return len(self.feed)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        samples = self.feed.samples_in(index)
        rows = self.share.own * self.share.part(samples)
        x, y = self.feed[index]
        return _padded(x, rows), _padded(y, rows), np.zeros((self.share.own, samples), np.int8)

    def on_epoch_begin(self) -> None:
        """Pass it on."""
        self.feed.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Pass it on."""
        self.feed.on_epoch_end()


class ShardedModel(TwoTermModel):
    """A model on all devices; it fits on feeds that make this process' share of every batch."""

    def fit(self, x: Any, **settings: Any) -> Any:
        """Keras' fit."""
        return super().fit(Shared(x, share()), **settings)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss; the third array of a batch is no weight."""
        return super().compute_loss(x=x, y=y, y_pred=y_pred, training=training)

    def train_step(self, state: Any, data: Any) -> Any:
        """JAX' step, on the true samples of a batch."""
        x, y, columns = data
        samples = columns.shape[1]
        if samples < len(x):
            x, y = (_laid(rows[:samples], split=False) for rows in (x, y))
        return super().train_step(state, (x, y))

    def predict_step(self, state: Any, data: Any) -> Any:
        """JAX' step; its outputs are whole in every process."""
        outputs, state = super().predict_step(state, (_laid(data[0], split=True),))
        return keras.tree.map_structure(lambda output: _laid(output, split=False), outputs), state

    def predict_on_batch(self, x: np.ndarray) -> Any:
        """Outputs for a batch that every process has whole."""
        filled = _padded(x, -(-len(x) // devices()) * devices())
        return keras.tree.map_structure(lambda output: output[: len(x)], super().predict_on_batch(filled))
