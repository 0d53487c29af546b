"""What the doctor says."""

from __future__ import annotations

from typing import Any

from segnosis.report.stored import StoredRun

TITLE, ORDER = "Diagnosis", 10


def section(run: StoredRun) -> dict[str, Any] | None:
    """The diagnosis, once there is one."""
    return None if run.diagnosis is None else {"diagnosis": run.diagnosis}
