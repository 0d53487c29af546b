"""Who trains together: the only file that knows of more than one process.

Every process runs the same command. The first one decides, writes and talks; the others compute their share of every
batch and do as the first one decides. A process alone is the first of one, and all of this costs it nothing.

Only the JAX backend trains over processes (`jax.distributed`), so `jax` is imported here. What is decided travels
through the key-value store of its coordinator, which waits as long as it takes; JAX's collectives give up waiting for
a process that is busy with something else after half a minute. That store has no public name in JAX.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import numpy as np

from segnosis.core.errors import ArgumentError, RunError

T = TypeVar("T")

ADDRESS = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
_LAUNCHERS = {
    "by hand": ("KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"),
    "SLURM": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),  # of the step that `srun` starts, not of the whole job
    "Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    "MPI": ("PMI_SIZE", "PMI_RANK"),
}
_SILENCE = 60
"""Seconds without a sign of life after which a process counts as lost."""
_LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|coordination|heartbeat|unavailable|peer", re.I)
_LAST = 1.0
"""Seconds by which the first process leaves after the others: the coordinator goes with it."""
_POLL = 2000
"""Milliseconds; between two of them a signal can be heard."""

_told = itertools.count()


def launched() -> tuple[int, int]:
    """Number of this process and count of all, as whoever started it says: `(0, 1)` when nobody does.

    Raises:
        ArgumentError: What it says is no number, or half of it is missing.
    """
    for launcher, (count, rank) in _LAUNCHERS.items():
        if os.environ.get(count, "1") != "1":
            try:
                found = int(os.environ[rank]), int(os.environ[count])
            except (KeyError, ValueError):
                found = 0, 0
            if not 0 <= found[0] < found[1]:
                raise ArgumentError(
                    f"Of several processes ({launcher}) each knows its number, from 0, and how many there are.",
                    received={name: os.environ.get(name) for name in (count, rank)},
                    cure="Correct these variables, or unset them to train in one process.",
                )
            return found
    return 0, 1


def first() -> bool:
    """Whether this is the process that decides, writes and talks."""
    return launched()[0] == 0


def count() -> int:
    """How many processes train together."""
    return launched()[1]


def begin() -> None:
    """Meet the other processes; nothing is computed before. Alone, do nothing.

    Raises:
        ArgumentError: The backend cannot train over processes, or nobody knows where the first process is.
        RunError: They did not meet.
    """
    rank, number = launched()
    if number == 1 or met():
        return
    import keras

    if keras.backend.backend() != "jax":
        raise ArgumentError(
            "Several processes train together on the JAX backend only; on torch, Keras' `fit` cannot at all.",
            received={"backend": keras.backend.backend(), "processes": number},
            cure="Set KERAS_BACKEND=jax, or start one process.",
        )
    import jax

    # JAX would take SIGTERM for itself; here it ends a training in an orderly way.
    jax.config.update("jax_enable_preemption_service", False)
    address = os.environ.get(ADDRESS, "").split(",")[0] or None
    # SLURM knows which GPU of its host is a process' own; by hand each process has those that it can see.
    detect = None if address is None or "SLURM_LOCALID" in os.environ else "deactivate"
    try:
        jax.distributed.initialize(
            address,
            number,
            rank,
            cluster_detection_method=detect,
            heartbeat_timeout_seconds=_SILENCE,
            shutdown_timeout_seconds=_SILENCE,
        )
        own = jax.local_device_count()
        most, least = strongest(own), -strongest(-own)  # connects all processes while none of them is busy
    except ValueError as error:
        raise ArgumentError(
            "Several processes need to know where the first of them is.",
            received={ADDRESS: os.environ.get(ADDRESS), "problem": str(error)},
            cure=f"Set {ADDRESS}=HOST:PORT in all of them: the host of process 0, and a free port there.",
        ) from error
    except RuntimeError as error:
        raise RunError(
            "All processes of a run start within minutes and reach the first one.",
            received={"process": rank, "processes": number, "problem": str(error).splitlines()[0]},
            cure=f"See whether all were started, and whether they reach {address or 'the host of process 0'}.",
        ) from error
    if most != least:
        raise ArgumentError(
            "All processes of a run have equally many devices.",
            received={"process": rank, "devices": own, "devices of another": most if own == least else least},
            cure="Start one process a GPU, or equal hosts.",
        )


def met() -> bool:
    """Whether this process is connected with others."""
    return _client() is not None


def from_first(decide: Callable[[], T]) -> T:
    """What the first process decides, in every process; the others wait for it without calling `decide`.

    Args:
        decide: Returns plain JSON; an error in it ends all processes.
    """
    client = _client()
    if client is None:
        return decide()
    key = f"segnosis/{next(_told)}"
    if first():
        try:
            client.key_value_set(key, json.dumps({"is": decide()}))
        except BaseException as error:
            client.key_value_set(key, json.dumps({"ended": f"{type(error).__name__}: {error}"}))
            raise
    word = json.loads(_wait_for(client, key))
    if "ended" in word:
        raise RunError("The first process ended the run; this one ends too.", received={"problem": word["ended"]})
    return word["is"]


def strongest(wish: int) -> int:
    """The largest of the numbers that the processes bring; all of them must come."""
    if not met():
        return wish
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(wish))))


def first_arrays(arrays: list[Any]) -> list[Any]:
    """The arrays of the first process; the others bring some of the same shapes and types."""
    if not met():
        return arrays
    from jax.experimental import multihost_utils

    return list(multihost_utils.broadcast_one_to_all(arrays))


def part() -> None:
    """Say goodbye: from here on every process is alone."""
    if met():
        import jax

        jax.distributed.shutdown()


@contextmanager
def losses_told() -> Iterator[None]:
    """Within, the words of a network that lost a process become one clear error."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if isinstance(error, RunError | ArgumentError) or not met() or not _LOST.search(str(error)):
            raise
        raise RunError(
            "A process of this run was lost, so the others end too; their finished epochs are kept.",
            received={"this process": launched()[0], "processes": count(), "problem": str(error).splitlines()[0]},
            cure="See its own output for why; then go on with `--resume`, with as many processes as you like.",
        ) from error


def leave(code: int) -> NoReturn:
    """End this process. One of several ends at once: an orderly end would wait for those that are lost."""
    if met():
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(_LAST if first() else 0.0)
        os._exit(code)
    sys.exit(code)


def _client() -> Any:
    """The connection to the coordinator; `None` for a process that is alone."""
    if "jax" not in sys.modules:
        return None
    from jax._src import distributed

    return distributed.global_state.client


def _wait_for(client: Any, key: str) -> str:
    import jax

    while True:
        try:
            return str(client.blocking_key_value_get(key, _POLL))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
