"""Frozen first, then learning with smaller steps; one output per depth: told by bytes, and resumed to the same ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from segnosis import data
from segnosis.core.errors import ArgumentError
from segnosis.core.run_folder import RunFolder
from segnosis.data import phantom
from segnosis.models.freeze import leaves
from segnosis.training import build, checkpoint
from segnosis.training.listener import Listener
from segnosis.training.optimizer import optimizer, schedule
from segnosis.training.plan import Plan
from segnosis.training.stages import stages

pytestmark = pytest.mark.filterwarnings("ignore:.*os.fork.*:DeprecationWarning")


class Told(Listener):
    """Keeps what was said, and interrupts in mid-epoch where it is told to."""

    def __init__(self, stop_at: int = 0) -> None:
        self.said: list[str] = []
        self.stop_at = stop_at

    def say(self, text: str) -> None:
        self.said.append(text)

    def batch(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        if epoch == self.stop_at and batch == 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    hearts = phantom.write(tmp_path_factory.mktemp("hearts"), subjects=6, size=32, slices=2)
    return data.split(data.open(hearts), seed=0)


def plan(**changes: Any) -> Plan:
    """Three epochs of a U-Net++ with an output per depth."""
    model = {"width": 2, "depth": 2, "dropout": 0.1, "deep_supervision": True}
    settings: dict[str, Any] = {"size": (32, 32), "batch_size": 4, "epochs": 3, "steps_per_epoch": 2}
    settings |= {"preprocessing": "standardize", "model_arguments": model}
    return Plan(data="hearts", model="unet_plus_plus", **{**settings, **changes})


def run(plan: Plan, parts: Any, folder: Path, **arguments: Any) -> tuple[list[dict[str, Any]], keras.Model]:
    from segnosis.training.fit import fit

    fitted = fit(plan, parts[0], parts[1], RunFolder(folder), **arguments)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for line in history:
        for clock in ("seconds", "data_seconds", "training_seconds"):
            line.pop(clock)
    return history, fitted.model


def named(network: keras.Model, stored: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The variables of a checkpoint by the names they have in the network."""
    paths = {f"model/{index:04d}": variable.path for index, variable in enumerate(network.variables)}
    return {path: stored[key].tobytes() for key, path in paths.items()}


def test_no_byte_of_a_frozen_encoder_moves_until_its_stage_is_over(parts: Any, tmp_path: Path) -> None:
    frozen = plan(frozen={"encoder": 1}, epochs=2, schedule="constant", thawed_rate=0.5)
    told = Told(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(frozen, parts, tmp_path, listener=told)
    network = build.model(frozen, channels=1, num_classes=4)
    keras.utils.set_random_seed(frozen.seed)
    first = build.model(frozen, channels=1, num_classes=4)
    started = {new.path: np.asarray(old).tobytes() for new, old in zip(network.variables, first.variables, strict=True)}
    stored = checkpoint.load(tmp_path / "checkpoint", "last")
    assert stored is not None and stored.epoch == 1
    after = named(network, stored.arrays)
    moved = {path for path, value in after.items() if value != started[path]}
    kept = {variable.path for path, layer in leaves(network) if "encoder" in path for variable in layer.weights}
    assert any("moving_variance" in path for path in kept)
    assert not moved & kept
    assert {path for path in after if "decoder" in path and path.endswith("kernel")} <= moved
    assert len(told.said) == 2 and "Frozen" in told.said[0]

    history, model = run(frozen, parts, tmp_path, resume=True)
    changed = {variable.path for variable in model.variables if variable.trainable}
    assert any("encoder" in path for path in changed)
    assert [line["learning_rate"] for line in history] == pytest.approx(
        [frozen.learning_rate, 0.5 * frozen.learning_rate]
    )


def staged() -> Plan:
    """Two stages; what a frozen normalization keeps is told above."""
    model = {"width": 2, "depth": 2, "dropout": 0.1, "deep_supervision": True, "normalization": None}
    return plan(frozen={"encoder": 2}, model_arguments=model)


@pytest.fixture(scope="module")
def straight(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(staged(), parts, tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_run_in_stages_resumes_to_the_same_bits(parts: Any, straight: Any, tmp_path: Path, epoch: int) -> None:
    history, model = straight
    with pytest.raises(KeyboardInterrupt):
        run(staged(), parts, tmp_path / "stopped", listener=Told(epoch))
    again, resumed = run(staged(), parts, tmp_path / "stopped", resume=True)
    assert again == history
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), resumed.get_weights(), strict=True))


def test_the_losses_of_all_depths_are_averaged(parts: Any, tmp_path: Path) -> None:
    from segnosis.training.feeds import feed_for
    from segnosis.training.recorder import TwoTermModel

    deep = plan(model_arguments={"width": 2, "depth": 2, "deep_supervision": True, "normalization": None, "l2": 0.1})
    network = build.model(deep, channels=1, num_classes=4)
    model = TwoTermModel(network.input, network.output)
    loss = build.loss(deep, ignore_class=255)
    model.compile("sgd", loss, run_eagerly=True)
    x, y = feed_for(deep, parts[1], training=False)[0][:2]
    expected = np.mean([keras.ops.convert_to_numpy(loss(y, logits)) for logits in network(x)])
    logs = model.train_on_batch(x, y, return_dict=True)
    assert float(logs["data_loss"]) == pytest.approx(expected, rel=1e-5)
    assert float(logs["loss"]) > float(logs["data_loss"])


def test_a_schedule_goes_on_where_the_stage_begins() -> None:
    whole = schedule(plan(), steps=100)
    later = optimizer(plan(), steps=60, progress=0.4, rate=0.1)
    later.build([keras.Variable([1.0])])
    assert float(later.learning_rate) == pytest.approx(0.1 * float(whole(40)), rel=1e-5)


def test_frozen_for_longer_than_the_training_is_frozen_for_all_of_it() -> None:
    (stage,) = stages(plan(frozen={"encoder": 99}))
    assert (stage.first, stage.last, stage.frozen, stage.rate) == (0, 3, ("encoder",), 1.0)


@pytest.mark.parametrize("frozen", [{"encoder": -1}, {"encoder": "long"}, ["encoder"]])
def test_a_wrong_stage_is_told(frozen: Any) -> None:
    with pytest.raises(ArgumentError, match="frozen"):
        plan(frozen=frozen)
