"""A few dozen real training steps on copies, at the user's step size and others, where that size is suspicious.

Steps of a usual size are not tried: nothing would be learned from it that a person does not see in the first epoch.
Too small on average over the plan: all planned steps are gone through in a few dozen, each as many times larger, and
held against Adam(1e-3).
Too large: the user's rate against one whose steps are of a usual size, then a tenth and a hundredth of it.
Same weights, same batches, three of them.

How many steps are made follows from the plan and from the losses alone. A slow machine tries fewer batches, or none and
says so; it never comes to another answer.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any, Literal

import keras
import numpy as np

from segnosis.doctor.ask import raised
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._trial_batches import few_with_foreground, guessing
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.planned_movement import PlannedMovement
from segnosis.doctor.random_state import to_host
from segnosis.doctor.rehearsal import OutOfTimeError, Rehearsal, at_rate, loss_weights_of
from segnosis.doctor.snapshot import borrowed, optimizer_copy

PRICE = "gradient"

SMALL_STEP, LARGE_STEP = 2e-3, 0.05
HOPELESS = 0.01
"""Largest planned change of a kernel with which no trial is needed."""
REFERENCE_RATE = 1e-3
_USUAL_STEP = 0.01  # of a kernel: what Adam(1e-3) does to kernels as He draws them
_BOLDEST = 0.03
_SEEDS = 3
_LEAST, _MOST = 12, 40
_REFERENCE_STEPS, _LARGE_STEPS = 60, 40
_HUGE_STEP, _HUGE_STEPS = 1.0, 25
_PATIENCE = 40.0  # seconds of processor time, which a busy machine does not stretch
_WALL = 120.0


@dataclass(frozen=True)
class Trial:
    """One way of stepping, from the same weights on each of the batches.

    Attributes:
        name: `"planned"`, `"reference"`, or a rate such as `"x0.1"`.
        rate: Learning rate that the user would type for it.
        steps: Steps made, on the batch that took the most.
        start, end: Loss before the first and after the last ones, per batch; `inf` when it broke.
        spread: Standard deviation of the outputs over pixels afterwards, per batch.
    """

    name: str
    rate: float
    steps: int
    start: tuple[float, ...]
    end: tuple[float, ...]
    spread: tuple[float, ...]


@dataclass(frozen=True)
class RateTrials:
    """What was tried.

    Attributes:
        asks: `"too-low"` or `"too-high"`.
        trials: The user's own way first.
        guessing: What guessing by class frequency costs on each of the batches; empty where that cannot be told.
        faithful: Whether the planned steps can be gone through in so few; no trial without.
        gave_up: Why nothing was tried although the steps ask for it; empty when it was.
    """

    asks: Literal["too-low", "too-high"]
    trials: tuple[Trial, ...]
    guessing: tuple[float, ...] = ()
    faithful: bool = True
    gave_up: str = ""


def measure(
    model: keras.Model,
    loss: Any,
    optimizer: Any,
    heads: Sequence[Head],
    batches: Sequence[Batch],
    encodings: Mapping[str, Encoding],
    forward: Mapping[str, Output],
    planned_movement: PlannedMovement,
) -> RateTrials:
    """Raises `Unavailable` when steps are of a usual size: then nothing asks for a trial."""
    moved = planned_movement
    if not moved.knows_gradients:
        raise Unavailable("no gradient could be measured")
    if moved.mean_step >= SMALL_STEP and moved.per_step <= LARGE_STEP:
        raise Unavailable("the steps are of a usual size")
    if moved.at_most < HOPELESS:
        raise Unavailable("the optimizer alone shows that nothing can move")
    asks: Literal["too-low", "too-high"] = "too-high" if moved.per_step > LARGE_STEP else "too-low"
    given = few_with_foreground(batches, heads, encodings, _SEEDS)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    with borrowed(model, given[0].x) as copy, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN is an answer here
        trainer = _Trainer(copy, loss, loss_weights_of(model), given)
        try:
            guesses = guessing(model, given, heads, encodings, forward)
            if asks == "too-low":
                return _too_low(trainer, inner, moved, guesses)
            return _too_high(trainer, inner, moved, guesses)
        except Unavailable:
            raise
        except OutOfTimeError as reason:
            return RateTrials(asks, (), gave_up=str(reason))
        except Exception as error:  # anything that anyone's model or loss can raise; fit() raises the same
            raise Unavailable(f"a training step raises ({raised(error).error})") from error


def _too_low(trainer: _Trainer, optimizer: Any, moved: PlannedMovement, guesses: tuple[float, ...]) -> RateTrials:
    """All planned steps in a few, at the mean rate of the plan times as many as each of them stands for."""
    steps = min(_MOST, max(_LEAST, ceil(moved.steps * moved.mean_step / _BOLDEST)))
    factor = max(1.0, moved.steps / steps)
    if factor * moved.mean_step > 1.001 * _BOLDEST:
        return RateTrials("too-low", (), faithful=False)
    trainer.use(optimizer_copy(optimizer), moved.rate)
    most = min(_REFERENCE_STEPS, moved.steps)
    count = trainer.affordable(steps + moved.ramp + most)
    planned: list[_Run] = []
    for index in range(count):
        planned.append(trainer.run(index, moved.mean_share * moved.rate * factor, steps + moved.ramp))
        if not isfinite(planned[-1].end):
            return RateTrials("too-low", (), faithful=False)
        if planned[-1].suffices(_guess(guesses, index)):  # that one batch is the answer
            break
    trainer.use(keras.optimizers.Adam(REFERENCE_RATE), REFERENCE_RATE)
    reference: list[_Run] = []
    for index, run in enumerate(planned):

        def is_decided(loss: float, run: _Run = run, guess: float = _guess(guesses, index)) -> bool:
            """By more than the check asks for, so that no later step would take it back."""
            beyond_guessing = loss < 0.5 * guess and run.end > guess
            return loss < 0.5 * run.start and (run.start - loss > 4 * (run.start - run.end) or beyond_guessing)

        reference.append(trainer.run(index, REFERENCE_RATE, most, is_decided))
    trials = (_trial("planned", moved.rate, planned), _trial("reference", REFERENCE_RATE, reference))
    return RateTrials("too-low", trials, guesses[: len(planned)])


def _too_high(trainer: _Trainer, optimizer: Any, moved: PlannedMovement, guesses: tuple[float, ...]) -> RateTrials:
    trainer.use(optimizer_copy(optimizer), moved.rate)
    count = trainer.affordable(2 * _LARGE_STEPS)  # a rate of usual steps mostly decides, after few
    steps = _HUGE_STEPS if moved.per_step >= _HUGE_STEP else _LARGE_STEPS
    given = [trainer.run(index, moved.rate, steps) for index in range(count)]
    trials = [_trial("x1", moved.rate, given)]
    usual = float(f"{_USUAL_STEP / moved.per_step * moved.rate:.0e}") / moved.rate  # a rate that a person would type
    for factor in dict.fromkeys((min(0.1, usual), 0.1, 0.01)):
        smaller: list[_Run] = []
        for index, run in enumerate(given):

            def is_decided(loss: float, run: _Run = run, guess: float = _guess(guesses, index)) -> bool:
                """By more than the check asks for, so that no later step would take it back."""
                return loss < 0.7 * min(run.start, run.end, guess)

            smaller.append(trainer.run(index, factor * moved.rate, _LARGE_STEPS, is_decided))
        trials.append(_trial(f"x{factor:g}", factor * moved.rate, smaller))
        if all(one.steps < _LARGE_STEPS and isfinite(one.end) for one in smaller):
            break
    return RateTrials("too-high", tuple(trials), guesses[:count])


def _guess(guesses: Sequence[float], index: int) -> float:
    """What guessing costs on a batch; endless where that is not known, and every loss is below it."""
    return guesses[index] if guesses else float("inf")


@dataclass(frozen=True)
class _Run:
    """One training on one batch: its losses at first and at last, the spread of its outputs, its steps."""

    start: float
    end: float
    spread: float
    steps: int

    def suffices(self, guess: float) -> bool:
        """Whether no reference, however good, could make this look slow."""
        return 0 <= self.end <= 0.5 * self.start and self.end <= guess


def _trial(name: str, rate: float, runs: Sequence[_Run]) -> Trial:
    return Trial(
        name,
        rate,
        max(run.steps for run in runs),
        tuple(run.start for run in runs),
        tuple(run.end for run in runs),
        tuple(run.spread for run in runs),
    )


class _Trainer:
    """Trains a copy again and again, with one optimizer after the other, as long as there is time."""

    def __init__(self, model: keras.Model, loss: Any, loss_weights: Any, batches: Sequence[Batch]) -> None:
        self._model, self._loss, self._loss_weights, self._batches = model, loss, loss_weights, batches
        self._began, self._wall = time.process_time(), time.perf_counter()
        self._step_seconds = 0.0
        self._rehearsal: Rehearsal | None = None

    def use(self, optimizer: Any, rate: float) -> None:
        """Train with this optimizer, which must not be the user's own, and make two steps to know their time."""
        at_rate(optimizer, rate)
        if self._rehearsal is not None:
            self._rehearsal.restart()
        self._rehearsal = Rehearsal(self._model, self._loss, optimizer, self._loss_weights)
        for _ in range(2):
            before = time.process_time()
            self._rehearsal.step(self._batches[0])
            self._step_seconds = time.process_time() - before
            if time.process_time() - self._began > _PATIENCE:
                raise self._too_long()

    def affordable(self, steps: int) -> int:
        """On how many batches so many steps can be made in the time that is left."""
        left = _PATIENCE - (time.process_time() - self._began)
        for count in (min(_SEEDS, len(self._batches)), 1):
            if count * steps * self._step_seconds <= left:
                return count
        raise self._too_long()

    def run(self, index: int, rate: float, steps: int, is_decided: Callable[[float], bool] | None = None) -> _Run:
        """Train on one batch from the start; its last loss is the mean of three."""
        rehearsal, batch = self._rehearsal, self._batches[index]
        assert rehearsal is not None
        rehearsal.restart()
        rehearsal.optimizer._learning_rate.assign(rate)
        losses: list[float] = []
        while len(losses) < steps and not (is_decided and len(losses) > 3 and is_decided(float(np.mean(losses[-3:])))):
            losses.append(rehearsal.step(batch))
            if time.perf_counter() - self._wall > _WALL:
                raise OutOfTimeError(f"{_WALL:.0f} s did not suffice for a trial on this busy machine")
            if not isfinite(losses[-1]):
                break
        end = float(np.mean(losses[-3:])) if isfinite(losses[-1]) else float("inf")
        return _Run(losses[0], end, self._spread(batch), len(losses))

    def _too_long(self) -> OutOfTimeError:
        return OutOfTimeError(f"a training step takes {self._step_seconds:.1f} s of processor time")

    def _spread(self, batch: Batch) -> float:
        if keras.backend.backend() == "jax":  # eager JAX compiles every operation by itself
            outputs = self._model.predict_on_batch(batch.x)
        else:
            inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, batch.x)
            outputs = self._model(inputs, training=False)
        arrays = [to_host(output).astype("float64") for output in keras.tree.flatten(outputs)]
        return float(max(array.std(axis=tuple(range(array.ndim - 1))).max() for array in arrays))
