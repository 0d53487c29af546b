"""The loss inside a `train_step` or `compute_loss` of the user's own, as a loss that can be asked like any other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from segnosis.doctor.autodiff import objective_of
from segnosis.doctor.case import Batch
from segnosis.doctor.listening import listening
from segnosis.doctor.snapshot import steps_itself, untouched


class OwnLoss(keras.losses.Loss):
    """What the model's own code makes of a target and a prediction.

    The user's step is begun, the model answers with the prediction that is asked about, and what the step wants
    differentiated is the answer; nothing is differentiated or changed.

    Args:
        model: The user's model.
        batch: Images to hand to its code, and a target; only the images are ever used again.

    Raises:
        ValueError: The step calls no layer that gives what `model` gives, or differentiates nothing.
    """

    def __init__(self, model: keras.Model, batch: Batch) -> None:
        super().__init__(name="train_step" if steps_itself(model) else "compute_loss")
        self._model, self._x = model, batch.x
        self._speaker = model
        if steps_itself(model):
            self._speaker = _speaker(model, batch)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss; targets keep their type, which the user's code may depend on.

        Args:
            y_true: `(batch, …)` targets as the program writes them.
            y_pred: What the model is to answer.
            sample_weight: As `fit` takes it.
        """
        count = y_pred.shape[0]
        x = keras.tree.map_structure(lambda leaf: keras.ops.convert_to_tensor(_resized(leaf, count)), self._x)
        y = keras.ops.convert_to_tensor(y_true)
        if not steps_itself(self._model):
            return self._model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        data = (x, y) if sample_weight is None else (x, y, sample_weight)

        def answer(layer: Any, args: Any, call: Callable[[], Any]) -> Any:
            return y_pred if layer is self._speaker else call()

        with listening(answer, outermost=True):
            return objective_of(lambda: self._model.train_step(data))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As `__call__`, for Keras' wrappers."""
        return self(y_true, y_pred)


def own_loss(model: keras.Model, batch: Batch) -> OwnLoss | None:
    """The loss in the model's own code; `None` where it trains by what was compiled, or cannot be asked.

    JAX traces a step as a function of the state, and models of several outputs judge each in their own way: neither
    can be asked about one prediction.
    """
    overrides = steps_itself(model) or type(model).compute_loss is not keras.Model.compute_loss
    if not overrides or keras.backend.backend() == "jax" or keras.tree.is_nested(batch.y):
        return None
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loss = OwnLoss(model, batch)
            y_pred = model(keras.tree.map_structure(lambda leaf: keras.ops.convert_to_tensor(leaf[:2]), batch.x))
            keras.ops.convert_to_numpy(loss(batch.y[:2], y_pred))
        except Exception:  # anything that anyone's step can raise; evidence/own_step.py says so where fit() would
            return None
    return loss


def _speaker(model: keras.Model, batch: Batch) -> Any:
    """The layer that the step asks for the prediction: the last it calls that answers in the shape of the model."""
    x, y, weight = (
        None if part is None else keras.tree.map_structure(lambda leaf: keras.ops.convert_to_tensor(leaf[:2]), part)
        for part in (batch.x, batch.y, batch.sample_weight)
    )
    wanted = tuple(model(x, training=False).shape)
    found: list[Any] = []

    def note(layer: Any, args: Any, call: Callable[[], Any]) -> Any:
        output = call()
        if tuple(getattr(output, "shape", ())) == wanted and layer.trainable_variables:
            found.append(layer)
        return output

    with listening(note, outermost=True):
        objective_of(lambda: model.train_step((x, y) if weight is None else (x, y, weight)))
    if not found:
        raise ValueError(f"The step calls nothing that gives {wanted}.")
    return found[-1]


def _resized(array: Any, count: int | None) -> Any:
    """The first `count` samples, the same ones again where there are fewer."""
    return array if count is None else np.resize(array, (count, *np.shape(array)[1:]))
