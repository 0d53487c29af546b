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
VANISHED = 1e-12
"""Gradients of all kernels below this are none: Adam itself adds 1e-7 to them."""
_SIMULATED = 120
_STRONGER, _ANY = 10.0, 1e8


@dataclass(frozen=True)
class Reach:
    """One kernel.

    Attributes:
        path: Keras' path of the variable.
        per_step: Length of a step at the highest rate relative to the kernel, after the first ones.
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
        rate: The highest learning rate of the plan.
        optimizer: Class of the optimizer.
        ramp: Steps that the optimizer's memory takes to reach its full step: 0 for Adam, 9 for momentum 0.9.
        mean_share: Mean over the planned steps of the rate as a share of the highest; 1 where it stays.
        steps_that_count: The step from which on all others together move no kernel by 1 %.
        knows_gradients: Whether gradients could be measured; else `regardless` alone means something.
        decay: Share of a kernel that the optimizer's own weight decay takes off in each step at the highest rate.
    """

    kernels: tuple[Reach, ...]
    steps: int
    rate: float
    optimizer: str
    ramp: int = 0
    mean_share: float = 1.0
    steps_that_count: int = 0
    knows_gradients: bool = True
    decay: float = 0.0

    @property
    def per_step(self) -> float:
        """Median over kernels."""
        return float(np.median([kernel.per_step for kernel in self.kernels]))

    @property
    def mean_step(self) -> float:
        """Median over kernels of a step's length, mean over the planned steps."""
        return self.mean_share * self.per_step

    @property
    def at_most(self) -> float:
        """Largest over kernels."""
        return max(kernel.at_most for kernel in self.kernels)

    @property
    def regardless(self) -> float:
        """Largest over kernels, however large the gradient is."""
        return max(kernel.regardless for kernel in self.kernels)


def measure(
    optimizer: Any, model: keras.Model, planned_training: PlannedTraining, gradients: Gradients | None = None
) -> PlannedMovement:
    """Raises `Unavailable` where the rate is not known beforehand, or gradients are not finite."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise Unavailable("the optimizer is not one of Keras")
    if planned_training.rate is None:
        raise Unavailable(f"the learning rate is set while training ({planned_training.changed_by})")
    if gradients is None:  # a loss that raises, say
        kernels = [slope for slope in _of_size_one(model) if slope.weight > 0]
    else:
        kernels = [s for s in gradients.slopes if s.path.endswith("kernel") and s.weight > 0 and s.data]
    if not kernels or not (gradients is None or gradients.finite):
        raise Unavailable("no kernel has a finite gradient other than 0")
    if max(slope.data or 0.0 for slope in kernels) < VANISHED:
        raise Unavailable("gradients vanish: no rate would move anything")
    steps = planned_training.total or STEPS_UNLESS_KNOWN
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # inside a loss scale
    with random_state_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        half, whole, last = _moved(inner, kernels, planned_training.rate, min(_SIMULATED, steps))
    count, simulated = len(kernels), min(_SIMULATED, steps)
    far = _extrapolated(half, whole, simulated, steps, planned_training)
    farthest = _extrapolated(half, whole, simulated, steps * (1 if planned_training.is_said else 10), planned_training)
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
        ramp=_ramp(whole[:count], last[:count], simulated),
        mean_share=float(planned_training.share_of_rate(np.arange(steps)).mean()),
        steps_that_count=_last_that_counts(last[:count] / sizes, planned_training.share_of_rate(np.arange(steps))),
        knows_gradients=gradients is not None,
        decay=planned_training.rate * _weight_decay(inner),
    )


def _weight_decay(optimizer: Any) -> float:
    """Keras' decoupled decay of kernels; 0 where any variable is excluded, which may well be the kernels."""
    excluded = any(getattr(optimizer, f"_exclude_from_weight_decay{what}", None) for what in ("", "_pattern"))
    return 0.0 if excluded else float(getattr(optimizer, "weight_decay", None) or 0.0)


def _of_size_one(model: keras.Model) -> list[Slope]:
    """The kernels that train, with gradients of size one in place of those that are not known."""
    kernels = [variable for variable in model.trainable_variables if variable.path.endswith("kernel")]
    sizes = [float(np.sqrt(np.mean(np.square(to_host(kernel), dtype="float64")))) for kernel in kernels]
    return [Slope(k.path, int(np.prod(k.shape)), size, 1.0, None) for k, size in zip(kernels, sizes, strict=True)]


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


def _extrapolated(
    half: np.ndarray, whole: np.ndarray, steps: int, wanted: int, planned_training: PlannedTraining
) -> np.ndarray:
    """Distance after `wanted` steps, each as long as the schedule lets it be.

    At a constant rate it grows as a power of time: 1 for SGD and Adam, 1.5 for Adadelta.
    """
    power = np.ones_like(whole)
    if wanted > steps and steps >= 4:
        with np.errstate(divide="ignore", invalid="ignore"):
            power = np.log(whole / half) / np.log(steps / (steps // 2))
        power = np.clip(np.nan_to_num(power, nan=1.0, posinf=2.0), 0.3, 2.0)
    ends = np.unique(np.linspace(0, wanted, min(wanted, 5000) + 1).round())
    shares = planned_training.share_of_rate(ends[:-1])
    grown = np.diff((ends[:, None] / steps) ** power[None, :], axis=0)
    return whole * (shares[:, None] * grown).sum(axis=0)


def _last_that_counts(lengths: np.ndarray, shares: np.ndarray) -> int:
    """The first step that is followed by less than 1 % of the most mobile kernel's size, all steps in one direction."""
    still = np.cumsum(shares[::-1])[::-1] * lengths.max()
    return int(np.sum(still >= 0.01))


def _ramp(whole: np.ndarray, last: np.ndarray, steps: int) -> int:
    """How many full steps the way falls short of; the longest over the kernels, 10 at most."""
    with np.errstate(divide="ignore", invalid="ignore"):
        short = np.nan_to_num(steps - whole / last, nan=0.0, posinf=0.0, neginf=0.0)
    return int(np.clip(np.ceil(short.max() - 0.5), 0, 10))
