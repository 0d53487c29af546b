"""A trained run, scored anew: on its own held-out samples or on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segnosis import data
from segnosis.core.errors import DataError
from segnosis.data.dataset import Dataset
from segnosis.jobs.run import Run, opened
from segnosis.training.listener import Listener


def evaluate(run: str | Path | Run, source: str | Path = "", *, listener: Listener | None = None) -> dict[str, Any]:
    """Score a run on samples with masks, whole images, per class; after deep supervision every depth as well.

    Args:
        run: Run folder, or the run.
        source: Folder of images and masks; every sample counts. `""`: the run's own data, of which its held-out
            samples count.
        listener: Who is told of the progress.

    Returns:
        What `scores.json` holds: means, `per_class`, `confusion`, `samples`, and `depths` after deep supervision: of
        each depth `parameters`, `milliseconds` a tile, and scores.
    """
    from segnosis.training import depths
    from segnosis.training.evaluate import evaluate as score
    from segnosis.training.predict import Predictor

    run = run if isinstance(run, Run) else opened(run)
    listener = listener or Listener()
    dataset = _others(run, source) if source else _held_out(run)
    networks = run.depths() or [run.model()]
    scores = score(
        Predictor.planned(run.plan, networks[-1]),
        dataset,
        progress=lambda done, total: listener.step("scoring whole images", done, total),
    )
    if len(networks) > 1:
        scores["depths"] = depths.table(
            networks,
            run.plan,
            dataset,
            deepest=scores,
            progress=lambda done, total: listener.step("scoring every depth", done, total),
        )
    return scores


def _held_out(run: Run) -> Dataset:
    """The samples that the run itself was scored on."""
    plan = run.plan
    dataset = data.open(plan.data, reader=plan.reader, class_names=plan.class_names, ignore_class=plan.ignore_class)
    index = {name: position for position, name in enumerate(dataset.ids)}
    missing = [name for name in run.scores["split"]["test"] if name not in index]
    if missing:
        raise DataError(
            "The run's held-out samples are still where they were.",
            file=plan.data,
            received={"missing": missing[0], "and more": len(missing) - 1},
            cure="Name the folder to evaluate on: `segnosis evaluate RUN DATA`.",
        )
    return dataset.subset([index[name] for name in run.scores["split"]["test"]])


def _others(run: Run, source: str | Path) -> Dataset:
    """Samples of the same classes, of whatever folder."""
    names = tuple(run.scores["per_class"])
    dataset = data.open(source, class_names=None)
    if dataset.spec.num_classes != len(names):
        raise DataError(
            f"The run knows {len(names)} classes ({', '.join(names)}).",
            file=source,
            received={"classes": ", ".join(dataset.spec.class_names)},
            cure="Evaluate on masks of the same classes.",
        )
    return dataset


def predictor(run: Run) -> Any:
    """The run's model, applied as its plan says."""
    from segnosis.training.predict import Predictor

    return Predictor.planned(run.plan, run.model())
