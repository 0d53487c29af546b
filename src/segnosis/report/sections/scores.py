"""Held-out scores per class with their intervals, depths, and what became of each class' pixels."""

from __future__ import annotations

from typing import Any

from segnosis.report.run_report import confusion_rows
from segnosis.report.stored import StoredRun

TITLE, ORDER = "Scores", 20


def section(run: StoredRun) -> dict[str, Any] | None:
    """Scores of the whole data set, and of the mean image."""
    scores = run.scores
    if not scores:
        return None
    sure, split = scores.get("intervals"), scores.get("split", {})
    rows = []
    for name, entry in scores["per_class"].items():
        each = [row["per_class_dice"][name] for row in scores["samples"]]
        known = [value for value in each if value is not None]
        rows.append(
            {
                "name": name,
                **entry,
                "dice_per_image": sum(known) / len(known) if known else None,
                "sure": sure["per_class"][name] if sure else dict.fromkeys(("iou", "dice", "dice_per_image")),
            }
        )
    return {
        "scores": scores,
        "flatter": bool({*split.get("test", ())} & {*split.get("validation", ())}),
        "rows": rows,
        "sure": sure,
        "unit": "images" if scores.get("resampled", "image") == "image" else f"groups ({scores['resampled']})",
        "confusion": confusion_rows(scores),
    }
