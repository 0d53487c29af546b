"""What a program on JAX differentiates: a function of the state and of a batch, and what it is called on.

There a step is a function that is traced and compiled, and its gradient one that was made beforehand. So while a
program runs, `jax.jit`, `jax.value_and_grad` and `jax.grad` give it functions that behave as ever until somebody asks
for the objective: then nothing is compiled, and the first gradient that is asked for is told instead of taken.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from segnosis.doctor.autodiff import ObjectiveSeen
from segnosis.doctor.batches import resized
from segnosis.doctor.case import Batch
from segnosis.doctor.listening import in_place_of
from segnosis.doctor.random_state import to_host

_KEPT = ("lower", "trace", "eval_shape", "clear_cache")
"""What a compiled function has besides being called."""


_ASKED: list[bool] = []
"""Not empty while an objective is asked for."""


@dataclass(frozen=True)
class Objective:
    """What a step wants differentiated.

    Attributes:
        function: The program's own: state, images, targets … → the loss, or the loss and more.
        arguments: What it is called on, as one structure of `(args, kwargs)`.
    """

    function: Callable[..., Any]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def value(self) -> Any:
        """The loss, a scalar tensor."""
        args, kwargs = self.arguments
        out = self.function(*args, **kwargs)
        return keras.ops.mean(keras.ops.cast(out[0] if isinstance(out, tuple) else out, "float32"))

    @property
    def leaves(self) -> list[Any]:
        """Every array among the arguments."""
        return list(keras.tree.flatten(self.arguments))

    def on(self, leaves: Sequence[Any]) -> Objective:
        """The same with other arrays in their places."""
        return replace(self, arguments=keras.tree.pack_sequence_as(self.arguments, list(leaves)))


@contextmanager
def makers_replaced(is_of_program: Callable[[], bool]) -> Iterator[None]:
    """For the length of a program, on JAX; on the other backends nothing.

    Args:
        is_of_program: Whether what is calling a maker is the program itself, and no library.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    import jax  # its makers of functions are what a program calls

    stock = jax.jit

    @functools.wraps(stock)
    def compiled(*args: Any, **options: Any) -> Any:
        if not args:
            return lambda function: compiled(function, **options)
        made = stock(*args, **options)
        return _either(made, args[0]) if is_of_program() else made

    def differentiated(stock: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(stock)
        def make(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
            def tell(*given: Any, **named: Any) -> Any:
                raise ObjectiveSeen(Objective(function, (given, named)))

            made = stock(function, *args, **options)
            return _either(made, tell) if is_of_program() else made

        return make

    with (
        in_place_of(jax, "jit", compiled),
        in_place_of(jax, "value_and_grad", differentiated(jax.value_and_grad)),
        in_place_of(jax, "grad", differentiated(jax.grad)),
    ):
        yield


def _either(made: Callable[..., Any], asked: Callable[..., Any]) -> Callable[..., Any]:
    """`made` as ever, and `asked` while an objective is asked for."""

    @functools.wraps(made)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (asked if _ASKED else made)(*args, **kwargs)

    for name in _KEPT:
        if hasattr(made, name):
            setattr(call, name, getattr(made, name))
    return call


def objective_told(step: Callable[[], Any]) -> Objective:
    """What `step` wants differentiated first.

    Raises:
        ValueError: It differentiates nothing.
    """
    _ASKED.append(True)
    try:
        step()
    except ObjectiveSeen as seen:
        return seen.args[0]
    finally:
        _ASKED.pop()
    raise ValueError("The step differentiates nothing.")


@dataclass(frozen=True)
class ToldBatch:
    """One batch of a step on JAX.

    Attributes:
        objective: What is differentiated.
        batch: What the model is given, and the targets.
        places: Of images and of targets among the objective's leaves; no place for images that the function makes.
    """

    objective: Objective
    batch: Batch
    places: tuple[int | None, int]


def batch_of(objective: Objective, model: keras.Model) -> ToldBatch:
    """Images and targets of an objective: what `model` is called on, and what else has as many samples of its size.

    Raises:
        ValueError: The model is not called, or no array among the arguments can be the targets.
    """
    heard: list[Any] = []

    def note(layer: Any, trainable: Any, fixed: Any, *args: Any, **kwargs: Any) -> Any:
        heard.extend(args[:1] if layer is model else ())
        return stock(layer, trainable, fixed, *args, **kwargs)

    stock = keras.layers.Layer.stateless_call
    with in_place_of(keras.layers.Layer, "stateless_call", note):
        objective.value()
    if not heard:
        raise ValueError("The objective does not call the model.")
    leaves, image = objective.leaves, keras.tree.flatten(heard[0])[0]
    place = next((k for k, leaf in enumerate(leaves) if leaf is image), None)
    shapes = [tuple(np.shape(leaf)) for leaf in leaves]
    wanted = tuple(image.shape)
    alike = [
        k for k, shape in enumerate(shapes)
        if k != place and len(shape) >= 3 and shape[0] == wanted[0] and shape != wanted and shape[1:3] == wanted[1:3]
    ]  # fmt: skip
    alike = alike or [k for k, shape in enumerate(shapes) if k != place and shape == wanted]
    if not alike:
        raise ValueError("No array among the arguments can be the targets.")
    return ToldBatch(objective, Batch(to_host(image), to_host(leaves[alike[0]])), (place, alike[0]))


def answered_by(model: keras.Model, told: ToldBatch) -> Callable[[Any, Any, Any, Any], Any]:
    """The objective as a function of images, targets, weights (left alone) and what `model` answers."""
    stock = keras.layers.Layer.stateless_call
    image, target = told.places

    def objective(x: Any, y: Any, weight: Any, y_pred: Any) -> Any:
        def answer(layer: Any, trainable: Any, fixed: Any, *args: Any, **kwargs: Any) -> Any:
            if layer is not model:
                return stock(layer, trainable, fixed, *args, **kwargs)
            return (y_pred, fixed, []) if kwargs.get("return_losses") else (y_pred, fixed)

        samples = told.batch.y.shape[0]
        leaves = [
            leaf if getattr(leaf, "ndim", 0) < 3 or leaf.shape[0] != samples or k in (image, target)
            else keras.ops.convert_to_tensor(resized(to_host(leaf), y_pred.shape[0]))
            for k, leaf in enumerate(told.objective.leaves)
        ]  # fmt: skip
        leaves[target] = keras.ops.cast(y, leaves[target].dtype)
        if image is not None:
            leaves[image] = x
        with in_place_of(keras.layers.Layer, "stateless_call", answer):
            return told.objective.on(leaves).value()

    return objective
