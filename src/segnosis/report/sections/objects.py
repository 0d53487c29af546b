"""Score by object size, and at boundaries."""

from __future__ import annotations

from typing import Any

from segnosis.report.stored import StoredRun
from segnosis.training.measures.objects import FOUND, THIRDS

TITLE, ORDER = "Objects and boundaries", 30
_OPEN = 4
"""Classes up to which the table of sizes stands open."""


def section(run: StoredRun) -> dict[str, Any] | None:
    """Thirds of the objects of each class, and IoU along contours beside that of the whole area."""
    objects, boundaries = run.scores.get("objects"), run.scores.get("boundaries")
    if not objects and not boundaries:
        return None
    return {
        "scores": run.scores,
        "objects": {
            name: {**entry, "thirds": [(third, entry[third]) for third in THIRDS if third in entry]}
            for name, entry in (objects or {}).items()
        },
        "boundaries": sorted(boundaries or [], key=lambda entry: -entry["width"]),
        "found": FOUND,
        "open": len(objects or {}) <= _OPEN,
    }
