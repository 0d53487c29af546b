"""Asking a user's loss or metric a question: a number comes back, or what it raised, never an exception."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.packed import Packed


@dataclass(frozen=True)
class Raised:
    """What a user's function raised; `fit()` would raise the same.

    Attributes:
        error: Type and first line of the message.
    """

    error: str


def loss_tensor(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
    """The loss as a scalar tensor, as `fit` takes it."""
    weight = None if sample_weight is None else keras.ops.convert_to_tensor(sample_weight)
    # maps are packed beside masks outside of any trace: a traced constant has no values to know a mask by
    target = y_true if isinstance(loss, Packed) else keras.ops.convert_to_tensor(y_true)
    value = loss(target, y_pred, weight)
    return keras.ops.mean(keras.ops.cast(value, "float32"))


def ask_loss(loss: Any, y_true: np.ndarray, y_pred: np.ndarray, sample_weight: Any = None) -> float | Raised:
    """Value of a Keras loss on arrays.

    Example:
        >>> ask_loss(keras.losses.MeanSquaredError(), np.ones((1, 2)), np.zeros((1, 2)))
        1.0
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN and the like are the answer here
        try:
            tensor = keras.ops.convert_to_tensor(np.asarray(y_pred, keras.config.floatx()))
            return float(keras.ops.convert_to_numpy(loss_tensor(loss, y_true, tensor, sample_weight)))
        except Exception as error:  # anything that anyone's loss can raise
            return raised(error)


def ask_metric(metric: Any, y_true: np.ndarray, y_pred: np.ndarray) -> float | Raised:
    """Result of a Keras metric on arrays, averaged if it is several; what it had counted before is put back."""
    kept = [(variable, keras.ops.convert_to_numpy(variable.value).copy()) for variable in metric.variables]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            metric.reset_state()
            metric.update_state(
                keras.ops.convert_to_tensor(y_true),
                keras.ops.convert_to_tensor(np.asarray(y_pred, keras.config.floatx())),
            )
            result = [keras.ops.convert_to_numpy(part) for part in keras.tree.flatten(metric.result())]
            return float(np.mean([np.mean(part) for part in result]))
        except Exception as error:  # anything that anyone's metric can raise
            return raised(error)
        finally:
            for variable, value in kept:
                variable.assign(value)


def raised(error: Exception) -> Raised:
    """`error` in one line."""
    text = re.sub(r"\{\{.*?\}\} ?", "", str(error)).strip()  # TensorFlow's node names say nothing to a person
    return Raised(f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"[:160])
