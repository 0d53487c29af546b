"""Whether the model is as right as it is sure."""

from __future__ import annotations

from typing import Any

from segnosis.report import charts
from segnosis.report.stored import StoredRun

TITLE, ORDER = "Calibration", 40
_FEW = 1000
"""Pixels below which a bin's share of right ones is chance, and not drawn."""


def section(run: StoredRun) -> dict[str, Any] | None:
    """The reliability diagram and its error."""
    found = run.scores.get("calibration")
    if not found:
        return None
    points = {
        label: [
            (entry[kind]["confidence"], entry[kind]["accuracy"])
            for entry in found["bins"]
            if entry[kind]["pixels"] >= _FEW
        ]
        for label, kind in (("all pixels", "all"), ("predicted foreground", "foreground"))
    }
    return {"found": found, "chart": charts.reliability("Reliability", points), "few": _FEW}
