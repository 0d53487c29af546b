"""Callbacks that wait for a number to get better, and in which direction each takes for better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from segnosis.doctor.case import callbacks_of
from segnosis.doctor.evidence.perfect_prediction import Probe

PRICE = "batch"

Direction = Literal["min", "max"]


@dataclass(frozen=True)
class Monitor:
    """One callback.

    Attributes:
        callback: Its class.
        monitor: What it watches, as Keras names it.
        mode: What it takes for better, as its user said it.
        better: What is better; `None` where nobody knows.
        counted: Values of a metric for a perfect and for a wrong prediction; `None` of a loss.
    """

    callback: str
    monitor: str
    mode: Direction
    better: Direction | None
    counted: tuple[float, float] | None = None

    @property
    def is_reversed(self) -> bool:
        """Whether it waits for the number to get worse."""
        return self.better is not None and self.better != self.mode

    @property
    def said(self) -> str:
        """What is wrong with a reversed one, in words."""
        why = "it is a loss"
        if self.counted is not None:
            why = f"it is {self.counted[0]:.3g} for a perfect prediction and {self.counted[1]:.3g} for a wrong one"
        return f"{self.callback} takes `{self.monitor}` for better where it is {_WORD[self.mode]}: {why}."


def first_reversed(monitors: Sequence[Monitor] | None, *callbacks: str) -> Monitor | None:
    """The first of the callbacks of these classes that waits for worse."""
    return next((one for one in monitors or () if one.is_reversed and one.callback in callbacks), None)


_WORD = {"min": "lower", "max": "higher"}


def measure(
    fit_arguments: Mapping[str, Any], perfect_prediction: Mapping[str, Probe] | None = None
) -> tuple[Monitor, ...]:
    """Those of the `fit` whose user said the mode; without one Keras finds it, or refuses."""
    found = []
    for callback in callbacks_of(fit_arguments):
        watched, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if not isinstance(watched, str) or mode not in ("min", "max"):
            continue
        name = watched.removeprefix("val_")
        counted = _counted(name, perfect_prediction or {})
        better: Direction | None = None
        if name == "loss" or name.endswith("_loss"):
            better, counted = "min", None
        elif counted is not None:
            better = "max" if counted[0] > counted[1] else "min"
        found.append(Monitor(type(callback).__name__, watched, mode, better, counted))
    return tuple(found)


def _counted(name: str, probes: Mapping[str, Probe]) -> tuple[float, float] | None:
    """Of the metric that Keras calls so, if it tells a perfect prediction from a wrong one."""
    for output, probe in probes.items():
        for metric in probe.metrics:
            known = metric.values
            if name in (metric.name, f"{output}_{metric.name}") and known is not None:
                return (known.perfect, known.wrong) if abs(known.perfect - known.wrong) > 1e-3 else None
    return None
