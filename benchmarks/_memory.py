"""What a process takes."""

from __future__ import annotations

import resource


def peak() -> float:
    """Mebibytes that this process has held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
