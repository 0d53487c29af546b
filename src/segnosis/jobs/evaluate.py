"""A trained run, scored anew: on its own held-out samples or on other data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segnosis import data
from segnosis.core.errors import DataError, RunError
from segnosis.core.run_folder import write_json
from segnosis.data.dataset import Dataset
from segnosis.jobs.run import Run, data_of, opened
from segnosis.training.listener import Listener


def evaluate(
    run: str | Path | Run,
    source: str | Path = "",
    *,
    classes: Mapping[str, str] | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Score a run on samples with masks, whole images, per class; after deep supervision every depth as well.

    Args:
        run: Run folder, or the run.
        source: Folder of images and masks; every sample counts. `""`: the run's own data, of which its held-out
            samples count.
        classes: Class of `source`, by its name or the value its masks store, → class of the run, or `"ignore"`; for
            those that are called otherwise there. Classes of one name belong together, whatever their order.
        listener: Who is told of the progress.

    Returns:
        What `scores.json` holds: means, `per_class`, `intervals`, `confusion`, `samples`, each measure of
        `segnosis.training.measures`, and `depths` after deep supervision: of each depth `parameters`, `milliseconds` a
        tile, and scores.

    Raises:
        DataError: No sample can be read.
    """
    from segnosis.training import depths
    from segnosis.training.evaluate import evaluate as score
    from segnosis.training.predict import Predictor
    from segnosis.training.relabel import Relabel

    run = run if isinstance(run, Run) else opened(run)
    listener = listener or Listener()
    dataset = data.open(source, nan=run.plan.nan) if source else own_samples(run, "test")
    relabel = Relabel.by_name(tuple(run.scores["per_class"]), dataset.spec, classes) if source else None
    like = run.spec if source else None
    if relabel is not None and relabel.says:
        listener.say(relabel.says)
    if source and (seen := _learnt(run, dataset)):
        listener.say(
            f"{seen} of these {len(dataset)} samples chose the weights of this run, so the scores flatter; without "
            "DATA its held-out samples count"
        )
    networks = run.depths() or [run.model()]
    scores = score(
        Predictor.planned(run.plan, networks[-1]),
        dataset,
        relabel=relabel,
        like=like,
        progress=lambda done, total: listener.step("scoring whole images", done, total),
    )
    if left_out := scores["unreadable"]:
        if not scores["images"]:
            dataset[dataset.ids.index(left_out[0])]  # raises what is wrong with it
        names = ", ".join(left_out[:3]) + (", …" if len(left_out) > 3 else "")
        listener.say(f"{len(left_out)} of {len(dataset)} samples cannot be read and do not count: {names}")
    if len(networks) > 1:
        scores["depths"] = depths.table(
            networks,
            run.plan,
            dataset,
            deepest=scores,
            relabel=relabel,
            like=like,
            progress=lambda done, total: listener.step("scoring every depth", done, total),
        )
    return scores


def update(run: str | Path | Run, *, listener: Listener | None = None) -> dict[str, Any]:
    """Score a run anew on its own held-out samples, into its `scores.json`, pictures and report.

    Args:
        run: Run folder, or the run.
        listener: Who is told of the progress.

    Returns:
        What `scores.json` then holds.
    """
    from segnosis.report import run_report
    from segnosis.training.assess import assess

    run = run if isinstance(run, Run) else opened(run)
    networks = run.depths() or [run.model()]
    parts = [own_samples(run, part) for part in ("train", "validation", "test")]
    found = assess(run.folder, run.plan, networks, parts, listener=listener)
    scores = {**found, **{name: value for name, value in run.scores.items() if name not in found}}
    write_json(run.folder.scores, scores)
    run_report.write(run.folder)
    return scores


def _learnt(run: Run, dataset: Dataset) -> int:
    """How many samples the run was trained on, or chose its best epoch by, where they are of its own data."""
    if dataset.root != Path(run.plan.data).expanduser().resolve():
        return 0
    split = run.scores.get("split") or {}
    chosen = {name for part in ("train", "validation") for name in split.get(part, ())}
    return len(chosen.difference(split.get("test", ())).intersection(dataset.ids))


def own_samples(run: Run, part: str) -> Dataset:
    """The samples of a run's own data that it was scored on (`"test"`), trained on, or validated with."""
    plan = run.plan
    dataset = data_of(plan)
    index = {name: position for position, name in enumerate(dataset.ids)}
    wanted = run.scores["split"][part]
    missing = [name for name in wanted if name not in index]
    if missing:
        raise DataError(
            f"The run's {'held-out' if part == 'test' else part} samples are still where they were.",
            file=plan.data,
            received={"missing": missing[0], "and more": len(missing) - 1},
            cure="Name the folder to evaluate on: `segnosis evaluate RUN DATA`.",
        )
    if not wanted:
        raise RunError(
            f"A run has {'held-out' if part == 'test' else part} samples.",
            received={"run": str(run.out), part: 0},
            cure="Name the folder to evaluate on: `segnosis evaluate RUN DATA`.",
        )
    return dataset.subset([index[name] for name in wanted])


def predictor(run: Run) -> Any:
    """The run's model, applied as its plan says."""
    from segnosis.training.predict import Predictor

    return Predictor.planned(run.plan, run.model())
