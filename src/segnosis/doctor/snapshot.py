"""Looking without touching: copies of a model, and a guard that puts everything back.

Evidence measures on `model_copy(model)`, or, where a copy may be impossible (subclassed models), inside
`borrowed(model)`, which lends the copy or, failing that, the model itself under the guard `untouched`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src import tree
from keras.src.models.functional import Functional

from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.random_state import random_state_kept, to_host

_COMPILED = (
    "optimizer",
    "loss",
    "compiled",
    "stop_training",
    "history",
    "train_function",
    "test_function",
    "predict_function",
    "steps_per_execution",
    "_compile_loss",
    "_compile_metrics",
    "_loss_tracker",
    "_jit_compile",
    "_run_eagerly",
    "_compile_config",
    "_compiled_trainable_state",
    "_distribute_strategy",
)
_ADDED = ("name", "trainable", "dtype")
_MISSING = object()


@contextmanager
def untouched(model: keras.Model | None, optimizer: Any = None) -> Iterator[None]:
    """Put weights, optimizer, metrics, compiled state, freezing and every random state back, whatever happens inside.

    An optimizer that has no variables yet must not be used inside; take `optimizer_copy`.

    Args:
        model: The model that the block may use, train or recompile; `None` guards the random states alone.
        optimizer: Another optimizer to guard, when it is not the compiled one.
    """
    optimizers = [part for part in (getattr(model, "optimizer", None), optimizer) if hasattr(part, "variables")]
    held = [(variable, to_host(variable)) for variable in _all_variables(model, optimizers)]
    # A step that raised while TensorFlow traced it leaves optimizer variables without any value: nothing to put back.
    values = [(variable, value) for variable, value in held if value.shape == tuple(variable.shape)]
    attributes = [] if model is None else [(model, {name: model.__dict__.get(name, _MISSING) for name in _COMPILED})]
    parts = [(part, dict(part.__dict__)) for part in _compiled_parts(model)]
    layer_flags = [] if model is None else [(layer, layer._trainable) for layer in _flat_layers(model)]
    variable_flags = [] if model is None else [(variable, variable.trainable) for variable in model.variables]
    with random_state_kept():
        try:
            yield
        finally:
            for owner, saved in attributes:
                _restore(owner.__dict__, saved)
            for part, saved in parts:
                part.__dict__.clear()
                part.__dict__.update(saved)
            for layer, flag in layer_flags:
                layer._trainable = flag
            for variable, flag in variable_flags:
                variable.trainable = flag
            for variable, value in values:
                variable.assign(value)


def model_copy(model: keras.Model, example: Any = None) -> keras.Model:
    """The same architecture with the same weights in variables of its own, not compiled.

    Args:
        model: A built model: functional, sequential, nested, or a subclass that Keras can rebuild from its config.
        example: Inputs to build a subclassed model on, one batch or less; its recorded build shapes when left out.

    Returns:
        The copy: frozen where `model` is frozen, drawing the same random numbers.

    Raises:
        Unavailable: Keras cannot rebuild this model; `borrowed` lends the model itself.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
        >>> copy = model_copy(model)
        >>> bool((copy.get_weights()[0] == model.get_weights()[0]).all()), copy.weights[0] is model.weights[0]
        (True, False)
    """
    with random_state_kept(), _not_compiled(model):
        try:
            copy = _rebuilt(model, example)
        except Exception as error:  # anything a user's __init__ or get_config can raise
            raise Unavailable(f"`{model.name}` cannot be copied ({type(error).__name__}: {error})") from error
        ours, theirs = _flat_layers(copy), _flat_layers(model)
        if len(ours) == len(theirs):
            for new, old in zip(ours, theirs, strict=True):
                new._trainable = old._trainable
        new_variables, old_variables = copy.variables, model.variables
        if [tuple(v.shape) for v in new_variables] != [tuple(v.shape) for v in old_variables]:
            raise Unavailable(f"`{model.name}` rebuilt from its config has other weights than it has now")
        for new, old in zip(new_variables, old_variables, strict=True):
            new.trainable = old.trainable
            new.assign(to_host(old))  # by way of the host: JAX gives shared buffers away when it trains
    return copy


@contextmanager
def borrowed(model: keras.Model, example: Any = None) -> Iterator[keras.Model]:
    """A model to do anything with for the length of the block: a copy, else the model itself, put back afterwards.

    A step of the user's own may need whatever the program hung on the model, which no copy has.
    """
    try:
        if steps_itself(model):
            raise Unavailable("its step may need what only the model itself has")
        copy = model_copy(model, example)
    except Unavailable:
        with untouched(model):
            yield model
    else:
        with random_state_kept():
            yield copy


def steps_itself(model: keras.Model) -> bool:
    """Whether the model has a `train_step` of the user's own."""
    return type(model).train_step is not keras.Model.train_step


def optimizer_copy(optimizer: Any, variables: Any = None) -> Any:
    """A fresh optimizer with the same settings; built on `variables`, it takes the original's state over.

    Args:
        optimizer: A Keras optimizer, or the name of one. A learning-rate schedule has no state and is shared.
        variables: Trainable variables of the model copy it will train, in the model's order; left unbuilt without.
    """
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return keras.optimizers.get(optimizer)
    with random_state_kept():
        rate = getattr(optimizer, "_learning_rate", None)
        is_schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
        if is_schedule:  # people's own schedules often lack a `get_config`
            optimizer.__dict__["_learning_rate"] = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 1.0)
        try:
            config = optimizer.get_config()
        finally:
            if is_schedule:
                optimizer.__dict__["_learning_rate"] = rate
        if "learning_rate" in config:
            config["learning_rate"] = rate if is_schedule else float(to_host(rate))
        copy = type(optimizer).from_config(config)
        if variables is not None:
            copy.build(variables)
            ours, theirs = copy.variables, optimizer.variables
            if [tuple(v.shape) for v in ours] == [tuple(v.shape) for v in theirs]:
                for new, old in zip(ours, theirs, strict=True):
                    new.assign(to_host(old))  # by way of the host: JAX gives shared buffers away when it trains
    return copy


def _rebuilt(model: keras.Model, example: Any) -> keras.Model:
    if isinstance(model, Functional | keras.Sequential):
        return keras.models.clone_model(model, clone_function=layer_copy, recursive=True)
    arguments = set(inspect.signature(type(model).__init__).parameters) - {"self", "args", "kwargs"}
    if type(model).get_config is keras.Model.get_config and arguments:
        raise ValueError("Keras does not record the constructor's arguments of a subclassed model without `get_config`")
    copy = _from_config(model)
    if example is None:
        shape = (model.get_build_config() or {}).get("input_shape")
        example = np.zeros([size or 1 for size in shape], "float32") if shape else None
    if example is None:
        raise ValueError("it was not built on one input shape, and no example was given")
    copy(tree.map_structure(lambda array: keras.ops.convert_to_tensor(np.asarray(array)[:1]), example))
    return copy


def _from_config(layer: Any) -> Any:
    """As Keras does, but an `__init__` without `**kwargs` is not handed what Keras' automatic config adds to it."""
    config = layer.get_config()
    parameters = inspect.signature(type(layer).__init__).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        accepted = {parameter.name for parameter in parameters}
        config = {name: value for name, value in config.items() if name in accepted or name not in _ADDED}
    return type(layer).from_config(config)


def layer_copy(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer of the same class and settings, not built."""
    if isinstance(layer, keras.layers.Lambda):  # the user's own function, already running in this process
        return type(layer).from_config(layer.get_config(), safe_mode=False)
    return _from_config(layer)


def _flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    return [model, *model._flatten_layers(include_self=False)]


def _compiled_parts(model: keras.Model | None) -> list[Any]:
    """Keras' wrappers of loss and metrics, which build themselves on the first batch they see."""
    parts = (getattr(model, name, None) for name in ("_compile_loss", "_compile_metrics"))
    return [part for part in parts if part is not None]


def _all_variables(model: keras.Model | None, optimizers: list[Any]) -> list[Any]:
    found = [] if model is None else [*model.variables, *(v for metric in model.metrics for v in metric.variables)]
    found += [variable for optimizer in optimizers for variable in optimizer.variables]
    return list({id(variable): variable for variable in found}.values())


def _restore(attributes: dict[str, Any], saved: dict[str, Any]) -> None:
    for name, value in saved.items():
        if value is _MISSING:
            attributes.pop(name, None)
        else:
            attributes[name] = value


@contextmanager
def _not_compiled(model: keras.Model) -> Iterator[None]:
    """Keras' clone would also rebuild the compiled loss from its config, which a user's closure does not survive."""
    compiled = [layer for layer in _flat_layers(model) if getattr(layer, "compiled", False)]
    for layer in compiled:
        layer.__dict__["compiled"] = False
    try:
        yield
    finally:
        for layer in compiled:
            layer.__dict__["compiled"] = True
