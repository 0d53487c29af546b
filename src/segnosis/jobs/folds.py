"""Cross-validation: a run for every fold, one account of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from shlex import quote
from statistics import fmean, stdev
from typing import Any

from segnosis.core.errors import ArgumentError, RunError, StoppedError
from segnosis.core.run_folder import RunFolder, read_json, write_json
from segnosis.jobs.decide import only_one_limit
from segnosis.jobs.run import FOLDS, Run, fold_folders
from segnosis.jobs.train import fresh, train
from segnosis.training import processes
from segnosis.training.interruption import Interruption
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan
from segnosis.training.tracking.tracked import known

SCORES = ("foreground_dice", "foreground_iou", "mean_dice", "mean_iou")
_LEAST = 0.1
"""Share of its equal part of the budget that a fold gets at least, however late the others were."""


@dataclass(frozen=True)
class Folds:
    """A finished cross-validation; `segnosis predict` takes its folder, the ensemble of the folds predicts.

    Attributes:
        out: The folder: `fold-1`, `fold-2`, … are ordinary runs.
    """

    out: Path

    @property
    def runs(self) -> list[Run]:
        """The run of each fold."""
        return [Run(folder) for folder in fold_folders(self.out)]

    @cached_property
    def scores(self) -> dict[str, Any]:
        """Scores of every sample by the fold that held it out, `folds` one by one, and their `spread`."""
        return read_json(RunFolder(self.out).scores)

    @property
    def report(self) -> Path:
        """The report over the folds, one HTML file."""
        return RunFolder(self.out).report


def cross_validate(
    source: str | Path | Plan,
    *,
    folds: int | None = None,
    out: str | Path | None = None,
    model: str | None = None,
    backbone: str | None = None,
    weights: str | Path | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    resume: bool = False,
    anyway: bool = False,
    seed: int | None = None,
    nan: float | None = None,
    listener: Listener | None = None,
    **further: Any,
) -> Folds:
    """Train once for every fold, each held out once, by one plan; no group is ever cut.

    Args:
        source: A folder of images and masks, or a `Plan`.
        folds: How many; 5 when left out.
        out: Folder for all of it; `runs/<name>-folds-<date>` when left out.
        minutes: Wall-clock budget of all folds together.
        resume: Continue the cross-validation in `out`: what is finished stays, a fold stopped in its middle goes on.
        model, backbone, weights, epochs, anyway, seed, nan, listener: As `segnosis.train` takes them.
        **further: What else `segnosis.train` takes.

    Returns:
        The finished folds: `.scores["foreground_dice"]` of all samples, each predicted by the fold that held it out.

    Raises:
        RunError: `out` holds something already, cannot be written, or training was stopped.
        DataError: The data cannot be read, or has fewer groups than folds.
    """
    only_one_limit(minutes, epochs)
    known(further.get("track", ()))
    if processes.count() > 1:
        raise ArgumentError(
            "Several processes train one model together; a cross-validation trains its folds in one process.",
            received={"processes": processes.count()},
            cure="Start one process, which uses all devices of its host, or train one fold a time from Python: "
            "segnosis.train(data, fold=(1, 5)).",
        )
    listener = listener or Listener()
    if resume:
        root, job = _unfinished(out, folds)
    else:
        job = {
            "folds": 5 if folds is None else folds,
            "data": source.data if isinstance(source, Plan) else str(source),
            "weights": None if weights is None else str(weights),
            "minutes": minutes,
            "epochs": epochs,
            "model": model,
            "backbone": backbone,
            "anyway": anyway,
            "seed": seed,
            "nan": nan,
        }
        root = _begun(source, out, job)
    with Interruption().listening() as interruption:
        try:
            for number in range(1, job["folds"] + 1):
                _fold(root, number, job, listener, further)
        except (KeyboardInterrupt, RunError) as error:
            if isinstance(error, RunError) and not isinstance(error.__cause__, KeyboardInterrupt):
                raise
            done = sum(RunFolder(folder).scores.exists() for folder in fold_folders(root))
            raise StoppedError(
                f"Cross-validation was stopped; {done} of {job['folds']} folds are finished and kept.",
                received={"out": str(root)},
                cure=f"Go on with {RunFolder(root).resume}, or remove the folder.",
                exit_code=getattr(error, "exit_code", interruption.exit_code),
            ) from error
    made = Folds(root)
    write_json(RunFolder(root).scores, summary(made.runs))
    from segnosis.report import folds_report

    folds_report.write(RunFolder(root))
    return made


def _begun(source: str | Path | Plan, out: str | Path | None, job: dict[str, Any]) -> Path:
    """The new folder, with what was asked for in it."""
    if job["folds"] < 2:
        raise ArgumentError(
            "Cross-validation has at least two folds.", received={"folds": job["folds"]}, cure="Pass `--folds 5`."
        )
    name = Path(job["data"]).resolve().name
    root = Path(out) if out else Path("runs") / f"{name}-folds-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    fresh(root)
    if (root / FOLDS).exists():
        raise RunError(
            "A cross-validation is never overwritten.",
            received={"out": str(root)},
            cure=f"Choose another folder, or go on with it: {RunFolder(root).resume}.",
        )
    if not isinstance(source, Plan):
        from segnosis import data
        from segnosis.data import folds

        folds.deal(data.open(source), job["folds"], seed=job["seed"] or 0)  # too few groups are told before all else
    else:
        source.with_(fold=None).save(RunFolder(root).plan)
    write_json(root / FOLDS, job)
    return root


def _unfinished(out: str | Path | None, folds: int | None) -> tuple[Path, dict[str, Any]]:
    if out is None:
        raise ArgumentError("`resume` continues one job.", cure=f"Say which: {RunFolder(Path('DIR')).resume}.")
    root = Path(out)
    if not (root / FOLDS).exists():
        raise RunError(
            "There is no cross-validation to continue in this folder.",
            received={"out": str(out)},
            cure=f"Start one with `segnosis train DATA --folds 5 --out {quote(str(out))}`.",
        )
    job = read_json(root / FOLDS)
    if folds not in (None, job["folds"]):
        raise RunError(
            f"The cross-validation in this folder has {job['folds']} folds.",
            received={"out": str(out), "folds": folds},
            cure=f"Go on with it by {RunFolder(root).resume}, or choose another folder.",
        )
    return root, job


def _fold(root: Path, number: int, job: dict[str, Any], listener: Listener, further: dict[str, Any]) -> None:
    """Train one fold, or what is left to do of it."""
    folder, common = RunFolder(root / f"fold-{number}"), RunFolder(root).plan
    if not folder.scores.exists():
        import keras

        keras.utils.clear_session()  # a fold begins like a process of its own, and leaves no graph behind
        listener.say(f"fold {number} of {job['folds']}")
        shared: dict[str, Any] = {"out": folder.root, "anyway": job["anyway"], "listener": listener, **further}
        if folder.plan.exists():
            train("", resume=True, **shared)
        else:
            own = {"minutes": _share(root, number, job), "seed": job["seed"], "fold": (number, job["folds"])}
            asked = {name: job[name] for name in ("model", "backbone", "weights", "epochs", "nan")}
            if number > 1:  # the others follow the plan that the first one made
                train(Plan.load(common), **own, **shared)
            else:
                train(Plan.load(common) if common.exists() else job["data"], **asked, **own, **shared)
    if number == 1:
        Plan.load(folder.plan).with_(fold=None, minutes=job["minutes"]).save(common)
    if not folder.report.exists():  # stopped between the scores and the report
        from segnosis.report import run_report

        run_report.write(folder)


def _share(root: Path, number: int, job: dict[str, Any]) -> float | None:
    """Minutes for this fold: what the others left, in equal parts."""
    if job["minutes"] is None:
        return None
    used = sum(read_json(RunFolder(folder).scores)["seconds"] for folder in fold_folders(root)[: number - 1]) / 60
    left = (job["minutes"] - used) / (job["folds"] - number + 1)
    return max(left, _LEAST * job["minutes"] / job["folds"])


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """What `scores.json` of a cross-validation holds.

    Args:
        runs: The run of each fold.

    Returns:
        Scores of all samples as one (one confusion matrix over the folds, each sample by the fold that held it out)
        with their `intervals`, `doubts` of their masks, `samples`, `folds` (a row each) and `spread`: score → `mean`,
        `std`, `least`, `most` over the folds.
    """
    import numpy as np

    from segnosis.training.intervals import intervals
    from segnosis.training.measures import doubts
    from segnosis.training.scores import from_confusion

    names = list(runs[0].scores["per_class"])
    total = np.sum([np.asarray(run.scores["confusion"], np.int64) for run in runs], axis=0)
    rows = []
    for number, run in enumerate(runs, start=1):
        scores, cause = run.scores, run.diagnosis.cause
        rows.append(
            {
                "fold": number,
                "run": run.out.name,
                "images": scores["images"],
                "groups": len({row["group"] for row in scores["samples"]}),
                **{name: scores[name] for name in SCORES},
                "per_class": scores["per_class"],
                "best_epoch": scores["best_epoch"],
                "epochs": sum(1 for _ in run.folder.epochs()),
                "seconds": scores["seconds"],
                "cause": cause.code if cause else None,
            }
        )
    samples = [{**row, "fold": number} for number, run in enumerate(runs, 1) for row in run.scores["samples"]]
    return {
        **from_confusion(total, names),
        "intervals": intervals(np.array([row["counts"] for row in samples]), [row["group"] for row in samples], names),
        "resampled": runs[0].scores["resampled"],
        # Every sample was held out by one fold: of all of them there is a prediction by a model that never learnt it.
        "doubts": doubts.merged({run.out.name: doubts.part(run.scores["doubts"], "held-out") for run in runs}),
        "images": sum(row["images"] for row in rows),
        "unreadable": sorted({name for run in runs for name in run.scores["unreadable"]}),
        "confusion": total.tolist(),
        "samples": samples,
        "folds": rows,
        "spread": {name: spread([row[name] for row in rows]) for name in SCORES},
        "spread_per_class": {
            name: {score: spread([row["per_class"][name][score] for row in rows]) for score in ("dice", "iou")}
            for name in names
        },
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }


def spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Mean, sample standard deviation and extremes of a score over the folds that have it.

    Example:
        >>> spread([0.5, 0.7, None])
        {'mean': 0.6, 'std': 0.1414..., 'least': 0.5, 'most': 0.7, 'folds': 2}
    """
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "std": None, "least": None, "most": None, "folds": 0}
    return {
        "mean": fmean(known),
        "std": stdev(known) if len(known) > 1 else None,
        "least": min(known),
        "most": max(known),
        "folds": len(known),
    }
