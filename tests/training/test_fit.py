"""Training: the same seed gives the same run, also when it was stopped in between; the account is true."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segnosis import data
from segnosis.core.errors import DataError, RunError
from segnosis.core.run_folder import RunFolder
from segnosis.data import phantom
from segnosis.training import checkpoint
from segnosis.training.interruption import Interruption
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan

pytestmark = pytest.mark.filterwarnings("ignore:.*os.fork.*:DeprecationWarning")


class Stop(Listener):
    """Interrupts in mid-epoch, as Ctrl-C would."""

    def __init__(self, epoch: int) -> None:
        self.stop_at = epoch
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def batch(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        if epoch == self.stop_at and batch == 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="session")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write(tmp_path_factory.mktemp("hearts"), subjects=6, size=48, slices=4)


@pytest.fixture(scope="session")
def parts(hearts: Path) -> Any:
    return data.split(data.open(hearts), seed=0)


def plan(hearts: Path, **changes: Any) -> Plan:
    model = {"width": 4, "depth": 1, "dropout": 0.1, "l2": 1e-4}
    settings = {"size": (32, 32), "batch_size": 4, "epochs": 3, "steps_per_epoch": 3, "preprocessing": "standardize"}
    settings |= {"accumulate": 2, "average": 0.8}  # three batches an epoch: an update and an epoch overlap
    return Plan(data=str(hearts), model_arguments=model, **{**settings, **changes})


def run(plan: Plan, parts: Any, folder: Path, **arguments: Any) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    from segnosis.training.fit import fit

    fitted = fit(plan, parts[0], parts[1], RunFolder(folder), **arguments)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for line in history:
        for clock in ("seconds", "data_seconds", "training_seconds"):
            line.pop(clock)
    return history, fitted.model.get_weights()


@pytest.fixture(scope="session")
def straight(hearts: Path, parts: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("straight")
    return (*run(plan(hearts), parts, folder), folder)


def test_the_same_seed_gives_the_same_run_bit_for_bit(hearts: Path, parts: Any, straight: Any, tmp_path: Path) -> None:
    history, weights = run(plan(hearts), parts, tmp_path)
    assert history == straight[0]
    assert all(np.array_equal(a, b) for a, b in zip(weights, straight[1], strict=True))


def test_another_seed_gives_another_run(hearts: Path, parts: Any, straight: Any, tmp_path: Path) -> None:
    history, _ = run(plan(hearts, seed=1, epochs=1), parts, tmp_path)
    assert history[0]["loss"] != straight[0][0]["loss"]


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_run_stopped_in_mid_epoch_resumes_to_the_same_bits(
    hearts: Path, parts: Any, straight: Any, tmp_path: Path, epoch: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(plan(hearts), parts, tmp_path, listener=Stop(epoch))
    history, weights = run(plan(hearts), parts, tmp_path, resume=True)
    assert history == straight[0]
    assert all(np.array_equal(a, b) for a, b in zip(weights, straight[1], strict=True))


def test_the_loss_is_told_in_its_two_terms(straight: Any) -> None:
    for line in straight[0]:
        penalty = line["regularization"]["weights"]
        assert penalty > 0
        assert line["loss"] == pytest.approx(line["data_loss"] + penalty, rel=1e-5)


def test_a_picture_and_a_gradient_norm_an_epoch(straight: Any) -> None:
    assert [path.name for path in sorted((straight[2] / "pictures").iterdir())] == [
        f"epoch-{n:04d}.png" for n in (1, 2, 3)
    ]
    assert all(line["gradient_norm"] > 0 for line in straight[0])


def test_a_budget_is_kept(hearts: Path, parts: Any, tmp_path: Path) -> None:
    import time

    from segnosis.training.fit import fit

    started = time.monotonic()
    fitted = fit(plan(hearts, minutes=0.5), parts[0], parts[1], RunFolder(tmp_path), started=started)
    assert time.monotonic() - started < 45
    assert fitted.plan.epochs >= 1
    assert "measured on this machine" in fitted.plan.reasons["epochs"]


def _same(again: Any, straight: Any) -> bool:
    history, weights = again
    return history == straight[0] and all(np.array_equal(a, b) for a, b in zip(weights, straight[1], strict=True))


def _spoil(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_serves(
    hearts: Path, parts: Any, straight: Any, tmp_path: Path
) -> None:
    shutil.copytree(straight[2], tmp_path / "run")
    _, newer = sorted((tmp_path / "run" / "checkpoint").glob("last-*.npz"))
    _spoil(newer)
    stop = Stop(0)
    assert _same(run(plan(hearts), parts, tmp_path / "run", resume=True, listener=stop), straight)
    assert any(newer.stem in text and "checksum" in text for text in stop.said)


def test_no_checkpoint_that_is_damaged_is_ever_loaded(hearts: Path, parts: Any, straight: Any, tmp_path: Path) -> None:
    shutil.copytree(straight[2], tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoint").glob("last-*.npz"):
        _spoil(file)
    with pytest.raises(RunError, match="checksum"):
        run(plan(hearts), parts, tmp_path / "run", resume=True)


class Terminate(Stop):
    """Sends this process a signal in mid-epoch, and counts the steps."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.steps = 0

    def batch(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        self.steps += 1
        if epoch == self.stop_at and batch == 2:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_saves_the_steps_of_the_epoch_and_resumes_to_the_same_bits(
    hearts: Path, parts: Any, straight: Any, tmp_path: Path
) -> None:
    first, second = Terminate(2), Terminate(0)
    with Interruption().listening() as interruption, pytest.raises(KeyboardInterrupt):
        run(plan(hearts), parts, tmp_path, listener=first, interruption=interruption)
    assert interruption.exit_code == 143
    assert _same(run(plan(hearts), parts, tmp_path, resume=True, listener=second), straight)
    assert first.steps + second.steps == 9  # none was done twice


def test_a_second_signal_does_not_wait_and_without_training_neither_does_the_first() -> None:
    with Interruption().listening() as interruption:
        with interruption.orderly():
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.asked()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.exit_code == 130
    with Interruption().listening(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_full_disk_stops_cleanly_and_loses_nothing(
    hearts: Path, parts: Any, straight: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if self.suffix == ".npz" and any((tmp_path / "checkpoint").glob("last-*.json")):
            write(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, content)

    with monkeypatch.context() as patch, pytest.raises(RunError, match=r"No space left.*Free some space"):
        patch.setattr(Path, "write_bytes", full)
        run(plan(hearts), parts, tmp_path)
    assert not list(tmp_path.rglob(".part-*"))
    assert _same(run(plan(hearts), parts, tmp_path, resume=True), straight)


_DYING = """
import os, signal, sys
from pathlib import Path
from segnosis import data
from segnosis.core.run_folder import RunFolder
from segnosis.training.fit import fit
from segnosis.training.plan import Plan

folder, suffix, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
write, seen = Path.write_bytes, []

def dying(self, content):
    seen.extend([self.name] * (self.suffix == suffix))
    if len(seen) == number:
        write(self, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, content)

Path.write_bytes = dying
plan = Plan.load(folder / "asked.yaml")
train, validation, _ = data.split(data.open(plan.data), seed=0)
fit(plan, train, validation, RunFolder(folder), resume=(folder / "checkpoint").exists())
"""


def test_killed_while_it_writes_checkpoints_it_loses_nothing(
    hearts: Path, parts: Any, straight: Any, tmp_path: Path
) -> None:
    plan(hearts).save(tmp_path / "asked.yaml")
    # An epoch writes its best weights, then its newest: variables first, then the JSON that makes them count.
    for suffix, number in ((".npz", 2), (".json", 4)):
        command = [sys.executable, "-c", _DYING, str(tmp_path), suffix, str(number)]
        assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
        assert list(tmp_path.rglob(".part-*"))
    assert _same(run(plan(hearts), parts, tmp_path, resume=True), straight)
    assert not list(tmp_path.rglob(".part-*"))


@pytest.fixture
def vanished(tmp_path: Path) -> Any:
    """Hearts of which one to learn from is gone after they were split."""
    own = phantom.write(tmp_path / "hearts", subjects=6, size=32, slices=2)
    parts = data.split(data.open(own), seed=0)
    (own / f"{parts[0].groups[0]}.nii.gz").unlink()
    return own, parts


def test_a_file_that_vanishes_stops_the_run_and_is_named(vanished: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=vanished[1][0].groups[0]):
        run(plan(vanished[0]), vanished[1], tmp_path / "run")


def test_a_run_told_to_skip_goes_on_without_it_and_counts(vanished: Any, tmp_path: Path) -> None:
    skipping = plan(vanished[0], unreadable="skip")
    history, _ = run(skipping, vanished[1], tmp_path / "run")
    assert len(history) == 3
    assert history[-1]["unreadable"] == 2  # its two slices


def test_a_run_that_becomes_shorter_on_the_way_ends_its_annealing_and_resumes_so(
    hearts: Path, parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segnosis.training import pace, recorder

    def slower(plan: Plan, *, done: int, **_: Any) -> Plan | None:
        return plan.with_(epochs=4) if done == 2 and plan.epochs == 6 else None

    monkeypatch.setattr(pace, "fitted_to_time", lambda plan, *_: plan)
    monkeypatch.setattr(recorder, "corrected", slower)
    timed = plan(hearts, minutes=60.0, epochs=6, warmup_share=0.0)
    history, weights = run(timed, parts, tmp_path / "run")
    assert [line["progress"] for line in history] == pytest.approx([1 / 6, 2 / 6, 4 / 6, 1.0], abs=1e-5)
    assert history[-1]["learning_rate"] == pytest.approx(0.01 * timed.learning_rate, rel=1e-3)
    assert Plan.load(tmp_path / "run" / "plan.yaml").epochs == 4
    with pytest.raises(KeyboardInterrupt):
        run(timed, parts, tmp_path / "stopped", listener=Stop(4))
    assert _same(run(timed, parts, tmp_path / "stopped", resume=True), (history, weights))


@pytest.mark.parametrize(
    ("done", "seconds", "may_grow", "epochs"),
    [
        (5, 150.0, True, None),  # as planned
        (5, 151.0, True, None),  # a little faster is not worth a change
        (5, 140.0, True, 19),
        (5, 300.0, True, 34),  # twice as fast
        (5, 300.0, False, None),
        (12, 300.0, True, None),  # too late to gain
        (19, 1.0, True, None),  # the last epoch is cut by the clock, if it must be
        (15, 1.0, True, 16),
        (20, 100.0, True, None),
    ],
)
def test_the_epochs_left_are_those_that_fit(done: int, seconds: float, may_grow: bool, epochs: int | None) -> None:
    from segnosis.training.pace import corrected

    twenty = Plan(data="hearts", epochs=20, minutes=5.0)
    after = corrected(twenty, done=done, epoch_seconds=10.0, seconds=seconds, may_grow=may_grow)
    assert (after and after.epochs) == epochs


@pytest.mark.parametrize(("step", "slower"), [(0.1, 1.0), (0.2, 1.0), (0.4, 2.0), (0.6, 3.0), (9.0, 4.0)])
def test_what_comes_after_training_gets_more_time_on_a_machine_that_became_busier(step: float, slower: float) -> None:
    from segnosis.training.pace import Deadline

    deadline, quiet = Deadline(end=1e6, after=20.0, step=0.2), Deadline(end=1e6, after=20.0, step=0.2)
    deadline.see(step)
    assert quiet.seconds - deadline.seconds == pytest.approx(20.0 * (slower - 1.0), abs=1.0)


@pytest.mark.parametrize(("minutes", "reserved"), [(1.0, False), (60.0, True)])
def test_probes_have_their_time_where_the_minutes_are_enough(minutes: float, reserved: bool) -> None:
    from segnosis.training.pace import Deadline, Pace

    pace = Pace(step=0.5, validation=1.0, saving=0.1, pixel=1e-6, compiling=10.0, memory=0)
    deadline = Deadline.planned(time.monotonic(), minutes, after=10.0, pace=pace)
    assert deadline.reserved is reserved
    assert deadline.behind == (10.0 + pace.probing if reserved else 10.0)
    assert Deadline.planned(time.monotonic() - 3600.0, minutes, after=0.0, pace=pace).probes_fit is False
    assert Deadline.planned(time.monotonic(), 1e6, after=10.0, pace=pace).probes_fit


def test_a_checkpoint_of_another_model_is_refused(straight: Any) -> None:
    import keras

    stored = checkpoint.load(straight[2] / "checkpoint", "last")
    assert stored is not None
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(RunError, match="own plan"):
        checkpoint.restore(stored, other)
