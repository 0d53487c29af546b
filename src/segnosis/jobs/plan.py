"""What train would do, without doing it."""

from __future__ import annotations

from pathlib import Path

from segnosis import data
from segnosis.jobs.train import examined
from segnosis.training import planner
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan


def plan(
    source: str | Path,
    *,
    model: str | None = None,
    backbone: str | None = None,
    weights: str | Path | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    seed: int = 0,
    listener: Listener | None = None,
) -> Plan:
    """The plan `segnosis.train(source, …)` would follow, every decision with its reason."""
    fingerprint, _, parts = examined(data.open(source), seed=seed, listener=listener or Listener())
    return planner.plan(
        fingerprint,
        data=str(source),
        training_samples=len(parts[0]),
        seed=seed,
        model=model,
        backbone=backbone,
        weights=None if weights is None else str(weights),
        epochs=epochs,
        minutes=minutes,
    )
