"""Two or more runs on one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segnosis.core.run_folder import RunFolder, write_text
from segnosis.report import charts, page
from segnosis.report.stored import StoredRun
from segnosis.training.intervals import HEADLINES

SCORES = dict(zip(HEADLINES, ("mean IoU", "mean Dice", "foreground IoU", "foreground Dice"), strict=True))
ALPHA = 0.05
"""Corrected p-value below which a difference is called one."""
_WIDEST = 30
"""Images listed, those first on which the runs differ most."""


def write(compared: Mapping[str, Any], out: Path) -> Path:
    """Write the page of what `segnosis.jobs.compare` found.

    Args:
        compared: What was found.
        out: The HTML file.
    """
    runs = dict(zip(compared["names"], (StoredRun(RunFolder(Path(run))) for run in compared["runs"]), strict=True))
    by_spread = sorted(compared["rows"], key=lambda row: (-_spread(row["dice"]), row["id"]))
    html = page.render(
        "comparison.html",
        compared=compared,
        labels=SCORES | {f"dice of {name}": f"Dice of {name}" for name in compared["class_names"]},
        alpha=ALPHA,
        verdicts=[verdict(pair) for pair in compared["pairs"]],
        differing=by_spread[:_WIDEST],
        plans=_plans(runs),
        charts=_charts(runs),
    )
    return write_text(out, html)


def verdict(pair: Mapping[str, Any], score: str = "foreground_dice") -> str:
    """One sentence: which of two runs is better by a score, or that nobody knows.

    Example:
        >>> said = {"difference": 0.03, "low": 0.01, "high": 0.05, "p_value": 0.01, "corrected": 0.02}
        >>> verdict({"first": "a", "second": "b", "scores": {"foreground_dice": said}})
        'b is better than a by 0.030 foreground Dice (0.010 to 0.050), p = 0.020.'
    """
    said, what = pair["scores"][score], SCORES[score]
    if said["difference"] is None:
        return f"{pair['first']} and {pair['second']} have no {what} to compare."
    difference, p_value = said["difference"], said["corrected"]
    if p_value >= ALPHA or difference == 0:
        return (
            f"No difference between {pair['first']} and {pair['second']} is shown: {difference:+.3f} {what}, "
            f"{p_text(p_value)}."
        )
    better, worse = (pair["second"], pair["first"]) if difference > 0 else (pair["first"], pair["second"])
    low, high = sorted((abs(said["low"]), abs(said["high"]))) if said["low"] is not None else (None, None)
    sure = f" ({low:.3f} to {high:.3f})" if low is not None and said["low"] * said["high"] > 0 else ""
    return f"{better} is better than {worse} by {abs(difference):.3f} {what}{sure}, {p_text(p_value)}."


def p_text(p_value: float) -> str:
    """A p-value as a paper prints it.

    Example:
        >>> p_text(0.0312), p_text(0.0004)
        ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def text(compared: Mapping[str, Any]) -> str:
    """The comparison for a terminal: scores of each run, and a sentence a pair."""
    width = max(len(name) for name in compared["names"]) + 2
    lines = [f"{'':<{width}}" + "".join(f"{label:>17}" for label in SCORES.values())]
    for name, scores in compared["scores"].items():
        cells = ("–" if scores[score] is None else f"{scores[score]:.3f}" for score in SCORES)
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>17}" for cell in cells))
    return "\n".join([*lines, *(verdict(pair) for pair in compared["pairs"])])


def _spread(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known else 0.0


def _plans(runs: Mapping[str, StoredRun]) -> list[tuple[str, list[str]]]:
    """Decisions on which the runs differ, with the value of each."""
    values = [{field: value for field, value, _ in run.plan.lines()} for run in runs.values()]
    fields = dict.fromkeys(field for run in values for field in run)
    return [
        (field, [str(run.get(field, "–")) for run in values])
        for field in fields
        if len({str(run.get(field)) for run in values}) > 1
    ]


def _charts(runs: Mapping[str, StoredRun]) -> list[Any]:
    made = []
    for title, key, limits in (
        ("Foreground Dice, validation", "foreground_dice", (0.0, 1.0)),
        ("Data term of the loss, validation", "val_loss", None),
    ):
        series = {name: [line[key] for line in run.history] for name, run in runs.items() if run.history}
        if series:
            made.append(charts.curves(title, series, limits=limits))
    return made
