"""What a run tells while it goes on. The default says nothing; a command line or a notebook overrides what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segnosis.training.plan import Plan


class Listener:
    """Receives the steps of a run as they happen."""

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Something long is going on: `done` of `total` (unknown: `None`)."""

    def planned(self, plan: Plan) -> None:
        """The plan is made."""

    def forecast(self, seconds: float, text: str) -> None:
        """How long training will take, before it starts."""

    def batch(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        """A training step is done; numbers start at 1."""

    def epoch(self, line: Mapping[str, Any], epochs: int) -> None:
        """An epoch is recorded: `line` is what `history.jsonl` got."""

    def say(self, text: str) -> None:
        """A sentence for the person watching."""
