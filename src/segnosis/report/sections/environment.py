"""Where it ran, and how to run it again."""

from __future__ import annotations

import shlex
from typing import Any

from segnosis.report.stored import StoredRun

TITLE, ORDER = "Environment", 110


def section(run: StoredRun) -> dict[str, Any] | None:
    """Versions, machine and commands."""
    return {
        "environment": run.environment,
        "plan": shlex.quote(str(run.folder.plan)),
        "root": shlex.quote(str(run.folder.root)),
    }
