"""What a measure is given and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from segnosis.core import discovery

_PACKAGE = "segnosis.training.measures"


@dataclass(frozen=True, slots=True)
class Scored:
    """One whole image, predicted.

    Attributes:
        id: Name of the sample.
        group: Its group.
        truth: `(height, width)` int32 class ids; −1 where a pixel is ignored.
        guess: `(height, width)` int32 predicted class ids.
        probabilities: `(height, width, num_classes)` float32.
    """

    id: str
    group: str
    truth: np.ndarray
    guess: np.ndarray
    probabilities: np.ndarray


class Measure(Protocol):
    """Sees every sample once; keeps little. The constructor takes the names of the classes, background first."""

    def __init__(self, class_names: Sequence[str]) -> None: ...

    def add(self, sample: Scored) -> None:
        """Take one sample into account."""

    def result(self) -> Any:
        """Plain JSON; `None` where there was nothing to measure."""


def measures(class_names: Sequence[str], only: Sequence[str] | None = None) -> dict[str, Measure]:
    """A new measure of every kind, or of those named in `only`, by name."""
    kinds = [discovery.member(_PACKAGE, name) for name in discovery.members(_PACKAGE)]
    by_name = {kind.__module__.rsplit(".", 1)[-1]: kind for kind in kinds}
    return {name: kind(class_names) for name, kind in by_name.items() if only is None or name in only}
