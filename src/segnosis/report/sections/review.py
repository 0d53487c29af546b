"""Masks to look at: where a model that did not learn them is sure that they are wrong."""

from __future__ import annotations

from typing import Any

from segnosis.report.stored import StoredRun, css
from segnosis.training.measures.doubts import MARGIN
from segnosis.training.pictures import ERROR_COLOURS

TITLE, ORDER = "Masks to review", 60


def section(run: StoredRun) -> dict[str, Any] | None:
    """The list, its head with pictures."""
    found = run.scores.get("doubts")
    if not found:
        return None
    return {
        "looked_at": found["looked_at"],
        "listed": found["listed"],
        "shown": [{**row, "pictures": run.pictures(row["files"])} for row in found["listed"] if "files" in row],
        "margin": MARGIN,
        "error_key": [(meaning, css(colour)) for meaning, colour in ERROR_COLOURS.items()],
    }
