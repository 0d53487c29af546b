"""What a first step would do: gradients of the data loss and of the regularization, per trainable variable."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import loss_tensor, raised
from segnosis.doctor.autodiff import ModelGradients, model_gradients
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.forward import MAX_BATCHES, few
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.graph import goes_around
from segnosis.doctor.snapshot import untouched

PRICE = "gradient"

_PATIENCE = 12.0  # seconds, after which no further batch is begun


@dataclass(frozen=True)
class Slope:
    """One trainable variable.

    Attributes:
        path: Keras' path of the variable, `encoder1_conv1/kernel`.
        size: Number of weights.
        weight: Root mean square of its weights.
        data: Root mean square of the data loss' gradient, the largest over the batches; `None` without any path.
        penalty: The same of the regularization.
    """

    path: str
    size: int
    weight: float
    data: float | None
    penalty: float | None


@dataclass(frozen=True)
class Gradients:
    """All of it.

    Attributes:
        slopes: Per trainable variable, in the model's order.
        losses: Data loss per batch.
        penalty: Regularization and other added losses, as at the start.
        data_norm: Norm of the data loss' gradient, mean over the batches.
        penalty_norm: Norm of the regularization's gradient.
        finite: Whether every gradient is.
        first_is_avoidable: Whether outputs see inputs past the first trainable kernel too.
    """

    slopes: tuple[Slope, ...]
    losses: tuple[float, ...]
    penalty: float
    data_norm: float
    penalty_norm: float
    finite: bool
    first_is_avoidable: bool = False


def measure(model: keras.Model, heads: Sequence[Head], batches: Sequence[Batch]) -> Gradients:
    """Up to three batches in training mode; weights, statistics and seeds are put back."""
    judged = [head for head in heads if head.loss is not None]
    if not judged:
        raise Unavailable("no loss was given")
    if not model.trainable_variables:
        raise Unavailable("no weight of the model is trainable")
    found: list[ModelGradients] = []
    start = time.perf_counter()
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN is an answer here
        for batch in list(batches)[:MAX_BATCHES]:
            try:
                found.append(_one(model, judged, few(batch, model)))
            except Exception as error:  # anything that anyone's model or loss can raise; fit() raises the same
                raise Unavailable(f"a training step raises ({raised(error).error})") from error
            if time.perf_counter() - start > _PATIENCE:
                break
        weights = [_rms(np.asarray(keras.ops.convert_to_numpy(v.value))) for v in model.trainable_variables]
    first = next((v for v in model.trainable_variables if v.path.endswith("kernel")), None)
    return Gradients(
        slopes=tuple(
            Slope(
                variable.path,
                int(np.prod(variable.shape)),
                weights[i],
                _largest([one.data[i] for one in found]),
                _largest([one.penalties[i] for one in found]),
            )
            for i, variable in enumerate(model.trainable_variables)
        ),
        losses=tuple(one.value for one in found),
        penalty=found[0].penalty,
        data_norm=float(np.mean([_norm(one.data) for one in found])),
        penalty_norm=_norm(found[0].penalties),
        finite=all(np.isfinite(g).all() for one in found for g in (*one.data, *one.penalties) if g is not None),
        first_is_avoidable=first is not None and goes_around(model, first),
    )


def _one(model: keras.Model, heads: Sequence[Head], batch: Batch) -> ModelGradients:
    def objective(outputs: Any) -> Any:
        flat = keras.tree.flatten(outputs)
        parts = []
        for head in heads:
            weight = head.pick(batch.sample_weight)
            y = head.pick(batch.y)
            if y is not None:
                parts.append(head.loss_weight * loss_tensor(head.loss, np.asarray(y), flat[head.index], weight))
        return sum(parts[1:], start=parts[0])

    return model_gradients(model, batch.x, objective)


def _rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype="float64")))) if array.size else 0.0


def _largest(arrays: Sequence[np.ndarray | None]) -> float | None:
    return max((_rms(array) for array in arrays if array is not None), default=None)


def _norm(arrays: Sequence[np.ndarray | None]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(array, dtype="float64")) for array in arrays if array is not None)))
