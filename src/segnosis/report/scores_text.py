"""Scores as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(scores: Mapping[str, Any], *, of: str = "held-out images") -> str:
    """Per class and mean IoU and Dice, with their intervals where there are such.

    Args:
        scores: What `scores.json` holds.
        of: What was scored.

    Example:
        >>> print(table({"images": 2, "mean_iou": 0.8, "mean_dice": 0.9, "foreground_iou": 0.7,
        ...              "foreground_dice": 0.82, "per_class": {"cell": {"iou": 0.7, "dice": 0.82, "pixels": 9}}}))
        2 held-out images, whole      IoU    Dice      pixels
        cell                        0.700   0.820           9
        mean of the foreground      0.700   0.820
        mean of all classes         0.800   0.900
    """
    sure = scores.get("intervals")
    width = max(26, *(len(name) + 2 for name in scores["per_class"]))
    gap = 16 if sure else 0
    head = f"{scores['images']} {of}, whole".ljust(width)
    rows = [f"{head}{'IoU':>7}{'':{gap}} {'Dice':>7}{'':{gap}} {'pixels':>11}"]
    for name, entry in scores["per_class"].items():
        limits = sure["per_class"][name] if sure else {}
        cells = [_number(entry[score]) + _limits(limits.get(score), gap) for score in ("iou", "dice")]
        rows.append(f"{name:<{width}}{cells[0]} {cells[1]} {entry['pixels']:>11}")
    for label, kind in (("mean of the foreground", "foreground"), ("mean of all classes", "mean")):
        cells = [
            _number(scores[f"{kind}_{score}"]) + _limits(sure and sure[f"{kind}_{score}"], gap)
            for score in ("iou", "dice")
        ]
        rows.append(f"{label:<{width}}{cells[0]} {cells[1]}".rstrip())
    return "\n".join(rows)


def details(scores: Mapping[str, Any]) -> str:
    """What the measures say, in a few lines: intervals' unit, size, boundaries, calibration, doubtful masks.

    Example:
        >>> print(details({"resampled": "patient", "intervals": {"groups": 6, "resamples": 2000},
        ...                "calibration": {"error": 0.02, "foreground_error": 0.11}}))
        [low, high]: 95 % of 2000 data sets drawn from the 6 groups (patient) score within
        calibration error: 0.020 by pixel, 0.110 where it predicts foreground
    """
    lines = []
    if sure := scores.get("intervals"):
        unit = "images" if scores["resampled"] == "image" else f"groups ({scores['resampled']})"
        lines.append(
            f"[low, high]: 95 % of {sure['resamples']} data sets drawn from the {sure['groups']} {unit} score within"
        )
    for name, entry in (scores.get("objects") or {}).items():
        thirds = [(third, entry[third]) for third in ("small", "medium", "large") if third in entry]
        if thirds:
            found = ", ".join(
                f"{third} {100 * of['found']:.0f} % (Dice {of['dice']:.2f}, {of['area'][0]} to {of['area'][1]} pixels)"
                for third, of in thirds
            )
            lines.append(f"objects of {name} found: {found}; {entry['invented']} invented")
    for entry in scores.get("boundaries") or ():
        lines.append(
            f"boundary IoU within {100 * entry['width']:g} % of the diagonal: "
            f"{_number(entry['foreground_iou']).strip()} of the foreground"
        )
    if measured := scores.get("calibration"):
        whole, front = (_number(measured[name]).strip() for name in ("error", "foreground_error"))
        lines.append(f"calibration error: {whole} by pixel, {front} where it predicts foreground")
    if doubts := scores.get("doubts"):
        lines.append(f"masks the model contradicts, sure of itself: {len(doubts['listed'])} listed, to be looked at")
    return "\n".join(lines)


def depth_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each depth of a deeply supervised network costs, and how well it does.

    Example:
        >>> print(depth_table([{"depth": 1, "parameters": 1758, "milliseconds": 2.5, "tile": [96, 96],
        ...                     "foreground_dice": 0.61, "foreground_iou": 0.5, "mean_iou": 0.7}]))
        depth        parameters   ms per 96 × 96  Dice of the foreground  IoU of it  mean IoU
        1                 1,758             2.50                   0.610      0.500     0.700
    """
    tile = " × ".join(str(side) for side in rows[0]["tile"]) if rows else ""
    lines = [f"{'depth':<8}{'parameters':>15}{'ms per ' + tile:>17}  Dice of the foreground  IoU of it  mean IoU"]
    for row in rows:
        scores = (
            f"{_number(row['foreground_dice']):>24}{_number(row['foreground_iou']):>11}{_number(row['mean_iou']):>10}"
        )
        lines.append(f"{row['depth']:<8}{row['parameters']:>15,}{row['milliseconds']:>17.2f}{scores}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return f"{'–':>7}" if value is None else f"{value:7.3f}"


def _limits(interval: Sequence[float] | None, width: int) -> str:
    return "" if not width else " " * width if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
