"""Training on several devices and in several processes: the same curve; a lost process is told, and another number of
them goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segnosis.core.errors import ArgumentError
from segnosis.data import phantom
from segnosis.data.share import Share
from segnosis.training import processes
from segnosis.training.plan import Plan

pytestmark = [pytest.mark.one_backend, pytest.mark.timeout(1200)]

_SUMS = 1e-4
"""Relative: the devices add up their parts of a batch in another order, and Adam divides by small square roots."""
_TRAINING = """
import os, signal, sys
from pathlib import Path
import numpy as np
from segnosis import data
from segnosis.core.errors import SegnosisError
from segnosis.core.run_folder import RunFolder
from segnosis.training import processes
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan

folder, dying = Path(sys.argv[1]), sys.argv[2:] == ["dying"]

class Dying(Listener):
    def batch(self, epoch, epochs, batch, batches, loss):
        if dying and epoch == 2 and os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID") == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    def say(self, text):
        print(text)

try:
    processes.begin()
    from segnosis.training.fit import fit
    plan = Plan.load(folder / "asked.yaml")
    train, validation, _ = data.split(data.open(plan.data), seed=0)
    resume = (folder / "checkpoint").exists()
    with processes.losses_told():
        fitted = fit(plan, train, validation, RunFolder(folder), resume=resume, listener=Dying())
    np.savez(folder / "weights.npz", *fitted.model.get_weights())
except SegnosisError as error:
    print(error)
    processes.leave(2)
"""
_TALKING = """
import sys
import numpy as np
from segnosis.core.errors import RunError
from segnosis.training import processes

rank = int(processes.launched()[0])
processes.begin()
assert processes.strongest(5 - rank) == 5
assert processes.from_first(lambda: {"rank": rank}) == {"rank": 0}
assert processes.first_arrays([np.full((2, 3), rank + 1.0, np.float32)])[0].tolist() == [[1.0] * 3] * 2
assert processes.from_first(lambda: "ü" * 100_000) == "ü" * 100_000
processes.part()
assert not processes.met() and processes.from_first(lambda: rank) == rank
import keras
assert float(keras.ops.sum(keras.ops.ones(3))) == 3.0  # each is alone, and can compute
print("over")
"""


def _start(code: str, *words: str, number: int = 1, devices: int = 1) -> list[subprocess.Popen[str]]:
    """So many processes of one program on this machine, with so many simulated devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # Patience with devices that a busy machine lets wait for each other.
    flags = f"{os.environ['XLA_FLAGS']} --xla_cpu_collective_call_terminate_timeout_seconds=600"
    common = {"KERAS_BACKEND": "jax", "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}"}
    common |= {processes.ADDRESS: address, "KERAS_DISTRIBUTION_NUM_PROCESSES": str(number), "JAX_PLATFORMS": "cpu"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env={**os.environ, **common, "KERAS_DISTRIBUTION_PROCESS_ID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(number)
    ]


def _end(running: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit code and output of each; one that hangs is killed and fails the test."""
    try:
        said = ["".join(process.communicate(timeout=600)) for process in running]
        return [(process.returncode, text) for process, text in zip(running, said, strict=True)]
    finally:
        for process in running:
            process.kill()


def _history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run in one process, and one of two processes with two devices each, of which one was lost, and which one
    process with eight devices then finished. The last batch of each epoch has four samples of twelve."""
    root = tmp_path_factory.mktemp("runs")
    hearts = phantom.write(root / "hearts", subjects=6, size=32, slices=4)
    plan = Plan(
        data=str(hearts), model_arguments={"width": 4, "depth": 1, "dropout": 0.1, "l2": 1e-4}, batch_size=12, epochs=2,
        size=(32, 32), preprocessing="standardize", accumulate=2, average=0.8, recompute_statistics=False,
    )  # fmt: skip
    alone, several = root / "alone", root / "several"
    for folder in (alone, several):
        plan.save(folder / "asked.yaml")
    reference = _start(_TRAINING, str(alone))
    lost = _end(_start(_TRAINING, str(several), "dying", number=2, devices=2))
    before = _history(several)
    finished = [*_end(reference), *_end(_start(_TRAINING, str(several), devices=8))]
    return alone, several, lost, before, finished


def test_a_lost_process_ends_the_others_with_a_clear_error(runs: Any) -> None:
    (code, said), (killed, _) = runs[2]
    assert killed == -signal.SIGKILL
    assert code == 2 and "A process of this run was lost" in said and "--resume" in said, said
    assert "4 devices in 2 processes compute 3 samples of every batch each" in said
    assert len(runs[3]) == 1


def test_the_curve_is_that_of_one_process_whoever_goes_on(runs: Any) -> None:
    alone, several, _, before, finished = runs
    assert [code for code, _ in finished] == [0, 0], finished
    assert "12 samples a batch are no multiple of 8 devices" in finished[1][1]
    expected, found = _history(alone), _history(several)
    assert [line["epoch"] for line in found] == [1, 2] and found[:1] == before
    for one, other in zip(expected, found, strict=True):
        for key in (
            "loss",
            "data_loss",
            "val_loss",
            "mean_dice",
            "learning_rate",
            "gradient_norm",
            "progress",
            "steps",
        ):
            assert other[key] == pytest.approx(one[key], rel=_SUMS), key
        assert other["best"] == one["best"]
    with np.load(alone / "weights.npz") as one, np.load(several / "weights.npz") as other:
        for name in one.files:
            # Adam's first steps are of the rate's size whatever the gradient: where that is rounding, so is the step.
            np.testing.assert_allclose(other[name], one[name], rtol=_SUMS, atol=1e-4)


def test_processes_talk_and_part() -> None:
    for code, said in _end(_start(_TALKING, number=2)):
        assert code == 0 and "over" in said, said


def test_every_sample_of_a_batch_belongs_to_one_process() -> None:
    for devices, own in ((1, 1), (4, 1), (4, 2), (8, 8)):
        for samples in range(1, 20):
            rows = [Share(first, own, devices).rows(samples) for first in range(0, devices, own)]
            assert [sample for part in rows for sample in range(samples)[part]] == list(range(samples))
            assert all(part.stop - part.start <= own * Share(0, own, devices).part(samples) for part in rows)


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("KERAS_DISTRIBUTION_NUM_PROCESSES", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, (0, 1)),
        ({"SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "5"}, (5, 16)),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, (0, 1)),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, (3, 4)),
        ({"PMI_SIZE": "2", "PMI_RANK": "1"}, (1, 2)),
        ({"KERAS_DISTRIBUTION_NUM_PROCESSES": "3", "KERAS_DISTRIBUTION_PROCESS_ID": "2"}, (2, 3)),
    ],
)
def test_launchers_are_understood(
    no_launcher: pytest.MonkeyPatch, environment: dict[str, str], found: tuple[int, int]
) -> None:
    for name, value in environment.items():
        no_launcher.setenv(name, value)
    assert processes.launched() == found


@pytest.mark.parametrize("rank", ["two", "2", None])
def test_a_wrong_launch_is_told(no_launcher: pytest.MonkeyPatch, rank: str | None) -> None:
    no_launcher.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    if rank is None:
        no_launcher.delenv("KERAS_DISTRIBUTION_PROCESS_ID", raising=False)
    else:
        no_launcher.setenv("KERAS_DISTRIBUTION_PROCESS_ID", rank)
    with pytest.raises(ArgumentError, match="KERAS_DISTRIBUTION_PROCESS_ID"):
        processes.launched()


def test_other_backends_and_folds_refuse_several_processes(no_launcher: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import keras

    import segnosis as sg

    no_launcher.setenv("OMPI_COMM_WORLD_SIZE", "2")
    no_launcher.setenv("OMPI_COMM_WORLD_RANK", "0")
    no_launcher.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ArgumentError, match=r"JAX backend.*backend='torch'.*KERAS_BACKEND=jax"):
        sg.train(tmp_path, out=tmp_path / "run")
    with pytest.raises(ArgumentError, match="cross-validation"):
        sg.cross_validate(tmp_path, folds=2)
