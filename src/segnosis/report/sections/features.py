"""What the stages of the network answer to one image."""

from __future__ import annotations

from typing import Any

from segnosis.report.stored import StoredRun

TITLE, ORDER = "Feature maps", 80


def section(run: StoredRun) -> dict[str, Any] | None:
    """A row of maps a stage."""
    found = run.scores.get("features")
    if not found:
        return None
    stages = [{**stage, "picture": run.photo(stage["file"])} for stage in found["stages"]]
    return {"id": found["id"], "image": run.photo(found["file"]), "stages": stages}
