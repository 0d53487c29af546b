"""What the workers of `step.py` share: the batches, the clock, and how they answer; no backend."""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH, SIDE, CLASSES, RATE = 4, 192, 4, 1e-3
Turn = Callable[[int, Callable[[], float]], list[float]]
"""Takes so many steps and a clock, gives the seconds of each."""


def batches(count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images of noise and masks of classes, the same for every contender."""
    draw = np.random.default_rng(0)
    shape = BATCH, SIDE, SIDE
    return [
        (draw.uniform(0, 255, (*shape, 3)).astype(np.float32), draw.integers(0, CLASSES, shape).astype(np.int32))
        for _ in range(count)
    ]


def timed(step: Callable[[int], object]) -> Turn:
    """Turns of a step that is a plain function; the one before the first is not timed, as ours is not."""

    def turn(steps: int, clock: Callable[[], float]) -> list[float]:
        ends = []
        for index in range(steps + 1):
            step(index)
            ends.append(clock())
        return [float(second) for second in np.diff(ends)]

    return turn


def peak(product: Callable[[int], Callable[[], object]]) -> float:
    """Billions of multiplications and additions a second in a product of two large matrices."""
    side = 2048
    run = product(side)
    run()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return 2.0 * side**3 / min(seconds) / 1e9


def serve(
    make: Callable[[], tuple[Callable[[int], float], Turn, dict[str, Any]]] | None,
    threads: int,
    limit: Callable[[], float] | None = None,
) -> None:
    """Answer the parent's orders, one a line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    # One thread is timed by the processor's own clock, which a busy machine does not stretch.
    clock = time.process_time if threads == 1 else time.perf_counter
    turn: Turn | None = None
    rest = 0.0
    for line in sys.stdin:
        order, *words = line.split()
        answer: Any = None
        if order == "warm" and make is not None:
            rest = megabytes("VmRSS")
            step, turn, facts = make()
            answer = {"first_loss": step(0), **facts}
            turn(2, clock)
        elif order == "run" and turn is not None:
            answer = statistics.median(turn(int(words[0]), clock))
        elif order == "memory" and turn is not None:
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            turn(1, clock)
            answer = megabytes("VmHWM") - rest
        elif order == "limit" and limit is not None:
            answer = limit()
        print(json.dumps(answer), file=answers)


def megabytes(field: str) -> float:
    """A size of this process, as Linux tells it."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # what is only kept for later does not count
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
