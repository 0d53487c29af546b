"""The doctor on a run of ours: what the data showed, and what training showed besides."""

from __future__ import annotations

from typing import Any

from segnosis.core.run_folder import RunFolder
from segnosis.doctor.case import Case
from segnosis.doctor.check import all_checks
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import Progress, examine, merge
from segnosis.doctor.verdict import Finding, Healthy


def diagnose_run(folder: RunFolder, *, checked: Diagnosis, progress: Progress | None = None, **given: Any) -> Diagnosis:
    """Diagnose a run from its folder, also one made yesterday on another machine.

    Args:
        folder: The run.
        checked: What the data showed when it was examined.
        progress: Called while measuring.
        **given: Further fields of the case, where they are at hand: `model`, `batches`, `loss`, …

    Returns:
        One diagnosis over data and run.
    """
    judged = {verdict.code for verdict in checked.verdicts if isinstance(verdict, Finding | Healthy)}
    rest = [check for check in all_checks() if check.code not in judged]
    return merge(checked, examine(Case(history=history(folder), **given), checks=rest, progress=progress))


def history(folder: RunFolder) -> dict[str, list[float]]:
    """`history.jsonl` in the terms of a Keras History: name → one value an epoch."""
    columns: dict[str, list[float]] = {}
    for line in folder.epochs():
        for name, value in line.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                columns.setdefault(name, []).append(float(value))
    return columns
