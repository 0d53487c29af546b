"""A few dozen real training steps on copies, as given and with ReLU in place of hidden sigmoids.

Asked of networks most of whose hidden layers end in sigmoid. Whether that keeps them from learning
cannot be read from gradients alone: Adam makes small ones large, and some such networks learn well. Same batches, the
user's optimizer at the user's rate; kernels behind a ReLU begin as He draws them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import raised
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._trial_batches import few_with_foreground, guessing
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.planned_training import PlannedTraining
from segnosis.doctor.graph import all_layers
from segnosis.doctor.mending import relu_inside
from segnosis.doctor.random_state import to_host
from segnosis.doctor.rehearsal import OutOfTimeError, Rehearsal, at_rate, loss_weights_of
from segnosis.doctor.snapshot import model_copy, optimizer_copy

PRICE = "gradient"

_SEEDS, _STEPS, _MORE_STEPS = 3, 40, 120
_LEARNS = 0.5
"""Share of what guessing costs, or of the first loss, below which a network learns and no trial is needed."""
_HALVING = ("sigmoid", "hard_sigmoid")
"""Units whose slope is a quarter at most, and around one half whatever comes in; tanh lets small numbers through."""
_PATIENCE = 40.0  # seconds of processor time


@dataclass(frozen=True)
class ReluTrial:
    """Losses per batch; `inf` where a training broke.

    Attributes:
        units: Names of the activations that were exchanged.
        layers, of: Layers with one of them, and hidden layers with kernels.
        steps: Steps made at most; a training whose answer is clear ends early.
        start, end: Before the first and after the last step, as given.
        relu_start, relu_end: The same with ReLU; empty where the network learns as it is.
        guessing: What guessing by class frequency costs; empty where that cannot be told.
        more_steps, later: Three times the steps as given, on the first batch, and the loss after them; 0 and `None`
            where the network learns as it is, or ReLU does not help it.
        gave_up: Why the trial was not made to its end; empty when it was.
    """

    units: tuple[str, ...]
    layers: int
    of: int
    steps: int
    start: tuple[float, ...]
    end: tuple[float, ...]
    relu_start: tuple[float, ...] = ()
    relu_end: tuple[float, ...] = ()
    guessing: tuple[float, ...] = ()
    more_steps: int = 0
    later: float | None = None
    gave_up: str = ""


def measure(
    model: keras.Model,
    loss: Any,
    optimizer: Any,
    heads: Sequence[Head],
    batches: Sequence[Batch],
    encodings: Mapping[str, Encoding],
    forward: Mapping[str, Output],
    planned_training: PlannedTraining,
) -> ReluTrial:
    """Raises `Unavailable` where less than half of the hidden layers are sigmoids, or no trial can be made."""
    ends = {head.layer for head in heads}
    hidden = [layer for layer in all_layers(model) if _has_kernel(layer) and layer.name not in ends]
    units = [name for layer in all_layers(model) if layer.name not in ends and (name := _unit(layer)) in _HALVING]
    if not hidden or len(units) < 0.5 * len(hidden):
        raise Unavailable("hidden layers are no sigmoids")
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise Unavailable("the optimizer is not one of Keras")
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    rate = float(to_host(inner.learning_rate)) if planned_training.rate is None else planned_training.rate
    given = few_with_foreground(batches, heads, encodings, _SEEDS)
    until = time.process_time() + _PATIENCE

    told = ReluTrial(tuple(dict.fromkeys(units)), len(units), len(hidden), _STEPS, (), ())

    def rehearsal(copy: keras.Model) -> Rehearsal:
        return Rehearsal(copy, loss, at_rate(optimizer_copy(inner), rate), loss_weights_of(model))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN is an answer here
        try:
            guesses = guessing(model, given, heads, encodings, forward)
            told = replace(told, guessing=guesses)
            as_given, plain = rehearsal(model_copy(model, given[0].x)), []
            for index, batch in enumerate(given):
                plain.append(_trained(as_given, batch, until, guesses[index] if guesses else None))
                if plain[-1].learns:  # that one batch is the answer
                    return replace(told, start=_starts(plain), end=_ends(plain))
            copy = model_copy(model, given[0].x)
            relu_inside(copy, ends)
            mended = rehearsal(copy)
            relu = [_trained(mended, batch, until, run.end) for batch, run in zip(given, plain, strict=True)]
            if all(run.learns for run in relu):
                later = _trained(as_given, given[0], until, guesses[0] if guesses else None, _MORE_STEPS)
                told = replace(told, more_steps=_MORE_STEPS, later=later.end)
        except Unavailable:
            raise
        except OutOfTimeError as reason:
            return replace(told, gave_up=str(reason))
        except Exception as error:  # anything that anyone's model or loss can raise; fit() raises the same
            raise Unavailable(f"a training step raises ({raised(error).error})") from error
    return replace(told, start=_starts(plain), end=_ends(plain), relu_start=_starts(relu), relu_end=_ends(relu))


@dataclass(frozen=True)
class _Run:
    start: float
    end: float
    learns: bool


def _trained(rehearsal: Rehearsal, batch: Batch, until: float, against: float | None, steps: int = _STEPS) -> _Run:
    """Train on one batch, until it is well below `against`, or below its first loss where there is nothing else."""
    rehearsal.restart()
    losses = [rehearsal.step(batch)]
    goal = _LEARNS * (losses[0] if against is None else min(against, losses[0]))
    while len(losses) < steps and isfinite(losses[-1]):
        losses.append(rehearsal.step(batch))
        if len(losses) >= 3 and np.mean(losses[-3:]) < 0.8 * goal:
            break
        if time.process_time() > until:
            raise OutOfTimeError(f"{_PATIENCE:.0f} s of processor time did not suffice to try ReLU in their place")
    end = float(np.mean(losses[-3:])) if isfinite(losses[-1]) else float("inf")
    return _Run(losses[0], end, end < goal)


def _starts(runs: Sequence[_Run]) -> tuple[float, ...]:
    return tuple(run.start for run in runs)


def _ends(runs: Sequence[_Run]) -> tuple[float, ...]:
    return tuple(run.end for run in runs)


def _has_kernel(layer: keras.layers.Layer) -> bool:
    return isinstance(getattr(layer, "kernel", None), keras.Variable)


def _unit(layer: keras.layers.Layer) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "")
