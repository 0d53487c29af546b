"""Many tasks on many workers: processes of this machine, a Dask cluster, or any `concurrent.futures` executor."""

from __future__ import annotations

import importlib.util
import itertools
import multiprocessing
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from segnosis.core.errors import ArgumentError, MissingPackageError, RunError

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 4
"""Tasks handed over per worker: none waits for work, and a million of them do not fill the memory."""
_TRIES = 3
"""Pools that may break, one after the other, before the task itself is taken for the cause."""


def spread(
    work: Callable[[T], R], *, workers: int = 1, engine: str | Executor | None = None
) -> Callable[[Iterable[T]], Iterator[R]]:
    """A function that does `work` on every task, and gives the answers as they come.

    A task that a worker took with it when it was killed is given to another.

    Args:
        work: A function at the top of its module.
        workers: Processes; 1 works here, in this one.
        engine: `"dask://host:port"` of a scheduler, or an executor, in place of processes.

    Raises:
        ArgumentError: The engine is not known, or nobody answers at its address.
        MissingPackageError: The engine needs a package that is not installed.

    Example:
        >>> sorted(spread(abs)([-2, 3, -4]))
        [2, 3, 4]
    """
    if isinstance(engine, Executor):
        given = engine
        return lambda tasks: _through(given, work, tasks, 64)
    if engine is not None:
        address = _dask_address(engine)
        return lambda tasks: _on_dask(address, work, tasks)
    if workers == 1:
        return lambda tasks: map(work, tasks)
    return lambda tasks: _in_processes(workers, work, tasks)


def _through(pool: Executor, work: Callable[[T], R], tasks: Iterable[T], ahead: int) -> Iterator[R]:
    """Answers in the order they come; `BrokenExecutor.left` names what was not done when a pool breaks."""
    tasks = iter(tasks)
    running: dict[Future[R], T] = {}
    handed: list[T] = []  # a pool that breaks while a task is handed over does not have it
    try:
        while True:
            for task in itertools.islice(tasks, ahead - len(running)):
                handed = [task]
                try:
                    future = pool.submit(work, task)
                except OSError as error:  # its pipes are closed a moment before it says itself that it is broken
                    raise BrokenExecutor("a worker died while it was given a task") from error
                running[future], handed = task, []
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                answer = done.result()
                del running[done]
                yield answer
    except BrokenExecutor as error:
        error.left = itertools.chain(handed, list(running.values()), tasks)  # type: ignore[attr-defined]
        raise
    finally:
        for future in running:
            future.cancel()


def _in_processes(workers: int, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    # A child forked from a process that runs a backend inherits its locks; a fresh one does not.
    context = multiprocessing.get_context("spawn")
    for attempt in range(1, _TRIES + 1):
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            try:
                yield from _through(pool, work, tasks, _AHEAD * workers)
                return
            except BrokenExecutor as error:
                if attempt == _TRIES or not hasattr(error, "left"):
                    raise RunError(
                        "A worker must live until its image is predicted.",
                        received={"killed": f"{attempt} times", "workers": workers},
                        cure="It may have run out of memory: pass fewer `--workers`; finished masks are kept.",
                    ) from error
                tasks = error.left


def _on_dask(address: str, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    with _dask(address) as (pool, workers):
        yield from _through(pool, work, tasks, _AHEAD * max(workers, 1))


@contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int]]:
    """The cluster's own executor: it gives the tasks of a worker that died to the others."""
    import distributed

    try:
        client: Any = distributed.Client(address, timeout=5, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ArgumentError(
            "A Dask scheduler must answer at the address of `--engine`.",
            received={"engine": address.replace("tcp://", "dask://")},
            cure="Start one with `dask scheduler`, and its workers with `dask worker ADDRESS`.",
        ) from error
    with client:
        yield client.get_executor(pure=False, retries=_TRIES), len(client.scheduler_info(n_workers=-1)["workers"])


def _dask_address(engine: str) -> str:
    if not re.fullmatch(r"dask://.+:\d{1,5}", engine):
        raise ArgumentError(
            "`--engine` names a Dask scheduler.", received={"engine": engine}, cure="Pass `--engine dask://host:8786`."
        )
    if importlib.util.find_spec("distributed") is None:
        raise MissingPackageError("distributed", purpose="prediction on a Dask cluster", extra="dask")
    return f"tcp://{engine.removeprefix('dask://')}"
