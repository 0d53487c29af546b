"""A finished run, as Python sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnosis import data
from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import DataError, RunError
from segnosis.core.run_folder import RunFolder, read_json
from segnosis.data.dataset import Dataset
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.training.plan import Plan

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Run:
    """A run folder that finished.

    Attributes:
        out: The folder.
    """

    out: Path

    @property
    def folder(self) -> RunFolder:
        """Where each file lies."""
        return RunFolder(self.out)

    @cached_property
    def scores(self) -> dict[str, Any]:
        """Held-out scores: `mean_iou`, `mean_dice`, `foreground_iou`, `foreground_dice`, `per_class`, …"""
        return read_json(self.folder.scores, holds="per_class")

    @cached_property
    def plan(self) -> Plan:
        """The plan as it was followed."""
        return Plan.load(self.folder.plan)

    @cached_property
    def spec(self) -> DatasetSpec:
        """What the data set was that it was trained on."""
        return DatasetSpec.stored(self.folder.fingerprint)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What the doctor says of data and run."""
        return Diagnosis.from_json(read_json(self.folder.diagnosis, holds="verdicts"))

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.folder.report

    def model(self) -> keras.Model:
        """The trained model: raw pixels to logits."""
        return _loaded(self.folder.model)

    def depths(self) -> list[keras.Model]:
        """After training with deep supervision: the networks of all depths, shallowest first, `model()` the last."""
        count = len(self.scores.get("depths", []))
        shallower = [_loaded(self.folder.depth(depth)) for depth in range(1, count)]
        return [*shallower, self.model()] if count else []


def _loaded(file: Path) -> keras.Model:
    import keras

    try:
        return keras.models.load_model(file, compile=False)
    except Exception as error:  # a file that is missing, cut off or of a newer Keras each leads to something else
        raise DataError(
            "The model of a run is a whole file that Keras can open.",
            file=file,
            received={"problem": f"{type(error).__name__}: {' '.join(str(error).split())}"},
            cure="Copy the run folder again from where it was trained, or train again.",
        ) from error


def data_of(plan: Plan) -> Dataset:
    """The data set of a plan, opened as the plan says."""
    return data.open(
        plan.data, reader=plan.reader, class_names=plan.class_names, ignore_class=plan.ignore_class, nan=plan.nan
    )


FOLDS = "folds.json"
"""What makes a folder a cross-validation: what was asked for, beside the runs of its folds."""


def fold_folders(out: str | Path) -> list[Path]:
    """Run folders of the folds of a cross-validation in `out`, begun or not; none where `out` is something else.

    Example:
        >>> fold_folders("runs/none")
        []
    """
    job = Path(out) / FOLDS
    count = read_json(job, holds="folds")["folds"] if job.exists() else 0
    return [Path(out) / f"fold-{number + 1}" for number in range(count)]


def members(out: str | Path) -> list[Run]:
    """The finished run in `out`, or those of its folds."""
    return [opened(folder) for folder in fold_folders(out) or [Path(out)]]


def opened(out: str | Path) -> Run:
    """The finished run in `out`; a folder that is none, or that did not finish, is one clear error."""
    run = Run(Path(out))
    if folds := fold_folders(out):
        raise RunError(
            "This folder is a cross-validation; one of its folds is a run.",
            received={"run": str(out), "folds": len(folds)},
            cure=f"Name a fold, as {folds[0]}; `segnosis predict` and `segnosis report` take the whole folder.",
        )
    if not run.folder.plan.exists():
        raise RunError(
            "A run is a folder made by `segnosis train`, with a plan.yaml in it.",
            received={"run": str(out)},
            cure="Name such a folder, or make one with `segnosis train DATA --out RUN`.",
        )
    if not run.folder.scores.exists():
        raise RunError(
            "This run was stopped before it was scored.",
            received={"run": str(out), "epochs done": sum(1 for _ in run.folder.epochs())},
            cure=f"Finish it with {run.folder.resume}.",
        )
    return run
