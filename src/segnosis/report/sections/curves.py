"""What happened over the epochs."""

from __future__ import annotations

from typing import Any

from segnosis.report import charts
from segnosis.report.stored import StoredRun
from segnosis.training.pictures import palette

TITLE, ORDER = "Curves", 70
_LINES = 8
"""Classes in one chart."""


def section(run: StoredRun) -> dict[str, Any] | None:
    """Loss by its terms, validation scores, learning rate, gradient norm and time, epoch by epoch."""
    history = run.history
    if not history:
        return None
    return {
        "charts": _charts(history),
        "epochs": len(history),
        "total": sum(line["seconds"] for line in history),
        "data": sum(line["data_seconds"] for line in history),
    }


def _charts(history: list[dict[str, Any]]) -> list[Any]:
    def column(name: str) -> list[float | None]:
        return [line.get(name) for line in history]

    losses = {"data term (train)": column("data_loss"), "data term (validation)": column("val_loss")}
    for term in history[0]["regularization"]:
        losses[f"regularization: {term}"] = [line["regularization"].get(term) for line in history]
    names = list(history[0]["dice"])
    # The worst at the end are those a reader looks for; more than eight lines nobody can tell apart.
    worst = sorted(names[1:], key=lambda name: history[-1]["dice"][name] or 0.0)[:_LINES]
    shown = [name for name in names if name in worst]
    colours = [charts.legible(colour) for name, colour in zip(names, palette(len(names)), strict=True) if name in worst]
    which = f", the {_LINES} worst classes" if len(names) - 1 > _LINES else ""
    return [
        charts.curves("Loss", losses),
        *(
            charts.curves(
                f"Validation {score}{which}",
                {name: [line[score.lower()][name] for line in history] for name in shown},
                limits=(0.0, 1.0),
                colours=colours,
            )
            for score in ("Dice", "IoU")
        ),
        charts.curves("Learning rate", {"learning rate": column("learning_rate")}),
        charts.curves("Gradient norm", {"gradient norm": column("gradient_norm")}),
        charts.curves("Seconds of an epoch", _seconds(history)),
    ]


def _seconds(history: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    """What an epoch's time went into; data that was waited for is part of the time of its steps."""
    parts: dict[str, list[float | None]] = {"arithmetic": [], "waiting for data": [], "validation and files": []}
    for line in history:
        steps = line.get("training_seconds", line["seconds"])
        times = (steps - line["data_seconds"], line["data_seconds"], line["seconds"] - steps)
        for values, value in zip(parts.values(), times, strict=True):
            values.append(max(0.0, value))
    return parts
