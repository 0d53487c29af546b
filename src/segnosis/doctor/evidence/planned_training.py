"""How long the user means to train: epochs, steps per epoch, and what changes the learning rate on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import keras
import numpy as np

from segnosis.doctor.case import Batch
from segnosis.doctor.random_state import to_host

PRICE = "static"

EPOCHS_UNLESS_SAID = 20
_STOCK = ("keras.", "segnosis.")


@dataclass(frozen=True)
class PlannedTraining:
    """The plan.

    Attributes:
        epochs: Epochs of this `fit`; `EPOCHS_UNLESS_SAID` when it is not known.
        steps_per_epoch: Steps of one epoch, `None` when it is not known.
        total: Steps of the whole `fit`; `None` when the steps of an epoch are not known.
        is_said: Whether the epochs come from the user's own `fit` call.
        rate: The highest learning rate of the plan, `None` without an optimizer or where a callback sets it.
        changed_by: Class of a callback that may set another learning rate, or empty.
        done: Steps that the optimizer already made.
    """

    epochs: int
    steps_per_epoch: int | None
    total: int | None
    is_said: bool
    rate: float | None
    changed_by: str
    done: int


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
    callbacks = given.get("callbacks") or []
    callbacks = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    changed_by = next((type(callback).__name__ for callback in callbacks if _sets_rate(callback)), "")
    iterations = getattr(optimizer, "iterations", None)
    return PlannedTraining(
        epochs=max(1, epochs),
        steps_per_epoch=int(steps) if steps else None,
        total=total,
        is_said=is_said,
        rate=None if changed_by else highest_rate(optimizer, total or 1),
        changed_by=changed_by,
        done=0 if iterations is None else int(to_host(iterations)),
    )


def highest_rate(optimizer: Any, steps: int) -> float | None:
    """The highest rate that an optimizer uses within so many steps; `None` for one that Keras does not know."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return None
    rate = getattr(optimizer, "_learning_rate", None)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        at = np.unique(np.linspace(0, max(1, steps), 100).astype("int64"))
        return max(float(to_host(rate(int(step)))) for step in at)
    return None if rate is None else float(to_host(rate))


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
