"""A trained run on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segnosis import data
from segnosis.core.errors import DataError
from segnosis.jobs.run import Run, opened
from segnosis.training.listener import Listener


def evaluate(run: str | Path | Run, source: str | Path, *, listener: Listener | None = None) -> dict[str, Any]:
    """Score a run on every sample of `source`, whole images, per class.

    Class ids are matched by name where both sides have real names in another order.

    Args:
        run: Run folder, or the run.
        source: Folder of images and masks.
        listener: Who is told of the progress.

    Returns:
        What `scores.json` holds: means, `per_class`, `confusion`, `samples`.
    """
    from segnosis.training.evaluate import evaluate as score

    run = run if isinstance(run, Run) else opened(run)
    listener = listener or Listener()
    names = tuple(run.scores["per_class"])
    dataset = data.open(source, class_names=None)
    if dataset.spec.num_classes != len(names):
        raise DataError(
            f"The run knows {len(names)} classes ({', '.join(names)}).",
            file=source,
            received={"classes": ", ".join(dataset.spec.class_names)},
            cure="Evaluate on masks of the same classes.",
        )
    return score(
        predictor(run), dataset, progress=lambda done, total: listener.step("scoring whole images", done, total)
    )


def predictor(run: Run) -> Any:
    """The run's model, applied as its plan says."""
    from segnosis.training.predict import Predictor

    return Predictor.planned(run.plan, run.model())
