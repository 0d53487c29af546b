"""What train would do, without doing it."""

from __future__ import annotations

from pathlib import Path

from segnosis import data
from segnosis.jobs.decide import examined, only_one_limit
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
    range_test: bool = False,
    seed: int = 0,
    nan: float | None = None,
    listener: Listener | None = None,
) -> Plan:
    """The plan `segnosis.train(source, …)` would follow, every decision with its reason.

    Args:
        source: A folder of images and masks.
        range_test: Measure the learning rate in a short training with rising rates, instead of the default that held
            on every data set so far.
        model, backbone, weights, minutes, epochs, seed, nan, listener: As `segnosis.train` takes them.
    """
    only_one_limit(minutes, epochs)
    listener = listener or Listener()
    fingerprint, _, parts = examined(data.open(source, nan=nan), seed=seed, listener=listener)
    made = planner.plan(
        fingerprint,
        data=str(source),
        training_samples=len(parts[0]),
        seed=seed,
        model=model,
        backbone=backbone,
        weights=None if weights is None else str(weights),
        epochs=epochs,
        minutes=minutes,
        nan=nan,
        training=parts[0],
    )
    if not range_test:
        return made
    from segnosis.training.range_test import measure

    found = measure(made, parts[0], progress=lambda done, total: listener.step("testing learning rates", done, total))
    return made.with_({"learning_rate": str(found)}, learning_rate=found.rate)
