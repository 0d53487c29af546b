"""How long the user means to train: epochs, steps per epoch, and what changes the learning rate on the way."""

from __future__ import annotations

import contextlib
import dis
import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from types import BuiltinFunctionType, ModuleType
from typing import Any

import keras
import numpy as np

from segnosis.doctor.case import Batch, callbacks_of
from segnosis.doctor.random_state import to_host

PRICE = "static"

EPOCHS_UNLESS_SAID = 20
_STOCK = ("keras.", "segnosis.")
_KNOTS = 200
_LASTLESS = (int, float, str, bytes, tuple, type(None), type, ModuleType, BuiltinFunctionType, np.number, np.ufunc)
_LASTING = (
    "STORE_GLOBAL",
    "STORE_DEREF",
    "STORE_ATTR",
    "STORE_SUBSCR",
    "DELETE_GLOBAL",
    "DELETE_ATTR",
    "DELETE_SUBSCR",
)


@dataclass(frozen=True)
class PlannedTraining:
    """The plan.

    Attributes:
        epochs: Epochs of this `fit`; `EPOCHS_UNLESS_SAID` when it is not known.
        steps_per_epoch: Steps of one epoch, `None` when it is not known.
        total: Steps of the whole `fit`; `None` when the steps of an epoch are not known.
        is_said: Whether the epochs come from the user's own `fit` call.
        rate: The highest learning rate of the plan, `None` without an optimizer or where a callback sets it in a way
            that only training shows.
        changed_by: Class of the callback that sets it so, or empty.
        done: Steps that the optimizer already made.
        schedule: The rate at some steps from 0 to the end of the plan, ascending by step; empty where it stays.
    """

    epochs: int
    steps_per_epoch: int | None
    total: int | None
    is_said: bool
    rate: float | None
    changed_by: str
    done: int
    schedule: tuple[tuple[int, float], ...] = ()

    def share_of_rate(self, steps: np.ndarray) -> np.ndarray:
        """The planned rate at each of `steps` (integers, any shape) as a share of the highest, 0 to 1.

        Behind the end of the plan the last rate goes on.
        """
        if not self.schedule or not self.rate:
            return np.ones(np.shape(steps))
        known, rates = zip(*self.schedule, strict=True)
        return np.interp(steps, known, rates) / self.rate


def measure(
    optimizer: Any = None,
    batches: Sequence[Batch] | None = None,
    fit_arguments: Mapping[str, Any] | None = None,
    num_samples: int | None = None,
) -> PlannedTraining:
    """From the arguments of `fit`; nothing is run."""
    given = dict(fit_arguments or {})
    is_said = given.get("epochs") is not None
    epochs = int(given.get("epochs") or EPOCHS_UNLESS_SAID) - int(given.get("initial_epoch") or 0)
    steps = given.get("steps_per_epoch") or _length(given.get("x"))
    if steps is None and num_samples and batches:
        steps = ceil(num_samples / max(1, int(np.shape(keras.tree.flatten(batches[0].x)[0])[0])))
    total = max(1, epochs) * int(steps) if steps else None
    setting = [callback for callback in callbacks_of(given) if _sets_rate(callback)]
    schedule = _of_optimizer(optimizer, total or 1)
    if len(setting) == 1:
        schedule = _of_scheduler(setting[0], schedule, given, max(1, epochs), int(steps or 0))
    elif setting:
        schedule = None  # which of them sets the last word only training tells
    changed_by = type(setting[0]).__name__ if setting and schedule is None else ""
    iterations = getattr(optimizer, "iterations", None)
    return PlannedTraining(
        epochs=max(1, epochs),
        steps_per_epoch=int(steps) if steps else None,
        total=total,
        is_said=is_said,
        rate=max(rate for _, rate in schedule) if schedule and not changed_by else None,
        changed_by=changed_by,
        done=0 if iterations is None else int(to_host(iterations)),
        schedule=schedule if schedule and len({rate for _, rate in schedule}) > 1 else (),
    )


def highest_rate(optimizer: Any, steps: int) -> float | None:
    """The highest rate that an optimizer uses within so many steps; `None` for one that Keras does not know."""
    return max((rate for _, rate in _of_optimizer(optimizer, steps) or ()), default=None)


def _of_optimizer(optimizer: Any, steps: int) -> tuple[tuple[int, float], ...] | None:
    """Rates of the optimizer's own schedule: every step of the beginning, then ever fewer."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return None
    rate = getattr(optimizer, "_learning_rate", None)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        last = max(1, steps)
        at = np.concatenate([np.arange(min(last, _KNOTS // 4)), np.linspace(0, last, _KNOTS).round()])
        knots = np.unique(at).astype("int32")
        if type(rate).__module__.startswith("keras."):  # traced once where calls one by one are compiled each
            rates = list(to_host(keras.ops.map(rate, keras.ops.convert_to_tensor(knots))))
        else:
            rates = [float(to_host(rate(int(step)))) for step in knots]
        return tuple((int(step), float(value)) for step, value in zip(knots, rates, strict=True))
    return None if rate is None else ((0, float(to_host(rate))),)


def _of_scheduler(
    callback: Any,
    before: tuple[tuple[int, float], ...] | None,
    fit_arguments: Mapping[str, Any],
    epochs: int,
    steps: int,
) -> tuple[tuple[int, float], ...] | None:
    """Rates that Keras' scheduler will set, from its function; `None` where only training can tell.

    The function is asked only if it leaves nothing behind: the user's training asks it again.
    """
    function = getattr(callback, "schedule", None)
    if not isinstance(callback, keras.callbacks.LearningRateScheduler) or not before or len(before) > 1:
        return None
    if not inspect.isfunction(function) or not steps or _leaves_traces(function):
        return None
    first, rate, found = int(fit_arguments.get("initial_epoch") or 0), before[0][1], []
    with contextlib.redirect_stdout(io.StringIO()):
        for epoch in range(epochs):
            try:
                rate = float(_called(function, first + epoch, rate))
            except Exception:  # the user's own; fit() will raise it with its own traceback
                return None
            found += [(epoch * steps, rate), ((epoch + 1) * steps - 1, rate)]
    return tuple(found)


def _called(function: Callable[..., Any], epoch: int, rate: float) -> Any:
    return function(epoch, rate) if len(inspect.signature(function).parameters) > 1 else function(epoch)


def _leaves_traces(function: Any) -> bool:
    """Whether a function may write to what outlives its call: it stores there, or reaches anything that can change."""
    if any(step.opname in _LASTING for step in dis.get_instructions(function)):
        return True
    reached = inspect.getclosurevars(function)
    held = [*reached.globals.values(), *reached.nonlocals.values(), *(function.__defaults__ or ())]
    return any(_leaves_traces(part) if inspect.isfunction(part) else not isinstance(part, _LASTLESS) for part in held)


def _length(data: Any) -> int | None:
    if data is None or hasattr(data, "shape") or isinstance(data, list | tuple | dict):
        return None  # arrays: samples, not steps
    try:
        return len(data) or None
    except TypeError:  # a generator, or a data set that does not know
        return None


def _sets_rate(callback: Any) -> bool:
    """Whether a callback may raise the rate: Keras' own scheduler, or one whose code speaks of the learning rate."""
    if isinstance(callback, keras.callbacks.LearningRateScheduler):
        return True
    kind = type(callback)
    if kind.__module__.startswith(_STOCK) and kind is not keras.callbacks.LambdaCallback:
        return False
    parts = [*vars(kind).values(), *vars(callback).values()]
    return any(_speaks_of_rate(part.__code__) for part in parts if hasattr(part, "__code__"))


def _speaks_of_rate(code: Any) -> bool:
    words = {*code.co_names, *(part for part in code.co_consts if isinstance(part, str))}
    inner = [part for part in code.co_consts if hasattr(part, "co_names")]
    return any(word in ("learning_rate", "lr") for word in words) or any(map(_speaks_of_rate, inner))
