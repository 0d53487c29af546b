"""Where the loss pulls: its gradient with respect to each output of the model, on the first batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from segnosis.doctor.ask import Raised, ask_loss, loss_tensor, raised
from segnosis.doctor.autodiff import array_gradient
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.snapshot import untouched

PRICE = "gradient"


@dataclass(frozen=True)
class LossGradient:
    """The loss of one output at the model's own predictions.

    Attributes:
        values: The loss per batch.
        arrays: Its gradient per batch, in the shape of the output.
        raised: What the loss raised, else `None`.
        raised_by_values: Whether it no longer raises once values that are no class are class 0.
        flat: Whether the gradient of the last batch is finite where all pixels are predicted alike; `None` where it is
            not even so at the model's own predictions.
    """

    values: tuple[float, ...]
    arrays: tuple[np.ndarray, ...]
    raised: str | None = None
    raised_by_values: bool = False
    flat: bool | None = None


def measure(
    heads: Sequence[Head], encodings: Mapping[str, Encoding], forward: Mapping[str, Output]
) -> Mapping[str, LossGradient]:
    """Output name → value and gradient of its loss, for outputs that have a loss and a target."""
    found = {}
    with untouched(None), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN is an answer here
        for head in heads:
            if head.loss is not None and head.name in encodings and head.name in forward:
                found[head.name] = _of(head, encodings[head.name], forward[head.name])
    return found


def _of(head: Head, encoding: Encoding, output: Output) -> LossGradient:
    values: list[float] = []
    arrays: list[np.ndarray] = []
    for y, weight, y_pred in zip(encoding.arrays, encoding.weights, output.arrays, strict=False):
        keep = len(y_pred)
        kept_weight = None if weight is None else weight[:keep]
        ask = partial(_ask, head.loss, y[:keep], kept_weight)
        try:
            value, gradient = array_gradient(ask, y_pred)
        except Exception as error:  # anything that anyone's loss can raise; fit() raises the same
            clean = np.where(np.isin(y[:keep], list(encoding.no_class)), 0, y[:keep]).astype(y.dtype)
            if isinstance(ask_loss(head.loss, y[:keep], y_pred, kept_weight), Raised):
                blamed = not isinstance(ask_loss(head.loss, clean, y_pred, kept_weight), Raised)
            else:  # the value is fine, and what refuses is the way back
                blamed = not _raises(partial(_ask, head.loss, clean, kept_weight), y_pred)
            return LossGradient(tuple(values), tuple(arrays), raised(error).error, blamed)
        values.append(value)
        arrays.append(gradient)
    sound = bool(arrays) and all(np.isfinite(gradient).all() for gradient in arrays)
    return LossGradient(tuple(values), tuple(arrays), flat=_on_flat(ask, y_pred) if sound else None)


def _on_flat(ask: Callable[[Any], Any], y_pred: np.ndarray) -> bool:
    """Whether the gradient is finite where the mean prediction is given to all pixels."""
    level = y_pred.mean(axis=tuple(range(y_pred.ndim - 1)), dtype="float64").astype(y_pred.dtype)
    return bool(np.isfinite(array_gradient(ask, np.broadcast_to(level, y_pred.shape).copy())[1]).all())


def _raises(ask: Callable[[Any], Any], y_pred: np.ndarray) -> bool:
    """Whether the gradient raises."""
    try:
        array_gradient(ask, y_pred)
    except Exception:  # what it is has been told already, of the targets as they are
        return True
    return False


def _ask(loss: Any, y: np.ndarray, weight: np.ndarray | None, y_pred: Any) -> Any:
    return loss_tensor(loss, y, y_pred, weight)
