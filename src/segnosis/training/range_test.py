"""The learning-rate range test: rising rates, and the highest that still trains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segnosis.training import build, determinism
from segnosis.training.faster import FasterModel
from segnosis.training.feeds import feed_for
from segnosis.training.optimizer import optimizer
from segnosis.training.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from segnosis.data.dataset import Dataset

STEPS = 64
_LOWEST, _HIGHEST = 1e-5, 1.0
_SMOOTH = 0.9
"""Share of the past in the running mean of the loss."""
_BROKEN = 2.0
"""A loss so many times the lowest so far has left the range in which training works."""
_SAFE = 10.0
"""The rate is so many times below that of the lowest loss, past which training is about to break."""


@dataclass(frozen=True)
class RangeTest:
    """What rising rates did to the loss.

    Attributes:
        rates: Learning rate of each step.
        losses: Smoothed loss after each.
        rate: The rate to train with, two significant digits.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    rate: float

    def __str__(self) -> str:
        """The result as a reason."""
        lowest = int(np.argmin(self.losses))
        return (
            f"range test: with rates rising from {self.rates[0]:.0e} to {self.rates[-1]:.2g} the loss fell from "
            f"{self.losses[0]:.3f} to {self.losses[lowest]:.3f} at {self.rates[lowest]:.2g}; a tenth is safe"
        )


def measure(plan: Plan, train: Dataset, *, progress: Callable[[int, int], None] | None = None) -> RangeTest:
    """Train a fresh model of `plan` with a rate that rises at every step, until the loss leaves its range.

    Reference: Smith, Cyclical Learning Rates for Training Neural Networks, 2017.

    Args:
        plan: What would be trained.
        train: Samples to learn from.
        progress: Called with (done, total).
    """
    determinism.start(plan.seed)
    spec = train.spec
    network = build.model(plan, channels=spec.channels, num_classes=spec.num_classes)
    if plan.weights:
        build.load_weights(plan, network)
    feed = feed_for(plan.with_(steps_per_epoch=STEPS), train, training=True)
    model = FasterModel(network.input, network.output)
    # A plain number is a variable of the optimizer, and so can be set between two steps.
    model.compile(
        optimizer(plan.with_(schedule="constant", learning_rate=_LOWEST), steps=STEPS),
        build.loss(plan, ignore_class=feed.ignore_class),
        jit_compile=determinism.compiled(),
    )
    rates = np.geomspace(_LOWEST, _HIGHEST, STEPS)
    losses: list[float] = []
    for step, rate in enumerate(rates):
        model.optimizer.learning_rate = float(rate)
        model.reset_metrics()
        losses.append(float(model.train_on_batch(*feed[step], return_dict=True)["loss"]))
        if progress is not None:
            progress(step + 1, STEPS)
        if not math.isfinite(losses[-1]) or smoothed(losses)[-1] > _BROKEN * min(smoothed(losses)):
            break
    return chosen(rates[: len(losses)], losses)


def chosen(rates: Sequence[float] | np.ndarray, losses: Sequence[float]) -> RangeTest:
    """The rate that a test recommends.

    Args:
        rates: Rising rates.
        losses: Loss of the step with each; the last may be infinite or no number.

    Example:
        >>> chosen([1e-4, 1e-3, 1e-2, 1e-1], [1.0, 0.8, 0.1, 5.0]).rate
        0.001
    """
    kept = [loss for loss in losses if math.isfinite(loss)]
    curve = smoothed(kept)
    best = float(rates[int(np.argmin(curve))]) / _SAFE
    digits = 1 - math.floor(math.log10(best))
    return RangeTest(tuple(float(rate) for rate in rates[: len(kept)]), tuple(curve), round(best, digits))


def smoothed(losses: Sequence[float]) -> list[float]:
    """Running means of a noisy loss, without the pull of their start."""
    mean, found = 0.0, []
    for count, loss in enumerate(losses, start=1):
        mean = _SMOOTH * mean + (1 - _SMOOTH) * loss
        found.append(mean / (1 - _SMOOTH**count))
    return found
