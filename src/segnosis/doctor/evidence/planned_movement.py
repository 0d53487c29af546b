"""How far the user's optimizer can carry each kernel in the planned steps, if every step pulled the same way.

The optimizer itself is asked: a copy of it moves one number per kernel, along a gradient as large as the measured one,
for a few hundred steps. No model takes part, so it costs a second whatever the model's size.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.gradients import Gradients, Slope
from segnosis.doctor.evidence.planned_training import PlannedTraining
from segnosis.doctor.random_state import random_state_kept, to_host
from segnosis.doctor.snapshot import optimizer_copy

PRICE = "gradient"

STEPS_UNLESS_KNOWN = 2000
_SIMULATED = 120
_STRONGER, _ANY = 10.0, 1e8


@dataclass(frozen=True)
class Reach:
    """One kernel.

    Attributes:
        path: Keras' path of the variable.
        per_step: Length of a step relative to the kernel, after the first ones.
        planned: Largest change of the kernel in all planned steps, relative to it.
        at_most: The same, were the gradient ten times as large throughout, and the plan ten times as long where the
            user did not say how long it is.
        regardless: The same, were the gradient a hundred million times as large: what the optimizer's own step allows.
    """

    path: str
    per_step: float
    planned: float
    at_most: float
    regardless: float


@dataclass(frozen=True)
class PlannedMovement:
    """All kernels.

    Attributes:
        kernels: In the model's order.
        steps: Steps counted with.
        rate: Learning rate counted with, the highest of the plan.
        optimizer: Class of the optimizer.
    """

    kernels: tuple[Reach, ...]
    steps: int
    rate: float
    optimizer: str

    @property
    def per_step(self) -> float:
        """Median over kernels."""
        return float(np.median([kernel.per_step for kernel in self.kernels]))

    @property
    def at_most(self) -> float:
        """Largest over kernels."""
        return max(kernel.at_most for kernel in self.kernels)

    @property
    def regardless(self) -> float:
        """Largest over kernels, however large the gradient is."""
        return max(kernel.regardless for kernel in self.kernels)


def measure(optimizer: Any, gradients: Gradients, planned_training: PlannedTraining) -> PlannedMovement:
    """Raises `Unavailable` where the rate is not known beforehand, or gradients are not finite."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise Unavailable("the optimizer is not one of Keras")
    if planned_training.rate is None:
        raise Unavailable(f"the learning rate is set while training ({planned_training.changed_by})")
    kernels = [slope for slope in gradients.slopes if slope.path.endswith("kernel") and slope.weight > 0 and slope.data]
    if not kernels or not gradients.finite:
        raise Unavailable("no kernel has a finite gradient other than 0")
    steps = planned_training.total or STEPS_UNLESS_KNOWN
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # inside a loss scale
    with random_state_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        half, whole, last = _moved(inner, kernels, planned_training.rate, min(_SIMULATED, steps))
    count, simulated = len(kernels), min(_SIMULATED, steps)
    far = _extrapolated(half, whole, simulated, steps)
    farthest = _extrapolated(half, whole, simulated, steps * (1 if planned_training.is_said else 10))
    sizes = np.array([slope.weight for slope in kernels])
    return PlannedMovement(
        kernels=tuple(
            Reach(
                slope.path,
                float(last[i] / sizes[i]),
                float(far[i] / sizes[i]),
                float(farthest[count + i] / sizes[i]),
                float(farthest[2 * count + i] / sizes[i]),
            )
            for i, slope in enumerate(kernels)
        ),
        steps=steps,
        rate=planned_training.rate,
        optimizer=type(inner).__name__,
    )


def _moved(optimizer: Any, kernels: Sequence[Slope], rate: float, steps: int) -> tuple[np.ndarray, ...]:
    """Distance gone after half and all of the steps, and the mean length of a step of the second half."""
    copy = optimizer_copy(optimizer)
    for setting in ("clipnorm", "global_clipnorm", "clipvalue", "weight_decay"):
        if getattr(copy, setting, None):
            setattr(copy, setting, None)
    start = np.array([slope.weight for slope in kernels] * 3, "float32")
    pull = np.array([slope.data for slope in kernels], "float32")
    gradient = keras.ops.convert_to_tensor(np.concatenate([pull, _STRONGER * pull, _ANY * pull]))
    numbers = keras.Variable(start, dtype="float32", name="kernel")
    copy.build([numbers])
    copy.__dict__["_learning_rate"] = keras.Variable(rate, dtype="float32", trainable=False)
    positions = [start]
    for step in range(1, steps + 1):
        copy.apply([gradient], [numbers])
        if step == max(1, steps // 2):
            positions.append(to_host(numbers))
    half, whole = np.abs(positions[-1] - start), np.abs(to_host(numbers) - start)
    return half, whole, np.maximum(whole - half, 0.0) / max(1, steps - steps // 2)


def _extrapolated(half: np.ndarray, whole: np.ndarray, steps: int, wanted: int) -> np.ndarray:
    """Distance after `wanted` steps: it grows as a power of time, 1 for SGD and Adam, 1.5 for Adadelta."""
    if wanted <= steps or steps < 4:
        return whole
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.log(whole / half) / np.log(steps / (steps // 2))
    power = np.clip(np.nan_to_num(power, nan=1.0, posinf=2.0), 0.3, 2.0)
    return whole * (wanted / steps) ** power
