"""Why a process ended that was not asked to."""

from __future__ import annotations

import signal
from pathlib import Path


def cause(code: int, kills: bool) -> tuple[str, str]:
    """What ended a process, and what to do.

    Args:
        code: Its return code; negative where a signal ended it.
        kills: Whether the system has killed something for want of memory meanwhile.

    Example:
        >>> cause(-11, kills=False)
        ('SIGSEGV', 'A library crashed on that file: look at it, convert it, or leave it out.')
    """
    if code >= 0:
        return f"exit code {code}", "Its own message stands above; pass processes=False to see it here."
    name = signal.Signals(-code).name
    if name == "SIGKILL":
        memory = "the system ran out of memory" if kills else "most likely the system ran out of memory"
        return name, f"{memory[:1].upper()}{memory[1:]}: lower `workers`, the batch size, or the size of the images."
    if name == "SIGBUS":
        return name, "A file shrank while it was read, or the disk of temporary files is full: make room, copy it anew."
    if name == "SIGTERM":
        return name, "Somebody ended it; go on with the run."
    return name, "A library crashed on that file: look at it, convert it, or leave it out."


def memory_kills() -> int:
    """How often the kernel has killed something for want of memory; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
