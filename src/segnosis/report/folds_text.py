"""Cross-validation as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def folds_table(scores: Mapping[str, Any]) -> str:
    """A line a fold, their mean and spread, and all samples as one.

    Example:
        >>> row = {"fold": 1, "images": 9, "groups": 3, "foreground_dice": 0.8, "foreground_iou": 0.7, "mean_iou": 0.75}
        >>> spread = {"mean": 0.8, "std": 0.021}
        >>> print(folds_table({
        ...     "folds": [row], "images": 9, "foreground_dice": 0.81, "foreground_iou": 0.71, "mean_iou": 0.76,
        ...     "spread": {"foreground_dice": spread, "foreground_iou": spread, "mean_iou": spread},
        ...     "per_class": {"cell": {"dice": 0.81, "iou": 0.71}},
        ...     "spread_per_class": {"cell": {"dice": spread, "iou": spread}}}))
        fold                          images  groups  Dice of the foreground      IoU of it       mean IoU
        1                                  9       3                   0.800          0.700          0.750
        mean ± deviation over folds                            0.800 ± 0.021  0.800 ± 0.021  0.800 ± 0.021
        all held-out images as one         9                           0.810          0.710          0.760
        <BLANKLINE>
        class, over folds and as one                        Dice                      IoU
        cell                                0.800 ± 0.021  0.810     0.800 ± 0.021  0.710
    """
    shown = ("foreground_dice", "foreground_iou", "mean_iou")
    width = max(28, *(len(name) + 2 for name in scores["per_class"]))

    def line(label: object, images: object, groups: object, cells: Iterable[str]) -> str:
        first, *rest = cells
        return f"{label!s:<{width}}{images!s:>8}{groups!s:>8}{first:>24}" + "".join(f"{cell:>15}" for cell in rest)

    lines = [line("fold", "images", "groups", ("Dice of the foreground", "IoU of it", "mean IoU"))]
    for row in scores["folds"]:
        lines.append(line(row["fold"], row["images"], row["groups"], (_score(row[name]) for name in shown)))
    over = (plus_minus(scores["spread"][name]) for name in shown)
    lines.append(line("mean ± deviation over folds", "", "", over))
    lines.append(line("all held-out images as one", scores["images"], "", (_score(scores[name]) for name in shown)))
    lines += ["", f"{'class, over folds and as one':<{width}}{'Dice':>28}{'IoU':>25}"]
    for name, entry in scores["per_class"].items():
        folds = scores["spread_per_class"][name]
        lines.append(
            f"{name:<{width}}{plus_minus(folds['dice']):>21}{_score(entry['dice']):>7}"
            f"{plus_minus(folds['iou']):>18}{_score(entry['iou']):>7}"
        )
    return "\n".join(lines)


def plus_minus(spread: Mapping[str, float | None]) -> str:
    """Mean and standard deviation of a score.

    Example:
        >>> plus_minus({"mean": 0.8, "std": None}), plus_minus({"mean": None, "std": None})
        ('0.800', '–')
    """
    return _score(spread["mean"]) + ("" if spread["std"] is None else f" ± {spread['std']:.3f}")


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
