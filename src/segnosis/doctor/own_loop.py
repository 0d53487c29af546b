"""A program that applies gradients itself: model, data and loss are looked for among its variables.

Such a loop hands nobody its data and its loss. Where it goes through images and targets, its own statements tell both
(`loop_body`). Else what can be told without guessing is taken: the model whose variables get the gradients, data sets
or arrays of the shape that it takes, and the one loss there is. What several variables could be is left out, and said.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import FrameType, FunctionType
from typing import Any

import keras
import numpy as np
from keras.src.trainers import data_adapters

from segnosis.doctor.batches import Drawn, Limits, as_tensors, draw
from segnosis.doctor.capture import build_case
from segnosis.doctor.case import Batch, Budget, Case, Script
from segnosis.doctor.graph import all_layers
from segnosis.doctor.held_variables import variables_of
from segnosis.doctor.loop_body import LoopBody, LoopSamples, bodies_of, planned_by, samples_of
from segnosis.doctor.own_loss import OwnLoss, own_loss
from segnosis.doctor.program_text import name_of
from segnosis.doctor.random_state import random_state_kept, to_host
from segnosis.doctor.snapshot import untouched

_HELD_OUT = ("val", "test", "eval", "dev", "holdout")
_TRUTH_FIRST = ("y_true", "true", "target", "label", "mask", "gt", "truth", "y")
_LIMITS = Limits(samples=128, megabytes=200.0, seconds=10.0)


@dataclass(frozen=True)
class OwnLoop:
    """What a loop trains, as far as its variables tell.

    Attributes:
        model: The model whose variables get the gradients, or `None`.
        optimizer: What applies them.
        data, validation: What `draw` takes, `()` when not found.
        loss: The loss, or `None`.
        names: What was found → the variable's name in the program.
        bodies: The `for` and `while` statements around the step, the innermost first.
        variables: What the program holds, by name.
        left_out: Layers that could train, of which the first step changes nothing.
    """

    model: keras.Model | None
    optimizer: Any
    data: tuple[Any, ...] = ()
    validation: tuple[Any, ...] = ()
    loss: Any = None
    names: Mapping[str, str] = field(default_factory=dict)
    bodies: tuple[LoopBody, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @cached_property
    def samples(self) -> LoopSamples | None:
        """What the loop goes through; call it outside of any traced function."""
        if self.model is None:
            return None
        with random_state_kept(*(body.variables for body in self.bodies)), untouched(self.model):
            return samples_of(self.bodies, self.model, _LIMITS.samples)

    @cached_property
    def own(self) -> OwnLoss | None:
        """What the loop differentiates; `None` where it cannot be asked, or is the loss that was found and no more."""
        if self.samples is None or self.model is None:
            return None
        loss = own_loss(self.model, self.samples.batches[0], self.samples)
        return None if loss is None or _is_alike(self.loss, loss, self.samples.batches[0], self.model) else loss

    def case(self, script: Script, budget: Budget, seed: int) -> Case:
        """The case that this loop is."""
        train = draw(*self.data, seed=seed, limits=_LIMITS) if self.data else Drawn((), None)
        held_out = draw(*self.validation, shuffle=False, limits=_LIMITS) if self.validation else None
        if self.samples is not None:
            train = Drawn(self.samples.batches, None, train.num_samples)
            held_out = held_out if self.samples.as_given else None  # what the body does to images is not done to these
        return build_case(
            self.model,
            train,
            held_out,
            loss=self.own or self.loss,
            optimizer=self.optimizer,
            fit_arguments=planned_by(self.bodies),
            variables=self.variables,
            left_out=self.left_out if _steps_in(script.source) == 1 else None,  # another step may change them
            script=script,
            budget=budget,
            seed=seed,
        )

    def said(self, place: str) -> str:
        """What was examined and what was not, for a person."""
        names = dict(self.names)
        if self.samples is not None:
            names["data"] = self.samples.body.text if self.samples.told is None else "what its steps are given"
        if self.own is not None:
            names["loss"] = "what it differentiates"
        found = ", ".join(f"{what} `{name}`" for what, name in names.items())
        missing = [what for what in ("data", "loss") if what not in names]
        text = f"It trains in a loop of its own at {place}; examined were {found}, as the loop's variables hold them."
        if missing:
            text += (
                f" Its {' and '.join(missing)} could not be told among them: call "
                "`segnosis.diagnose(model, data, loss=..., optimizer=...)` just before the loop."
            )
        return text


def look_around(optimizer: Any, variables: Sequence[Any] | None, frames: Sequence[FrameType]) -> OwnLoop:
    """Look for what a loop trains.

    Args:
        optimizer: Whose `apply` was called.
        variables: What it is to change; the optimizer's own when left out.
        frames: The program's frames, the innermost first.
    """
    held = variables_of(frames)
    changed = {id(variable) for variable in (variables or getattr(optimizer, "_trainable_variables", None) or ())}
    models = {
        name: value
        for name, value in held.items()
        if isinstance(value, keras.Model) and changed & {id(variable) for variable in value.trainable_variables}
    }
    if not models:
        return OwnLoop(None, optimizer)
    name, model = min(models.items(), key=lambda item: len(item[1].variables))
    names = {"model": name}
    data, validation = _data(model, held)
    if data:
        names["data"] = data[0]
    if validation:
        names["validation data"] = validation[0]
    found = _loss(model, held)
    if found:
        names["loss"] = found[0]
    loss = found[1] if found else None
    left_out = tuple(
        layer.name
        for layer in all_layers(model)
        if layer.trainable_variables and not changed & {id(variable) for variable in layer.trainable_variables}
    )
    return OwnLoop(model, optimizer, data[1:], validation[1:], loss, names, bodies_of(frames), held, left_out)


def _steps_in(source: str) -> int:
    """In how many places a program hands gradients to an optimizer."""
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except SyntaxError:  # a notebook's magic
        return 0
    return sum(name_of(call) in ("apply_gradients", "apply", "stateless_apply") for call in calls)


def _data(model: keras.Model, held: Mapping[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """`(name, data…)` of training and of validation data: the only data set there is, else the most images."""

    def is_held_out(name: str) -> bool:
        return any(word in name.lower() for word in _HELD_OUT)

    sets, arrays = list(_data_sets(model, held)), list(_arrays(model, held))
    chosen: list[tuple[Any, ...]] = []
    for wanted in (False, True):
        of_sets = [found for found in sets if is_held_out(found[0]) is wanted]
        of_sets = list({id(found[1]): found for found in reversed(of_sets)}.values())  # one may have two names
        of_arrays = [found for found in arrays if is_held_out(found[0]) is wanted]
        chosen.append(of_sets[0] if len(of_sets) == 1 else of_arrays[0] if of_arrays and not of_sets else ())
    return chosen[0], chosen[1]


def _data_sets(model: keras.Model, held: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in held.items():
        is_one = isinstance(value, keras.utils.PyDataset) or any(
            told(value) for told in (data_adapters.is_tf_dataset, data_adapters.is_torch_dataloader)
        )
        if not is_one:
            continue
        first = draw(value, limits=Limits(samples=1)).batches
        if first and first[0].y is not None and _fits(model, np.shape(keras.tree.flatten(first[0].x)[0])):
            yield name, value


def _arrays(model: keras.Model, held: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Images and masks of equal number, the most first, where exactly one array could be either."""
    shapes = {
        name: tuple(value.shape)
        for name, value in held.items()
        if isinstance(value, np.ndarray) or (keras.ops.is_tensor(value) and hasattr(value, "__array__"))
    }
    if any(None in shape for shape in shapes.values()):
        shapes = {name: shape for name, shape in shapes.items() if None not in shape}
    for count in sorted({shape[0] for shape in shapes.values() if len(shape) >= 3}, reverse=True):
        alike = {name: shape for name, shape in shapes.items() if len(shape) >= 3 and shape[0] == count}
        images = [name for name, shape in alike.items() if _fits(model, shape)]
        if len(images) != 1:
            continue
        size = alike[images[0]][1:3]
        masks = [name for name, shape in alike.items() if name != images[0] and size in (shape[1:3], shape[-2:])]
        if len(masks) == 1:
            try:
                yield images[0], to_host(held[images[0]]), to_host(held[masks[0]])
            except (NotImplementedError, TypeError, ValueError):  # a symbol inside a traced function, no array
                continue


def _fits(model: keras.Model, shape: Sequence[int]) -> bool:
    wanted = model.input_shape if model.built and isinstance(getattr(model, "input_shape", None), tuple) else None
    if wanted is None:
        return len(shape) == 4
    return len(shape) == len(wanted) and all(w in (None, s) for w, s in zip(wanted[1:], shape[1:], strict=True))


def _loss(model: keras.Model, held: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The compiled loss, or the only Keras loss, or the only function called a loss that takes the truth first."""
    if getattr(model, "compiled", False) and model.loss is not None:
        return "compile(loss=…)", model.loss
    losses = {id(value): (name, value) for name, value in held.items() if isinstance(value, keras.losses.Loss)}
    if not losses:
        losses = {
            id(value): (name, value)
            for name, value in held.items()
            if isinstance(value, FunctionType) and "loss" in name.lower() and _takes_truth_first(value)
        }
    return next(iter(losses.values())) if len(losses) == 1 else None


def _is_alike(known: Any, own: OwnLoss, batch: Batch, model: keras.Model) -> bool:
    """Whether both say the same of two predictions; then the known one tells more, such as what it ignores."""
    if known is None:
        return False
    with untouched(model):
        y_pred = model(as_tensors(batch.x, slice(2)), training=False)
    y = as_tensors(batch.y, slice(2))
    for guess in (y_pred, 0.5 * y_pred + 0.1):
        try:
            values = keras.ops.convert_to_numpy(keras.losses.get(known)(y, guess))
        except Exception:  # anything that anyone's loss can raise; the loop's own was asked without
            return False
        if not np.isclose(values.mean(), to_host(own(y, guess)), rtol=1e-4):
            return False
    return True


def _takes_truth_first(function: Any) -> bool:
    needed = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    return (
        len(needed) == 2 and needed[0].lower().startswith(_TRUTH_FIRST) and not needed[1].lower().startswith("y_true")
    )
