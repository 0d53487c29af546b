"""Worker processes: the same bits as without them, errors with their file, a death told, nothing left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import segnosis as sg
from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import ArgumentError, DataError
from segnosis.core.sample import Sample
from segnosis.data import batches as batches_module
from segnosis.data.batches import Batches
from segnosis.data.bottleneck import Waiting
from segnosis.data.transforms import Mixup
from segnosis.data.workers import Workers

pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are watched in /proc"),
]
COUNT = 11


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir()
    for k in range(COUNT):
        image = rng.integers(0, 256, (40 + k, 50 - k, 3), np.uint8)
        cv2.imwrite(str(root / "images" / f"{k:02}.png"), image)
        cv2.imwrite(str(root / "masks" / f"{k:02}.png"), (image[..., 0] > 120).astype(np.uint8) * 255)
    return root


def make(root: Path, **settings: Any) -> Batches:
    settings = {"batch_size": 3, "size": 32, "augment": "strong", "seed": 5, **settings}
    return Batches(sg.data.open(root), **settings)


@pytest.fixture
def feed(pictures: Path) -> Iterator[Batches]:
    made = make(pictures, workers=2, processes=True)
    yield made
    made.close()


def processes(feed: Batches) -> list[subprocess.Popen[bytes]]:
    assert isinstance(feed._ahead, Workers)
    return [worker.process for worker in feed._ahead._workers]


def halt(process: subprocess.Popen[bytes]) -> None:
    """Stop a process, and be sure that it stands still."""
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def epochs(feed: Batches, numbers: tuple[int, ...] = (0, 1, 2)) -> list[tuple[bytes, ...]]:
    told = []
    for epoch in numbers:
        feed.set_epoch(epoch)
        told += [tuple(array.tobytes() for array in feed[step]) for step in range(len(feed))]
    return told


@pytest.mark.parametrize(
    "settings", [{}, {"augment": ["mixup"], "cache": "off"}, {"cache": "disk"}], ids=["auto", "soft", "disk"]
)
def test_the_batches_are_those_of_one_thread_to_the_bit(pictures: Path, settings: dict[str, Any]) -> None:
    if "augment" in settings:
        settings = {**settings, "augment": [Mixup(0.4)]}
    wanted = epochs(make(pictures, workers=0, **settings))
    assert len(set(wanted)) == len(wanted)
    feed = make(pictures, workers=2, processes=True, **settings)
    try:
        assert epochs(feed) == wanted
        assert feed.seconds_per_batch is not None and feed.seconds_per_batch > 0
        feed.set_epoch(1)
        assert [feed[step][0].tobytes() for step in (3, 0, 2, 2, 1)] == [wanted[4 + k][0] for k in (3, 0, 2, 2, 1)]
    finally:
        feed.close()


def test_batches_stay_as_they_are_for_as_long_as_they_are_held(feed: Batches, pictures: Path) -> None:
    held = [feed[step] for step in range(4)]
    wanted = epochs(make(pictures, workers=0), (0,))
    epochs(feed, (1, 2))  # the shared memory is used again and again meanwhile
    assert [tuple(array.tobytes() for array in batch) for batch in held] == wanted
    assert isinstance(feed._ahead, Workers)
    slots = 2 * 2 + 2 + 1 + 2
    assert feed._ahead._lent == 2
    del held
    deadline = time.monotonic() + 60
    while True:  # prefetched batches may still be on their way
        feed.set_epoch(0)
        with feed._ahead._lock:
            feed._ahead._take_back()
            if len(feed._ahead._free) == slots or time.monotonic() > deadline:
                break
        time.sleep(0.01)
    assert (len(feed._ahead._free), feed._ahead._lent) == (slots, 0)  # none is lost: memory is steady over epochs


def test_an_error_in_a_worker_is_its_own_with_the_file(pictures: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(pictures, tmp_path / "data")
    dataset = sg.data.open(tmp_path / "data")
    dataset.spec  # noqa: B018  the files were whole when the data set was opened
    file = tmp_path / "data" / "images" / "07.png"
    file.write_bytes(file.read_bytes()[:200])
    settings: dict[str, Any] = {"batch_size": 3, "size": 32, "shuffle": False, "workers": 2, "processes": True}
    feed = Batches(dataset, **settings)
    dataset.source.cache.__init__()  # type: ignore[misc]  what was decoded when it was opened is forgotten
    feed[0], feed[1]
    with pytest.raises(DataError, match=r"07\.png") as told:
        feed[2]
    assert feed.failure is told.value
    assert "Traceback" in str(told.value.__cause__)
    assert len(feed[3][0]) == 2  # the others still come
    feed.close()
    passing = Batches(dataset, **settings, on_error="skip")
    assert [len(passing[step][0]) for step in range(4)] == [3, 3, 3, 2]
    assert list(passing.skipped) == ["07"]
    passing.close()


def test_a_killed_worker_is_told_at_once_and_the_next_batch_begins_new_ones(feed: Batches, pictures: Path) -> None:
    feed[0]
    feed.set_epoch(1)
    stopped = processes(feed)
    for process in stopped:
        halt(process)  # so that none can finish the batch that is asked for
    feed[0]  # asked for directly, made here; those after it are asked of the workers
    told: list[BaseException] = []

    def ask() -> None:
        try:
            feed[1]
        except DataError as error:
            told.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    os.kill(stopped[1].pid, signal.SIGKILL)
    asking.join(60)
    assert not asking.is_alive(), "a dead worker must not be waited for"
    assert "ended by='SIGKILL'" in str(told[0])
    assert "memory" in str(told[0])
    assert all(process.wait(60) == -signal.SIGKILL for process in stopped)  # the others end, too
    assert epochs(feed, (1,)) == epochs(make(pictures, workers=0), (1,))
    assert all(process.poll() is None for process in processes(feed))


def test_the_sample_at_hand_is_named_when_a_worker_dies(feed: Batches) -> None:
    feed[0]
    ahead = feed._ahead
    assert isinstance(ahead, Workers)
    worker = processes(feed)[0]
    halt(worker)
    np.frombuffer(ahead._memory, np.int64, 1, 0)[0] = 4 + 1
    feed.set_epoch(3)
    futures = [ahead.submit(3, step) for step in range(4)]
    resource.prlimit(worker.pid, resource.RLIMIT_CORE, (0, 0))
    os.kill(worker.pid, signal.SIGSEGV)
    os.kill(worker.pid, signal.SIGCONT)
    error = next(error for future in futures if (error := future.exception(60)) is not None)
    assert "SIGSEGV" in str(error) and "file='04'" in str(error) and "crashed on that file" in str(error)


SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell starts in the background
from segnosis.data import open
from segnosis.data.batches import Batches
made = Batches(open(sys.argv[1]), batch_size=3, size=32, workers=2, processes=True)
made[0], made[1]
print(*(worker.process.pid for worker in made._ahead._workers), flush=True)
if sys.argv[2] == "wait":
    time.sleep(300)
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT", "exit"])
def test_no_process_outlives_the_program(pictures: Path, how: str) -> None:
    words = [sys.executable, "-c", SCRIPT, str(pictures), "exit" if how == "exit" else "wait"]
    program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert program.stdout is not None
    workers = [int(word) for word in program.stdout.readline().split()]
    assert len(workers) == 2
    if how != "exit":
        program.send_signal(getattr(signal, how))
    program.wait(60)
    program.stdout.close()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}/exe").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in workers)


def squares(**told: Any) -> Any:
    spec = DatasetSpec("memory", "arrays", ("background", "square"), channels=1)
    made = [Sample(np.eye(20, dtype=np.uint8)[..., None], np.eye(20, dtype=np.uint8), str(k), str(k)) for k in range(5)]
    return types.new_class("Squares", (list,), exec_body=lambda space: space.update(spec=spec, **told))(made)


def test_a_data_set_that_cannot_travel_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match=r"sent to them.*processes=False"):
        Batches(squares(), batch_size=2, size=16, workers=1, processes=True)[0]
    here = types.ModuleType("only_here")
    monkeypatch.setitem(sys.modules, "only_here", here)
    known = squares(__module__="only_here", __qualname__="Squares")
    here.Squares = type(known)  # type: ignore[attr-defined]
    feed = Batches(known, batch_size=2, size=16, workers=1, processes=True)
    feed[0]
    with pytest.raises(ArgumentError, match=r"opened there.*only_here"):
        feed[1]


def test_processes_take_over_where_data_is_the_bottleneck_and_cores_are_left(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, cores, count in ((10.0, 8, 2), (10.0, 2, 0), (1.0, 8, 0)):
        monkeypatch.setattr(batches_module, "cores", lambda cores=cores: cores)
        feed, said = make(pictures), []
        feed.tell = said.append
        feed.on_epoch_begin()
        first = [feed[step][0].tobytes() for step in range(len(feed))]
        # An epoch as it would be, had each batch taken its seconds to make and as many to learn from.
        feed.waited_seconds, feed._made, feed._making_seconds = seconds / 2, 4, seconds / 2 * 1.5
        feed._began -= seconds
        feed.on_epoch_end()
        assert bool(count) == isinstance(feed._ahead, Workers)
        assert len(said) == (seconds > 2)
        assert all("data, not arithmetic, is the bottleneck" in text for text in said)
        if count:
            assert len(processes(feed)) == count
            assert f"{count} worker processes" in said[0]
        assert epochs(feed, (0, 1)) == epochs(make(pictures, workers=0), (0, 1))
        assert epochs(feed, (0,))[0][0] == first[0]
        feed.close()


def test_waiting_is_judged_by_share_and_seconds() -> None:
    assert not Waiting(seconds=100, waited=15, batches=50, making=1.0, workers=4, cores=16).much
    assert not Waiting(seconds=3, waited=1.5, batches=50, making=1.0, workers=4, cores=16).much
    waiting = Waiting(seconds=100, waited=60, batches=100, making=2.0, workers=4, cores=16)
    assert waiting.much
    assert waiting.wanted == 6  # a batch takes 2 s to make and 0.4 s to learn from
    assert "60.0 of 100.0 s (60%)" in str(waiting)
