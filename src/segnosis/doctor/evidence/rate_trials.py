"""A few dozen real training steps on copies, at the user's step size and others, where that size is suspicious.

Steps of a usual size are not tried: nothing would be learned from it that a person does not see in the first epoch.
Too small: all planned steps are gone through in a few dozen, each as many times larger, and held against Adam(1e-3).
Too large: the user's rate against a tenth and a hundredth of it. Same weights, same batches, three of them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from segnosis.doctor.ask import raised
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.planned_movement import PlannedMovement
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import borrowed, optimizer_copy

PRICE = "gradient"

SMALL_STEP, LARGE_STEP = 2e-3, 0.05
HOPELESS = 0.01
"""Largest planned change of a kernel with which no trial is needed."""
REFERENCE_RATE = 1e-3
_BOLDEST = 0.03
_SEEDS = 3
_MOST, _LEAST, _RAMP = 40, 12, 10
_PATIENCE = 16.0  # seconds of processor time, which a busy machine does not stretch
_WALL = 25.0
_PIXELS = 2 * 128 * 128


class _OutOfTimeError(Exception):
    """A trial would take longer than a probe may."""


@dataclass(frozen=True)
class Trial:
    """One way of stepping, from the same weights on each of the batches.

    Attributes:
        name: `"planned"`, `"reference"`, or a rate such as `"x0.1"`.
        rate: Learning rate that the user would type for it.
        steps: Steps made.
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
        guessing: What guessing by class frequency costs on each of the batches; empty where the loss is not a plain
            cross-entropy.
        faithful: Whether the planned steps could be gone through in full.
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
    planned_movement: PlannedMovement,
) -> RateTrials:
    """Raises `Unavailable` when steps are of a usual size: then nothing asks for a trial."""
    moved = planned_movement
    if SMALL_STEP <= moved.per_step <= LARGE_STEP:
        raise Unavailable("the steps are of a usual size")
    if moved.at_most < HOPELESS:
        raise Unavailable("the optimizer alone shows that nothing can move")
    given = _few_with_foreground(batches, heads, encodings)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    with borrowed(model, given[0].x) as copy, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN is an answer here
        trainer = _Trainer(copy, loss, getattr(model._compile_loss, "_user_loss_weights", None), given)
        try:
            if moved.per_step < SMALL_STEP:
                return _too_low(trainer, inner, moved, _guessing(model, given, heads, encodings))
            return _too_high(trainer, inner, moved)
        except Unavailable:
            raise
        except _OutOfTimeError as reason:
            asks: Literal["too-low", "too-high"] = "too-low" if moved.per_step < SMALL_STEP else "too-high"
            return RateTrials(asks, (), gave_up=str(reason))
        except Exception as error:  # anything that anyone's model or loss can raise; fit() raises the same
            raise Unavailable(f"a training step raises ({raised(error).error})") from error


def _too_low(trainer: _Trainer, optimizer: Any, moved: PlannedMovement, guessing: tuple[float, ...]) -> RateTrials:
    trainer.use(optimizer_copy(optimizer), moved.rate)
    steps, seeds = trainer.affordable(arms=2)
    wanted = max(1.0, moved.steps / steps)
    factor = min(wanted, _BOLDEST / max(moved.per_step, 1e-12))
    if factor < wanted:
        return RateTrials("too-low", (), faithful=False)
    planned = trainer.trial("planned", moved.rate, moved.rate * factor, steps + _RAMP, seeds)
    trainer.use(keras.optimizers.Adam(REFERENCE_RATE), REFERENCE_RATE)
    reference = trainer.trial("reference", REFERENCE_RATE, REFERENCE_RATE, min(steps, moved.steps), seeds)
    return RateTrials("too-low", (planned, reference), guessing[:seeds])


def _too_high(trainer: _Trainer, optimizer: Any, moved: PlannedMovement) -> RateTrials:
    trainer.use(optimizer_copy(optimizer), moved.rate)
    steps, seeds = trainer.affordable(arms=3)
    trials = [trainer.trial(f"x{f:g}", f * moved.rate, f * moved.rate, steps, seeds) for f in (1.0, 0.1, 0.01)]
    return RateTrials("too-high", tuple(trials))


class _Trainer:
    """Trains a copy again and again from the same weights."""

    def __init__(self, model: keras.Model, loss: Any, loss_weights: Any, batches: Sequence[Batch]) -> None:
        self._model, self._loss, self._loss_weights, self._batches = model, loss, loss_weights, batches
        self._weights = [(variable, to_host(variable)) for variable in model.variables]
        self._began, self._wall = time.process_time(), time.perf_counter()
        self._step_seconds = 0.0

    def use(self, optimizer: Any, rate: float) -> None:
        """Compile with this optimizer, which must not be the user's own, and make two steps to know their time."""
        optimizer.__dict__["_learning_rate"] = None
        optimizer._learning_rate = keras.Variable(rate, dtype="float32", trainable=False, name="learning_rate")
        optimizer.build(self._model.trainable_variables)
        jit = "auto" if keras.backend.backend() == "jax" else False  # XLA slows convolutions down on a CPU
        self._model.compile(optimizer, self._loss, loss_weights=self._loss_weights, jit_compile=jit)
        self._optimizer = optimizer
        self._state = [(variable, to_host(variable)) for variable in optimizer.variables]
        for _ in range(2):
            before = time.process_time()
            self._step(self._batches[0])
            self._step_seconds = time.process_time() - before
            if time.process_time() - self._began > _PATIENCE:
                raise _OutOfTimeError(f"a training step takes {self._step_seconds:.1f} s of processor time")

    def affordable(self, arms: int) -> tuple[int, int]:
        """Steps and batches that the rest of the time allows."""
        left = _PATIENCE - (time.process_time() - self._began) * (1.5 if arms == 2 else 1.0)
        for seeds in (min(_SEEDS, len(self._batches)), 1):
            steps = int(left / max(1e-4, arms * seeds * self._step_seconds))
            if steps >= _LEAST:
                return min(_MOST, steps), seeds
        raise _OutOfTimeError(f"a training step takes {self._step_seconds:.1f} s of processor time")

    def trial(self, name: str, said: float, rate: float, steps: int, seeds: int) -> Trial:
        """Train on each batch from the start; the loss is the mean of the last three steps."""
        starts, ends, spreads = [], [], []
        for batch in self._batches[:seeds]:
            for variable, value in (*self._weights, *self._state):
                variable.assign(value)
            self._optimizer._learning_rate.assign(rate)
            losses = []
            for _ in range(steps):
                losses.append(self._step(batch))
                if time.perf_counter() - self._wall > _WALL:
                    raise _OutOfTimeError(f"{_WALL:.0f} s did not suffice for a trial on this busy machine")
                if not np.isfinite(losses[-1]):
                    break
            starts.append(losses[0])
            ends.append(float(np.mean(losses[-3:])) if np.isfinite(losses).all() else float("inf"))
            spreads.append(self._spread(batch))
        for variable, value in self._weights:
            variable.assign(value)
        return Trial(name, said, steps, tuple(starts), tuple(ends), tuple(spreads))

    def _spread(self, batch: Batch) -> float:
        if keras.backend.backend() == "jax":  # eager JAX compiles every operation by itself
            outputs = self._model.predict_on_batch(batch.x)
        else:
            inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, batch.x)
            outputs = self._model(inputs, training=False)
        arrays = [to_host(output).astype("float64") for output in keras.tree.flatten(outputs)]
        return float(max(array.std(axis=tuple(range(array.ndim - 1))).max() for array in arrays))

    def _step(self, batch: Batch) -> float:
        found = self._model.train_on_batch(batch.x, batch.y, batch.sample_weight, return_dict=True)
        self._model.reset_metrics()
        return float(found["loss"])


def _few_with_foreground(
    batches: Sequence[Batch], heads: Sequence[Head], encodings: Mapping[str, Encoding]
) -> list[Batch]:
    """Three small batches of samples that show something."""
    pixels = int(np.prod(np.shape(keras.tree.flatten(batches[0].x)[0])[1:3])) or 1
    count = max(1, min(4, _PIXELS // pixels))
    head = next((head for head in heads if head.name in encodings and encodings[head.name].kind != "other"), None)
    found = []
    for index, batch in enumerate(list(batches)[: 4 * _SEEDS]):
        size = len(keras.tree.flatten(batch.x)[0])
        order = np.arange(size)
        if head is not None and index < len(encodings[head.name].arrays):
            encoding = encodings[head.name]
            ids = encoding.ids(encoding.arrays[index])
            shown = (ids > 0).reshape(len(ids), -1).mean(axis=1)
            order = np.argsort(-shown, kind="stable")
        for start in range(0, size, count):
            chosen = order[start : start + count]
            if len(chosen) == min(count, size) and (start == 0 or len(batches) < _SEEDS):
                found.append(_rows(batch, chosen))
        if len(found) >= _SEEDS:
            break
    return found[:_SEEDS]


def _guessing(
    model: keras.Model, batches: Sequence[Batch], heads: Sequence[Head], encodings: Mapping[str, Encoding]
) -> tuple[float, ...]:
    """Entropy of the class frequencies of each batch, where that is what a constant answer costs."""
    head = heads[0]
    encoding = encodings.get(head.name)
    plain = len(heads) == 1 and head.family in ("sparse", "one-hot", "binary") and not model.losses
    if not plain or encoding is None or encoding.kind not in ("ids", "binary", "one-hot"):
        return ()
    found = []
    for batch in batches:
        ids = encoding.ids(np.asarray(head.pick(batch.y)))
        if (ids < 0).any() or batch.sample_weight is not None:
            return ()
        share = np.bincount(ids.ravel()) / ids.size
        found.append(float(-np.sum(share[share > 0] * np.log(share[share > 0]))))
    return tuple(found)


def _rows(batch: Batch, rows: np.ndarray) -> Batch:
    def cut(part: Any) -> Any:
        return None if part is None else keras.tree.map_structure(lambda leaf: np.asarray(leaf)[rows], part)

    return Batch(cut(batch.x), cut(batch.y), cut(batch.sample_weight))
