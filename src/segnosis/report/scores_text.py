"""Scores as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(scores: Mapping[str, Any]) -> str:
    """Per class and mean IoU and Dice.

    Example:
        >>> print(table({"images": 2, "mean_iou": 0.8, "mean_dice": 0.9, "foreground_iou": 0.7,
        ...              "foreground_dice": 0.82, "per_class": {"cell": {"iou": 0.7, "dice": 0.82, "pixels": 9}}}))
        2 held-out images, whole      IoU    Dice      pixels
        cell                        0.700   0.820           9
        mean of the foreground      0.700   0.820
        mean of all classes         0.800   0.900
    """
    width = max(26, *(len(name) + 2 for name in scores["per_class"]))
    rows = [f"{str(scores['images']) + ' held-out images, whole':<{width}}{'IoU':>7} {'Dice':>7} {'pixels':>11}"]
    for name, entry in scores["per_class"].items():
        rows.append(f"{name:<{width}}{_number(entry['iou'])} {_number(entry['dice'])} {entry['pixels']:>11}")
    rows.append(
        f"{'mean of the foreground':<{width}}{_number(scores['foreground_iou'])} {_number(scores['foreground_dice'])}"
    )
    rows.append(f"{'mean of all classes':<{width}}{_number(scores['mean_iou'])} {_number(scores['mean_dice'])}")
    return "\n".join(rows)


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
