"""What a place of records must do, and the numbers of an epoch by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from segnosis.core.run_folder import RunFolder
from segnosis.training.plan import Plan

End = Literal["finished", "stopped", "failed"]


class Tracker(Protocol):
    """A place of records. Its methods run in a thread of their own, in this order; what they raise stops nothing."""

    def begin(self, plan: Plan) -> None:
        """Training begins: what it follows."""

    def epoch(self, line: Mapping[str, Any], folder: RunFolder) -> None:
        """An epoch is done: its line of `history.jsonl`; its picture is in the folder."""

    def finish(self, scores: Mapping[str, Any], folder: RunFolder) -> None:
        """The run is scored and has its report."""

    def close(self, end: End) -> None:
        """Nothing more comes."""


def numbers(line: Mapping[str, Any], *, prefix: str = "") -> dict[str, float]:
    """The numbers of a history line or of scores by one name each; what has no value is left out.

    Example:
        >>> numbers({"loss": 0.5, "best": True, "iou": {"cell": 0.25, "wall": None}}, prefix="test/")
        {'test/loss': 0.5, 'test/iou/cell': 0.25}
    """
    found: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            found |= numbers(value, prefix=f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[prefix + name] = float(value)
    return found


def held_out(scores: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of `scores.json` that sum up a run: its means and its classes."""
    means = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    return numbers({**means, "per_class": scores["per_class"]}, prefix="test/")
