"""The loss inside a `train_step`, `compute_loss` or loop of the user's own, as one that can be asked like any other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from segnosis.doctor.autodiff import objective_of
from segnosis.doctor.batches import as_tensors, resized
from segnosis.doctor.case import Batch
from segnosis.doctor.jax_steps import answered_by
from segnosis.doctor.listening import listening
from segnosis.doctor.loop_body import LoopSamples
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import steps_itself, untouched

_NOTHING = 1e-5  # of a loss

Step = Callable[[Any, Any, Any], Any]
"""Begins a training step on images, targets and weights (`None` without)."""


class OwnLoss(keras.losses.Loss):
    """What the program's own code makes of a target and a prediction.

    The step is begun, the model answers with the prediction that is asked about, and what the step wants
    differentiated is the answer; nothing is differentiated or changed.

    What it adds for the size of kernels is left out, and told as `penalty`.

    Args:
        name: Where in the program it is.
        objective: Images, targets, weights and prediction → the loss.
        x: Images to hand to the program's code, over and over.
        weights: The weights beside them, where the program's samples have some: its code takes them apart, so it gets
            ones where nobody asks with others.

    Attributes:
        penalty: What the program adds to it for the size of kernels, as they are.
    """

    def __init__(self, name: str, objective: Callable[[Any, Any, Any, Any], Any], x: Any, weights: Any = None) -> None:
        super().__init__(name=name)
        self._objective, self._x, self._weights = objective, x, weights
        self.penalty = 0.0
        self._kernels: list[Any] = []

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss; targets keep their type, which the user's code may depend on.

        Args:
            y_true: `(batch, …)` targets as the program writes them.
            y_pred: What the model is to answer.
            sample_weight: As `fit` takes it.
        """
        count = y_pred.shape[0]
        x = keras.tree.map_structure(lambda leaf: keras.ops.convert_to_tensor(resized(leaf, count)), self._x)
        weight = ones_like(self._weights, count) if sample_weight is None else sample_weight
        with _at_zero(self._kernels):
            return self._objective(x, keras.ops.convert_to_tensor(y_true), weight, y_pred)

    @property
    def whole(self) -> OwnLoss:
        """The same with what it adds for the size of kernels, as the program trains."""
        return OwnLoss(self.name, self._objective, self._x, self._weights)

    def part_from_weights(self, model: keras.Model, y_true: Any, y_pred: Any) -> None:
        """Find `penalty`: what goes away when all kernels of `model` are 0 and the prediction stays."""
        first, again = (to_host(self(y_true, y_pred)) for _ in range(2))
        self._kernels = [variable for variable in model.trainable_variables if len(variable.shape) > 1]
        self.penalty = float(first - to_host(self(y_true, y_pred)))
        if first != again or not self.penalty > _NOTHING * abs(float(first)):
            self.penalty, self._kernels = 0.0, []

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As `__call__`, for Keras' wrappers."""
        return self(y_true, y_pred)


def own_loss(model: keras.Model, batch: Batch, samples: LoopSamples | None = None) -> OwnLoss | None:
    """The loss in the program's own code; `None` where it trains by what was compiled, or cannot be asked.

    On JAX a model's own step is traced as a function of the state, and models of several outputs judge each in their
    own way: neither can be asked about one prediction.

    Args:
        model: The user's model.
        batch: As the model is given it.
        samples: Of a loop that the program trains in; without, the model's own methods are asked.
    """
    own_compute = type(model).compute_loss is not keras.Model.compute_loss
    if samples is None and not steps_itself(model) and not own_compute:
        return None
    if (keras.backend.backend() == "jax" and samples is None) or keras.tree.is_nested(batch.y):
        return None
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if samples is not None and samples.told is not None:
                return OwnLoss("training_loop", answered_by(model, samples.told), samples.told.batch.x)
            if samples is not None:
                loss = OwnLoss("training_loop", _answered_by(model, samples.step), samples.first.x)
            elif steps_itself(model):
                begun = _answered_by(_asked(model, batch), _train_step(model))
                loss = OwnLoss("train_step", begun, batch.x, batch.sample_weight)
            else:
                loss = OwnLoss("compute_loss", _compute_loss(model), batch.x, batch.sample_weight)
            y_pred = model(as_tensors(batch.x, slice(2)))
            loss.part_from_weights(model, batch.y[:2], y_pred)
        except Exception:  # anything that anyone's step can raise; evidence/own_step.py says so where fit() would
            return None
    return loss


def _train_step(model: keras.Model) -> Step:
    return lambda x, y, weight: model.train_step(keras.utils.pack_x_y_sample_weight(x, y, weight))


def _compute_loss(model: keras.Model) -> Callable[[Any, Any, Any, Any], Any]:
    return lambda x, y, weight, y_pred: model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight)


def _answered_by(speaker: Any, step: Step) -> Callable[[Any, Any, Any, Any], Any]:
    """The objective of `step` as a function of what `speaker`, a layer that it calls, answers."""

    def objective(x: Any, y: Any, weight: Any, y_pred: Any) -> Any:
        with listening(lambda layer, args, call: y_pred if layer is speaker else call(), outermost=True):
            return objective_of(lambda: step(x, y, weight))

    return objective


def _asked(model: keras.Model, batch: Batch) -> Any:
    """Whom the model's own step asks for the prediction."""
    x, y, weight = (as_tensors(part, slice(2)) for part in (batch.x, batch.y, batch.sample_weight))
    wanted = tuple(model(x, training=False).shape)
    return speaker_of(lambda: objective_of(lambda: _train_step(model)(x, y, weight)), wanted)


def speaker_of(step: Callable[[], Any], wanted: tuple[int | None, ...]) -> Any:
    """The layer that `step` asks for the prediction: the last it calls that answers in the shape of the model.

    Args:
        step: Makes or begins the step.
        wanted: Shape of the model's answer.

    Raises:
        ValueError: There is none, or the step differentiates nothing.
    """
    found: list[Any] = []

    def note(layer: Any, args: Any, call: Callable[[], Any]) -> Any:
        output = call()
        if tuple(getattr(output, "shape", ())) == wanted and layer.trainable_variables:
            found.append(layer)
        return output

    with listening(note, outermost=True):
        step()
    if not found:
        raise ValueError(f"The step calls nothing that gives {wanted}.")
    return found[-1]


@contextmanager
def _at_zero(kernels: Sequence[Any]) -> Iterator[None]:
    """The variables at 0, for the length of the block; also while a step is traced, where nothing reaches the host."""
    kept = [keras.ops.copy(variable.value) for variable in kernels]
    try:
        for variable in kernels:
            variable.assign(keras.ops.zeros_like(variable))
        yield
    finally:
        for variable, value in zip(kernels, kept, strict=True):
            variable.assign(value)


def ones_like(weights: Any, count: int | None) -> Any:
    """Ones for so many samples, in the shape and type of the program's weights; `None` without these."""
    if weights is None:
        return None
    return keras.tree.map_structure(
        lambda leaf: keras.ops.convert_to_tensor(np.ones_like(resized(np.asarray(leaf), count))), weights
    )
