"""Worker processes of a feed, as the process that trains sees them: batches come through shared memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.errors import ArgumentError, DataError
from segnosis.data.deaths import cause, memory_kills
from segnosis.data.worker import PRESENT, Failed, Made, Task

Batch = tuple[np.ndarray, np.ndarray]

_AHEAD = 2
"""Tasks handed to a worker: it begins the next while the last is being fetched."""
_LENT = 2
"""Batches that `fit` may hold where they lie; further ones are copied, so that the workers never wait for room."""
_LINE = 64


@dataclass
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    pipe: Connection
    tasks: dict[int, tuple[Task, Future[Any]]] = field(default_factory=dict)
    ready: bool = False  # it was sent what it needs


class Workers:
    """Processes that make the batches of a feed.

    Args:
        recipe: Called in each process without arguments; gives what has `batch(epoch, step)`, `skipped`,
            `seconds_per_batch` and takes `present`, an array of one number, to tell which sample it is at.
        count: How many processes.
        room: Bytes of the largest batch.
        name_of: Sample number → its name, for what is told of a worker that died.
        skipped: Where what the workers could not read is noted: name → why.

    Raises:
        ArgumentError: `recipe` cannot be sent to another process.
    """

    def __init__(
        self,
        recipe: Callable[[], Any],
        count: int,
        *,
        room: int,
        name_of: Callable[[int], str],
        skipped: dict[str, str],
    ) -> None:
        try:
            sent = bytes(ForkingPickler.dumps(recipe))
        except Exception as error:  # whatever a data set of the user's own raises
            raise ArgumentError(
                "With worker processes the data set is sent to them.",
                received={"problem": f"{type(error).__name__}: {error}"},
                cure="Define its class at the top of a module, without open files; or pass processes=False.",
            ) from error
        self.count, self._name_of = count, name_of
        slots = _AHEAD * count + count + 1 + _LENT
        head = -(-count * PRESENT // _LINE) * _LINE
        self._room = -(-room // _LINE) * _LINE
        memory = _anonymous(head + slots * self._room)
        self._memory = mmap.mmap(memory, 0)
        self._free = [head + slot * self._room for slot in range(slots)]
        self._lent, self._back = 0, deque[int]()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[tuple[int, int], Future[Any]]] = deque()
        self._next, self._broken = 0, False
        self._skipped = skipped
        self.seconds_per_batch = 0.0
        self._kills = memory_kills()
        self._workers = [_started(number, memory) for number in range(count)]
        os.close(memory)
        self._finalizer = weakref.finalize(self, _stop, self._workers)
        for work in (_Sender(weakref.ref(self), sent), _Listener(weakref.ref(self), self._workers)):
            work.start()

    @property
    def broken(self) -> bool:
        """Whether a worker died; another set of workers has to be made."""
        return self._broken

    def submit(self, epoch: int, step: int) -> Future[Any]:
        """Have a batch made; what the future gives is for `take`."""
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append(((epoch, step), future))
            self._hand_out()
        return future

    def take(self, made: Made) -> Batch:
        """The arrays of a batch, which keep its memory for as long as they live, or copies of them."""
        at = made.arrays[0][2]
        with self._lock:
            self._take_back()
            lend = self._lent < _LENT
            self._lent += lend
        # One object per loan: numpy keeps it alive behind every view, and its end gives the memory back.
        owner = (ctypes.c_char * self._room).from_buffer(self._memory, at)
        arrays = [
            np.frombuffer(memoryview(owner), dtype, int(np.prod(shape)), offset - at).reshape(shape)
            for shape, dtype, offset in made.arrays
        ]
        if lend:
            weakref.finalize(owner, self._back.append, at).atexit = False
        else:
            arrays = [array.copy() for array in arrays]
            self._give_back(at)
        return arrays[0], arrays[1]

    def drop(self, future: Future[Any]) -> None:
        """The batch is not wanted any more."""
        if not future.cancel():
            future.add_done_callback(self._unused)

    def close(self) -> None:
        """End the processes; futures that are not done yet fail."""
        self._finalizer()

    def _unused(self, future: Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._give_back(future.result().arrays[0][2])

    def _take_back(self) -> None:
        """What `fit` has let go of; noted without a lock, for garbage is collected at any time, under any lock."""
        while self._back:
            self._free.append(self._back.popleft())
            self._lent -= 1

    def _give_back(self, at: int) -> None:
        with self._lock:
            self._free.append(at)
            self._hand_out()

    def _hand_out(self) -> None:
        """Give waiting tasks to workers that have none or one; the caller holds the lock."""
        self._take_back()
        while self._waiting and self._free and not self._broken:
            able = [one for one in self._workers if one.ready and len(one.tasks) < _AHEAD]
            if not able:
                return
            worker = min(able, key=lambda one: len(one.tasks))
            (epoch, step), future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            task = Task(self._next, epoch, step, self._free.pop())
            self._next += 1
            worker.tasks[task.number] = task, future
            try:
                worker.pipe.send(task)
            except OSError:  # it just died: its end of the pipe tells the listener
                return

    def _heard(self, worker: _Worker, answer: Made | Failed) -> None:
        """A worker made a batch, or failed to."""
        if isinstance(answer, Failed) and answer.number is None:
            self._break(
                ArgumentError(
                    "With worker processes the data set is sent to them, and opened there.",
                    received={"problem": f"{type(answer.error).__name__}: {answer.error}"},
                    cure="Define its class at the top of a module that can be imported; or pass processes=False.",
                )
            )
            return
        with self._lock:
            task, future = worker.tasks.pop(int(answer.number or 0))
            if isinstance(answer, Made):
                self._skipped.update(answer.skipped)
                self.seconds_per_batch = answer.seconds
            else:
                self._free.append(task.at)
            self._hand_out()
        if isinstance(answer, Made):
            future.set_result(answer)
        else:
            answer.error.__cause__ = _WorkerError(answer.trace)
            future.set_exception(answer.error)

    def _died(self, worker: _Worker) -> None:
        """A worker's pipe ended without being asked to."""
        code = worker.process.wait()
        present = int(np.frombuffer(self._memory, np.int64, 1, worker.number * PRESENT)[0])
        name = self._name_of(present - 1) if present else "no sample yet"
        task = next((task for task, _ in worker.tasks.values()), None)
        ended, cure = cause(code, memory_kills() > self._kills)
        place = {} if task is None else {"epoch": task.epoch, "batch": task.step}
        self._break(
            DataError(
                "A worker process of the feed lives until its batch is made.",
                file=name,
                received={"ended by": ended, "worker": f"{worker.number + 1} of {self.count}", **place},
                cure=cure,
            )
        )

    def _break(self, error: Exception) -> None:
        """All that is asked for fails with `error`, now; the other processes end."""
        with self._lock:
            self._broken = True
            futures = [future for worker in self._workers for _, future in worker.tasks.values()]
            futures += [future for _, future in self._waiting if future.set_running_or_notify_cancel()]
            self._waiting.clear()
            for worker in self._workers:
                worker.tasks.clear()
        for future in futures:
            future.set_exception(error)
        self.close()


class _WorkerError(Exception):
    """The traceback of an error in a worker, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Sender(threading.Thread):
    """Sends the recipe to each worker; a large index takes longer than a pipe is deep, and `fit` need not wait."""

    def __init__(self, owner: weakref.ref[Workers], sent: bytes) -> None:
        super().__init__(name="segnosis-feed-sender", daemon=True)
        self._owner, self._sent = owner, sent

    def run(self) -> None:
        owner = self._owner()
        if owner is None:
            return
        for worker in owner._workers:
            try:
                worker.pipe.send_bytes(self._sent)
            except OSError:  # it died, or the feed was closed: the listener tells
                return
            with owner._lock:
                worker.ready = True
                owner._hand_out()


class _Listener(threading.Thread):
    """Hears what the workers answer, and notices at once when one dies: the system ends its pipe."""

    def __init__(self, owner: weakref.ref[Workers], workers: list[_Worker]) -> None:
        super().__init__(name="segnosis-feed-listener", daemon=True)
        self._owner, self._of = owner, {worker.pipe: worker for worker in workers}

    def run(self) -> None:
        while self._of:
            for pipe in wait(list(self._of)):
                assert isinstance(pipe, Connection)
                self._hear(pipe)

    def _hear(self, pipe: Connection) -> None:
        try:
            answer = pipe.recv()
        except (EOFError, OSError):
            worker, owner = self._of.pop(pipe), self._owner()
            if owner is not None and not owner.broken and owner._finalizer.alive:
                owner._died(worker)
            pipe.close()
            return
        if (owner := self._owner()) is not None:
            owner._heard(self._of[pipe], answer)


def _started(number: int, memory: int) -> _Worker:
    ours, theirs = Pipe()
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from segnosis.data.worker import main; main()"]
        + [str(word) for word in (theirs.fileno(), memory, number)],
        pass_fds=(theirs.fileno(), memory),
        stdin=subprocess.DEVNULL,
        env={**os.environ, **alone, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for the program at the terminal; the workers end with their pipe
    )
    theirs.close()
    return _Worker(number, process, ours)


def _stop(workers: list[_Worker]) -> None:
    """End the processes, whatever they are at; the listener closes the pipes."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.wait()


def _anonymous(size: int) -> int:
    """Descriptor of memory that has no name: it is gone with the last process that looks into it."""
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("segnosis-feed")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.ftruncate(memory, size)
    return memory
