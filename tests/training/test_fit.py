"""Training: the same seed gives the same run, also when it was stopped in between; the account is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segnosis import data
from segnosis.core.errors import RunError
from segnosis.core.run_folder import RunFolder
from segnosis.data import phantom
from segnosis.training import checkpoint
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan

pytestmark = pytest.mark.filterwarnings("ignore:.*os.fork.*:DeprecationWarning")


class Stop(Listener):
    """Interrupts in mid-epoch, as Ctrl-C would."""

    def __init__(self, epoch: int) -> None:
        self.stop_at = epoch

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
    model = {"width": 4, "depth": 2, "dropout": 0.1, "l2": 1e-4}
    settings = {"size": (32, 32), "batch_size": 4, "epochs": 3, "steps_per_epoch": 3, "preprocessing": "standardize"}
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


@pytest.mark.parametrize("epoch", [1, 2, 3])
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


def test_a_damaged_checkpoint_is_told_and_never_loaded(hearts: Path, parts: Any, straight: Any, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(straight[2], tmp_path / "run")
    (file,) = (tmp_path / "run" / "checkpoint").glob("last-*.npz")
    data_ = bytearray(file.read_bytes())
    data_[len(data_) // 2] ^= 1
    file.write_bytes(bytes(data_))
    with pytest.raises(RunError, match="checksum"):
        run(plan(hearts), parts, tmp_path / "run", resume=True)


def test_a_checkpoint_of_another_model_is_refused(straight: Any) -> None:
    import keras

    stored = checkpoint.load(straight[2] / "checkpoint", "last")
    assert stored is not None
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(RunError, match="own plan"):
        checkpoint.restore(stored, other)
