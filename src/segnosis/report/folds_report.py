"""A cross-validation as one HTML file; the page of each fold lies in its own folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segnosis.core.run_folder import RunFolder, read_json, write_text
from segnosis.report import page
from segnosis.report.folds_text import plus_minus
from segnosis.report.run_report import confusion_rows, worst_first
from segnosis.training.plan import Plan

_WORST = 30
"""Samples listed, the worst first."""


def write(folder: RunFolder, out: Path | None = None) -> Path:
    """Write `report.html` of the cross-validation in `folder`, or `out`; nothing is computed anew."""
    scores, plan = read_json(folder.scores), Plan.load(folder.plan)
    html = page.render(
        "folds.html",
        name=folder.root.resolve().name,
        plan=plan,
        plan_lines=plan.lines(),
        scores=scores,
        columns=list(_COLUMNS.items()),
        spread={name: plus_minus(over) for name, over in scores["spread"].items()},
        classes=[_class_row(name, scores) for name in scores["per_class"]],
        confusion=confusion_rows(scores),
        worst=sorted(scores["samples"], key=worst_first)[:_WORST],
        run=shlex.quote(str(folder.root)),
    )
    return write_text(out or folder.report, html)


_COLUMNS = {
    "foreground Dice": "foreground_dice",
    "foreground IoU": "foreground_iou",
    "mean Dice": "mean_dice",
    "mean IoU": "mean_iou",
}


def _class_row(name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    entry, over = scores["per_class"][name], scores["spread_per_class"][name]
    return {
        "name": name,
        "dice": entry["dice"],
        "iou": entry["iou"],
        "dice_spread": plus_minus(over["dice"]),
        "iou_spread": plus_minus(over["iou"]),
        "pixels": entry["pixels"],
    }
