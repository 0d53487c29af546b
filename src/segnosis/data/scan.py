"""One pass over a data set for many accumulators."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from segnosis.core.sample import Pair

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with (pairs done, pairs in all)."""


class Accumulator(Protocol):
    """Takes pairs one by one and keeps a fact of bounded size."""

    def add(self, pair: Pair) -> None:
        """Take one pair."""

    def result(self) -> Any:
        """The fact."""


def in_order(read: Callable[[int], T], number: int, *, workers: int = 2) -> Iterator[T]:
    """`read(0)`, `read(1)`, … in order, a few read ahead in threads; at most `4 * workers` results are held.

    Example:
        >>> list(in_order(lambda i: i * i, 4))
        [0, 1, 4, 9]
    """
    if workers < 2:
        yield from map(read, range(number))
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="segnosis-read")
    ahead: deque[Future[T]] = deque()
    try:
        for i in range(number):
            ahead.append(pool.submit(read, i))
            if len(ahead) >= 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def scan(pairs: Any, accumulators: Mapping[str, Accumulator], *, progress: Progress | None = None) -> dict[str, Any]:
    """Read every pair once and hand it to every accumulator.

    Args:
        pairs: `Dataset.pairs()`, or any sized iterable of pairs.
        accumulators: Name → accumulator.
        progress: Called after each pair.

    Returns:
        Name → result.
    """
    total = len(pairs)
    for done, pair in enumerate(pairs, start=1):
        for accumulator in accumulators.values():
            accumulator.add(pair)
        if progress is not None:
            progress(done, total)
    return {name: accumulator.result() for name, accumulator in accumulators.items()}
