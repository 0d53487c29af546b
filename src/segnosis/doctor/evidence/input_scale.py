"""What the scale of the images does to the first step: one batch through the model, as it comes and standardized."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import Raised, ask_loss, raised
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.forward import few
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.snapshot import untouched

PRICE = "batch"


@dataclass(frozen=True)
class InputScale:
    """One batch, twice, in training mode.

    Attributes:
        loss: Loss of the first output on the batch as it comes, `None` when it raised.
        loss_standardized: On the batch with mean 0 and deviation 1.
        deviation: Standard deviation of that output.
        deviation_standardized: The same for the standardized batch.
        extreme: Share of its values within 0.001 of 0 or 1, for probabilities.
        extreme_standardized: The same for the standardized batch.
    """

    loss: float | None
    loss_standardized: float | None
    deviation: float
    deviation_standardized: float
    extreme: float
    extreme_standardized: float


def measure(model: keras.Model, heads: Sequence[Head], batches: Sequence[Batch]) -> InputScale:
    """For models with one image input."""
    batch = few(batches[0], model)
    if len(keras.tree.flatten(batch.x)) != 1:
        raise Unavailable("the model has several inputs")
    x = np.asarray(keras.tree.flatten(batch.x)[0], "float32")[:8]
    spread = x.std() or 1.0
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow is an answer here
        found = [_one(model, heads[0], part, batch) for part in (x, (x - x.mean()) / spread)]
    return InputScale(*(value for pair in zip(*found, strict=True) for value in pair))


def _one(model: keras.Model, head: Head, x: np.ndarray, batch: Batch) -> tuple[float | None, float, float]:
    try:
        outputs: Any = model(keras.ops.convert_to_tensor(x), training=True)
    except Exception as error:  # anything that anyone's model can raise; fit() raises the same
        raise Unavailable(f"the model cannot be called on these inputs ({raised(error).error})") from error
    y_pred = np.asarray(keras.ops.convert_to_numpy(keras.tree.flatten(outputs)[head.index]), "float32")
    target, loss = head.pick(batch.y), None
    if head.loss is not None and target is not None:
        value = ask_loss(head.loss, np.asarray(target)[: len(x)], y_pred)
        loss = None if isinstance(value, Raised) else value
    inside = y_pred.min() >= 0 and y_pred.max() <= 1
    extreme = float(np.mean((y_pred < 1e-3) | (y_pred > 1 - 1e-3))) if inside else 0.0
    return loss, float(y_pred.reshape(-1, y_pred.shape[-1]).std(axis=0).mean()), extreme
