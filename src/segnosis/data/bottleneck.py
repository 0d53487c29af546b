"""Whether a training waits for its data, and what would help."""

from __future__ import annotations

import os
from dataclasses import dataclass

_SHARE, _SECONDS = 0.2, 2.0
"""Waiting below this share of an epoch, or below so many seconds, is not worth a word."""
_MOST = 16
"""More processes than this have not been seen to help."""


@dataclass(frozen=True)
class Waiting:
    """How long an epoch was held up by its data.

    Attributes:
        seconds: The epoch, wall-clock.
        waited: Of these, how many it waited for batches.
        batches: Batches taken.
        making: Seconds to make one batch in one thread or process.
        workers: Threads or processes that worked ahead.
        cores: Processor cores that this program may use.
    """

    seconds: float
    waited: float
    batches: int
    making: float
    workers: int
    cores: int

    @property
    def much(self) -> bool:
        """Whether data, not arithmetic, was the bottleneck."""
        return self.waited > _SECONDS and self.waited > _SHARE * self.seconds

    @property
    def wanted(self) -> int:
        """Worker processes that would keep up, as far as there are cores; 0 where more of them would not help.

        Example:
            >>> Waiting(seconds=30, waited=20, batches=100, making=0.8, workers=4, cores=16).wanted
            9
            >>> Waiting(seconds=30, waited=20, batches=100, making=0.8, workers=1, cores=2).wanted
            0
        """
        arithmetic = max(self.seconds - self.waited, 1e-3) / max(self.batches, 1)
        enough = int(self.making / arithmetic) + 1
        possible = min(enough, self.cores - 1, _MOST)
        return possible if self.much and possible > 1 and self.cores > 2 else 0

    def __str__(self) -> str:
        share = self.waited / self.seconds if self.seconds else 0.0
        return (
            f"data, not arithmetic, is the bottleneck: {self.waited:.1f} of {self.seconds:.1f} s ({share:.0%}) went by "
            f"waiting; a batch takes {self.making:.3f} s to make, {self.workers} at a time"
        )


def cores() -> int:
    """Processor cores that this program may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
