"""One worker process of a feed: makes batches into memory shared with the process that trains.

It is a program of its own, not a child of `multiprocessing`: the user's script is never run a second time, guarded or
not, and no lock of a running backend is inherited. It ends when its pipe does, so it does not outlive the program that
began it, however that ended.
"""

from __future__ import annotations

import mmap
import os
import sys
import traceback
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler  # what a Connection itself sends with; no file is read so
from typing import Any, NamedTuple

import cv2
import numpy as np


class Task(NamedTuple):
    """A batch to make: number of the task, epoch and step, and where in the shared memory it goes."""

    number: int
    epoch: int
    step: int
    at: int


class Made(NamedTuple):
    """A batch that lies in the shared memory: `(shape, dtype, offset)` of x and y, and what making it told."""

    number: int
    arrays: tuple[tuple[tuple[int, ...], str, int], ...]
    seconds: float
    skipped: dict[str, str]


class Failed(NamedTuple):
    """A batch that could not be made; without number: the worker itself could not begin."""

    number: int | None
    error: Exception
    trace: str


PRESENT = np.dtype(np.int64).itemsize
"""Bytes at the start of a worker's memory: number of the sample at hand, plus one."""


def main() -> None:
    """Make batches until the pipe ends; arguments: descriptors of pipe and memory, and the worker's number."""
    pipe, memory, number = (int(word) for word in sys.argv[1:4])
    cv2.setNumThreads(1)  # the workers are many already
    parent, shared = Connection(pipe), mmap.mmap(memory, 0)
    os.close(memory)
    try:
        try:
            batches = ForkingPickler.loads(parent.recv_bytes())()  # from the parent, over a pipe of its own
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            parent.send(Failed(None, _portable(error), traceback.format_exc()))
            return
        batches.present = np.frombuffer(shared, np.int64, 1, number * PRESENT)
        while True:
            parent.send(_answer(batches, parent.recv(), shared))
    except (EOFError, ConnectionError):  # the one who asked is gone
        return


def _answer(batches: Any, task: Task, shared: mmap.mmap) -> Made | Failed:
    known = set(batches.skipped)
    try:
        made = batches.batch(task.epoch, task.step)
        at, arrays = task.at, []
        for array in made:
            room = np.frombuffer(shared, array.dtype, array.size, at).reshape(array.shape)
            room[...] = array
            arrays.append((array.shape, array.dtype.str, at))
            at += array.nbytes
        skipped = {name: why for name, why in batches.skipped.items() if name not in known}
        return Made(task.number, tuple(arrays), batches.seconds_per_batch or 0.0, skipped)
    except Exception as error:
        return Failed(task.number, _portable(error), traceback.format_exc())


def _portable(error: Exception) -> Exception:
    """The error itself where it can travel, or what it says."""
    try:
        again: Exception = ForkingPickler.loads(ForkingPickler.dumps(error))  # our own bytes, of a moment ago
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return again


if __name__ == "__main__":
    main()
