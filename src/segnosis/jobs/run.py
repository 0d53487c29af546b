"""A finished run, as Python sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnosis.core.errors import RunError
from segnosis.core.run_folder import RunFolder, read_json
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
        return read_json(self.folder.scores)

    @cached_property
    def plan(self) -> Plan:
        """The plan as it was followed."""
        return Plan.load(self.folder.plan)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What the doctor says of data and run."""
        return Diagnosis.from_json(read_json(self.folder.diagnosis))

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.folder.report

    def model(self) -> keras.Model:
        """The trained model: raw pixels to logits."""
        import keras

        return keras.models.load_model(self.folder.model, compile=False)

    def depths(self) -> list[keras.Model]:
        """After training with deep supervision: the networks of all depths, shallowest first, `model()` the last."""
        import keras

        count = len(self.scores.get("depths", []))
        shallower = [keras.models.load_model(self.folder.depth(depth), compile=False) for depth in range(1, count)]
        return [*shallower, self.model()] if count else []


def opened(out: str | Path) -> Run:
    """The finished run in `out`; a folder that is none, or that did not finish, is one clear error."""
    run = Run(Path(out))
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
            cure=f"Finish it with `segnosis train --resume --out {out}`.",
        )
    return run
