"""Gradients on whichever backend runs: the doctor's only file that differentiates by a backend's own means.

Keras has one way to compute a value and three to differentiate it; all three are here, imported only when asked for.
What a program differentiates itself on JAX, `jax_steps` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.listening import in_place_of


@dataclass(frozen=True)
class ModelGradients:
    """What one backward pass gave, in the order of `model.trainable_variables`.

    Attributes:
        value: The data objective.
        penalty: Sum of `model.losses` (regularizers, `add_loss`), 0.0 without.
        data: Gradient of the objective per variable; `None` where the backend finds no path.
        penalties: Gradient of the penalty per variable; `None` where it has none.
    """

    value: float
    penalty: float
    data: tuple[np.ndarray | None, ...]
    penalties: tuple[np.ndarray | None, ...]


def model_gradients(model: keras.Model, x: Any, objective: Callable[[Any], Any]) -> ModelGradients:
    """Gradients of `objective(model(x))` and of the model's own losses, in training mode as `fit` computes them.

    BatchNormalization statistics and seeds may move: call it on a copy, or inside `snapshot.untouched`.

    Args:
        model: A built model with trainable variables.
        x: Inputs as `fit` hands them over, arrays or a structure of arrays.
        objective: The model's output → a scalar tensor.
    """
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    return {"tensorflow": _model_tensorflow, "jax": _model_jax, "torch": _model_torch}[keras.backend.backend()](
        model, inputs, objective
    )


def array_gradient(function: Callable[[Any], Any], array: np.ndarray) -> tuple[float, np.ndarray]:
    """Value of a scalar `function` at `array` and its gradient there; zeros where the backend finds no path.

    Example:
        >>> value, gradient = array_gradient(lambda p: keras.ops.sum(p * p), np.array([1.0, -2.0], "float32"))
        >>> value, gradient.tolist()
        (5.0, [2.0, -4.0])
    """
    value, gradient = {"tensorflow": _array_tensorflow, "jax": _array_jax, "torch": _array_torch}[
        keras.backend.backend()
    ](function, np.asarray(array, "float32"))
    return float(_numpy(value)), np.zeros(array.shape, "float32") if gradient is None else _numpy(gradient)


def as_fit_sees(function: Callable[[], Any]) -> float:
    """A scalar as inside `fit`: traced into a graph on TensorFlow, whose losses look at how a tensor came about."""
    if keras.backend.backend() != "tensorflow":
        return float(_numpy(function()))
    import tensorflow as tf  # tracing is what differs

    return float(tf.function(lambda: function())())  # arrays that are its defaults would be traced too


def objective_of(step: Callable[[], Any]) -> Any:
    """What a training step of anyone's wants differentiated, as a scalar tensor; the step ends there.

    Args:
        step: Makes one step, eagerly.

    Raises:
        ValueError: The step differentiates nothing.
    """
    tracing = keras.backend.backend() == "tensorflow"
    with _caught_tensorflow() if tracing else _caught_torch():
        try:
            step()
        except ObjectiveSeen as seen:
            parts = [keras.ops.mean(keras.ops.cast(part, "float32")) for part in keras.tree.flatten(seen.args[0])]
            return sum(parts[1:], start=parts[0])
    raise ValueError("The step differentiates nothing.")


class ObjectiveSeen(BaseException):
    """What a step wants differentiated; not an error, and no `except Exception` of a step may stop it."""


def _seen(target: Any, *args: Any, **kwargs: Any) -> None:
    raise ObjectiveSeen(target)


@contextmanager
def _caught_tensorflow() -> Iterator[None]:
    import tensorflow as tf  # its tape is what steps ask for gradients

    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        with in_place_of(tf.GradientTape, "gradient", lambda tape, target, *args, **kwargs: _seen(target)):
            yield
    finally:
        tf.config.run_functions_eagerly(eagerly)


@contextmanager
def _caught_torch() -> Iterator[None]:
    import torch  # its tensors are what steps go back from

    with in_place_of(torch.Tensor, "backward", _seen), torch.enable_grad():
        yield


def _model_tensorflow(model: keras.Model, x: Any, objective: Callable[[Any], Any]) -> ModelGradients:
    import tensorflow as tf  # its tape is the only way to a gradient there

    variables = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        data = tf.convert_to_tensor(objective(model(x, training=True)), tf.float32)
        penalty = tf.add_n([tf.cast(tf.reduce_sum(loss), tf.float32) for loss in model.losses] or [tf.constant(0.0)])
    gradients = [[_numpy(g) for g in tape.gradient(target, variables)] for target in (data, penalty)]
    return ModelGradients(float(data), float(penalty), tuple(gradients[0]), tuple(gradients[1]))


def _model_jax(model: keras.Model, x: Any, objective: Callable[[Any], Any]) -> ModelGradients:
    import jax  # its vjp is the only way to a gradient there
    import jax.numpy as jnp

    fixed = [variable.value for variable in model.non_trainable_variables]

    def both(trainable: list[Any]) -> tuple[Any, Any]:
        y_pred, _, losses = model.stateless_call(trainable, fixed, x, training=True, return_losses=True)
        penalty = sum((jnp.sum(loss).astype("float32") for loss in losses), start=jnp.float32(0.0))
        return jnp.asarray(objective(y_pred), "float32"), penalty

    (data, penalty), pull = jax.vjp(both, [variable.value for variable in model.trainable_variables])
    one, zero = jnp.float32(1.0), jnp.float32(0.0)
    (of_data,), (of_penalty,) = pull((one, zero)), pull((zero, one))
    return ModelGradients(float(data), float(penalty), tuple(map(_numpy, of_data)), tuple(map(_numpy, of_penalty)))


def _model_torch(model: keras.Model, x: Any, objective: Callable[[Any], Any]) -> ModelGradients:
    import torch  # its autograd is the only way to a gradient there

    variables = [variable.value for variable in model.trainable_variables]
    with torch.enable_grad():
        data = objective(model(x, training=True))
        penalty = sum((torch.sum(loss) for loss in model.losses), start=torch.zeros(()))

    def gradient(target: Any) -> tuple[np.ndarray | None, ...]:
        if not (isinstance(target, torch.Tensor) and target.requires_grad) or not variables:
            return (None,) * len(variables)
        return tuple(map(_numpy, torch.autograd.grad(target, variables, retain_graph=True, allow_unused=True)))

    return ModelGradients(float(data), float(penalty), gradient(data), gradient(penalty))


def _array_tensorflow(function: Callable[[Any], Any], array: np.ndarray) -> tuple[Any, Any]:
    import tensorflow as tf

    tensor = tf.convert_to_tensor(array)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = tf.convert_to_tensor(function(tensor))
    return value, tape.gradient(value, tensor)


def _array_jax(function: Callable[[Any], Any], array: np.ndarray) -> tuple[Any, Any]:
    import jax

    return jax.value_and_grad(lambda tensor: jax.numpy.asarray(function(tensor), "float32"))(jax.numpy.asarray(array))


def _array_torch(function: Callable[[Any], Any], array: np.ndarray) -> tuple[Any, Any]:
    import torch

    with torch.enable_grad():
        tensor = keras.ops.convert_to_tensor(array).detach().requires_grad_(True)
        value = function(tensor)
    if not value.requires_grad:
        return value, None
    return value, torch.autograd.grad(value, tensor, allow_unused=True)[0]


def _numpy(tensor: Any) -> Any:
    return None if tensor is None else np.asarray(keras.ops.convert_to_numpy(tensor))
