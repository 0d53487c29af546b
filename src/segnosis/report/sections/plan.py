"""Every decision, with its reason."""

from __future__ import annotations

from typing import Any

from segnosis.report.stored import StoredRun

TITLE, ORDER = "Plan", 100


def section(run: StoredRun) -> dict[str, Any] | None:
    """The plan, line by line."""
    return {"lines": run.plan.lines()}
