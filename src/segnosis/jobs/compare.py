"""Two or more runs on the same test images: which is better, and would chance alone do that?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from segnosis.core.errors import ArgumentError, RunError
from segnosis.jobs.run import Run, opened
from segnosis.training.intervals import HEADLINES, compare, holm


def compare_runs(runs: Sequence[str | Path | Run]) -> dict[str, Any]:
    """Compare the held-out scores of runs that were scored on the same images.

    Of each pair of runs: the difference of every score with its interval (bootstrap, the same groups drawn for both)
    and the p-value of a two-sided paired permutation test (each group's two results exchanged at random), corrected
    for the number of pairs (Holm).

    Args:
        runs: Two or more run folders, or runs.

    Returns:
        `names` of the runs; `scores` of each, by name, with their `intervals`; `pairs`, a row each: `first`, `second`,
        and under `scores` what `segnosis.training.intervals.compare` says, with `corrected`; `images` and `groups`;
        `rows`, a row an image: `id` and the foreground `dice` of each run.

    Raises:
        RunError: The runs were scored on other images, masks or classes.
    """
    if len(runs) < 2:
        raise ArgumentError("A comparison has two runs or more.", received={"runs": len(runs)}, cure="Name another.")
    made = [run if isinstance(run, Run) else opened(run) for run in runs]
    names = _names(made)
    samples = [_samples(run) for run in made]
    for run, rows in zip(made[1:], samples[1:], strict=True):
        _same(made[0], samples[0], run, rows)
    ids = sorted(samples[0])
    class_names = tuple(made[0].scores["per_class"])
    groups = [samples[0][name]["group"] for name in ids]
    counts = [np.array([rows[name]["counts"] for name in ids]) for rows in samples]
    pairs: list[dict[str, Any]] = [
        {"first": names[a], "second": names[b], "scores": compare(counts[a], counts[b], groups, class_names)}
        for a, b in combinations(range(len(made)), 2)
    ]
    for score in (*HEADLINES, *(f"dice of {name}" for name in class_names)):
        for pair, corrected in zip(pairs, holm([pair["scores"][score]["p_value"] for pair in pairs]), strict=True):
            pair["scores"][score]["corrected"] = corrected
    return {
        "names": names,
        "runs": [str(run.out) for run in made],
        "class_names": class_names,
        "images": len(ids),
        "groups": len(set(groups)),
        "scores": dict(zip(names, (run.scores for run in made), strict=True)),
        "pairs": pairs,
        "rows": [{"id": name, "dice": [rows[name]["foreground_dice"] for rows in samples]} for name in ids],
    }


def _names(runs: Sequence[Run]) -> list[str]:
    """What each folder is called; with its parents where two are called alike."""
    paths = [run.out.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise ArgumentError(
            "A run is compared with others.",
            received={"runs": [str(run.out) for run in runs]},
            cure="Name each folder once.",
        )
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _samples(run: Run) -> dict[str, Mapping[str, Any]]:
    rows = {row["id"]: row for row in run.scores["samples"]}
    if not rows or not all("counts" in row for row in rows.values()):
        raise RunError(
            "A comparison needs the counts of pixels of each held-out image.",
            received={"run": str(run.out), "images with counts": sum("counts" in row for row in rows.values())},
            cure=f"Score it again with `segnosis evaluate {quote(str(run.out))} --update`.",
        )
    return rows


def _same(first: Run, rows: Mapping[str, Any], other: Run, others: Mapping[str, Any]) -> None:
    """Raises `RunError` unless both runs were scored on the same images, classes and masks."""
    cure = "Train both on one folder with the same `--seed`, or leave the other run out."
    both = f"{first.out}, {other.out}"
    if tuple(first.scores["per_class"]) != tuple(other.scores["per_class"]):
        told = {str(run.out): ", ".join(run.scores["per_class"]) for run in (first, other)}
        raise RunError("Runs are compared on the same classes.", received=told, cure=cure)
    if rows.keys() != others.keys():
        alone = sorted(rows.keys() ^ others.keys())
        raise RunError(
            "Runs are compared on the same test images, each run's result paired with the other's.",
            received={"runs": both, "images of one run alone": len(alone), "first": alone[0]},
            cure=cure,
        )
    for name, row in rows.items():
        if [count[1] for count in row["counts"]] != [count[1] for count in others[name]["counts"]]:
            raise RunError(
                "Runs are compared on the same masks.",
                received={"runs": both, "mask that changed in between": name},
                cure=f"Score both again: `segnosis evaluate {quote(str(first.out))} --update`, and the other.",
            )
