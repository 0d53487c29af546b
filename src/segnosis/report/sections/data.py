"""What the data is: classes, sizes, intensities, and a sheet of samples."""

from __future__ import annotations

from typing import Any

from segnosis.report.stored import StoredRun

TITLE, ORDER = "Data", 90


def section(run: StoredRun) -> dict[str, Any] | None:
    """What was measured before training."""
    sheet = [{"id": row["id"], "picture": run.photo(row["file"])} for row in run.scores.get("sheet", ())]
    return {
        "saw": run.fingerprint["spec"]["saw"],
        "classes": run.fingerprint["classes"],
        "facts": _facts(run.fingerprint, run.scores.get("left_out", {})),
        "sheet": [row for row in sheet if row["picture"]],
    }


def _facts(fingerprint: dict[str, Any], left_out: dict[str, str]) -> list[tuple[str, Any]]:
    """What the data measures, in words."""
    height, width = fingerprint["height"], fingerprint["width"]
    spec = fingerprint["spec"]
    facts: list[tuple[str, Any]] = [
        ("Samples", fingerprint["samples"]),
        (f"Groups ({spec['group_by'] or 'every sample its own'})", fingerprint["groups"]),
        ("Height, pixels", f"{height[0]} to {height[2]}, median {height[1]}"),
        ("Width, pixels", f"{width[0]} to {width[2]}, median {width[1]}"),
        ("Channels", f"{spec['channels']}, {spec['dtype']}"),
        ("Intensity", "; ".join(f"mean {c['mean']:.4g} ± {c['std']:.4g}" for c in fingerprint["channels"])),
        ("Masks without foreground", f"{100 * fingerprint['empty_share']:.1f} %"),
        ("Ignored mask pixels", f"{100 * fingerprint['ignored_share']:.1f} %"),
    ]
    if fingerprint["spacing"]:
        low, middle, high = fingerprint["spacing"]
        facts.append(("Pixel size, mm", f"{low:.3g} to {high:.3g}, median {middle:.3g}"))
    if fingerprint["unreadable"]:
        facts.append(("Unreadable", ", ".join(fingerprint["unreadable"][:10])))
    if left_out:
        facts.append(("Left out of training, unreadable", f"{len(left_out)}: {', '.join(list(left_out)[:10])}"))
    return facts
