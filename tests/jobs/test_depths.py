"""Deep supervision from a plan: every depth trained, scored, timed and kept as a network of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import segnosis as sg
from segnosis.cli.main import main
from segnosis.data import phantom
from segnosis.jobs.evaluate import evaluate
from segnosis.training import depths
from segnosis.training.plan import Plan

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*os.fork.*:DeprecationWarning"),
    pytest.mark.usefixtures("no_examination"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    hearts = phantom.write(tmp_path_factory.mktemp("hearts"), subjects=6, size=32, slices=2)
    plan = Plan(
        data=str(hearts), model="unet_plus_plus", preprocessing="standardize", size=(32, 32), batch_size=4, epochs=1,
        model_arguments={"width": 2, "depth": 2, "deep_supervision": True}, steps_per_epoch=2,
    )  # fmt: skip
    return sg.train(plan, out=tmp_path_factory.mktemp("runs") / "run")


def test_the_table_tells_the_cost_and_the_score_of_every_depth(run: Any) -> None:
    rows = run.scores["depths"]
    assert [row["depth"] for row in rows] == [1, 2]
    assert [row["parameters"] for row in rows] == [network.count_params() for network in run.depths()]
    assert rows[0]["parameters"] < rows[1]["parameters"]
    assert all(row["milliseconds"] > 0 for row in rows)
    assert rows[1]["foreground_dice"] == run.scores["foreground_dice"]
    assert "depths/depth-N.keras" in run.report.read_text(encoding="utf-8")


def test_every_depth_is_a_file_that_takes_raw_pixels(run: Any) -> None:
    network = keras.models.load_model(run.out / "depths" / "depth-1.keras", compile=False)
    assert network.predict_on_batch(np.full((1, 19, 22, 1), 800.0, np.float32)).shape == (1, 19, 22, 4)
    assert run.model().predict_on_batch(np.full((1, 19, 22, 1), 800.0, np.float32)).shape == (1, 19, 22, 4)


def test_evaluating_again_gives_the_same_scores_and_prints_them(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    again = evaluate(run)
    assert again["confusion"] == run.scores["confusion"]
    for row, before in zip(again["depths"], run.scores["depths"], strict=True):
        assert {**row, "milliseconds": 0} == {**before, "milliseconds": 0}
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(run.out)])
    assert not left.value.code
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in printed[-2:]] == [
        [str(row["depth"]), f"{row['parameters']:,}"] for row in run.scores["depths"]
    ]


def test_evaluating_on_data_that_is_gone_says_so(run: Any, tmp_path: Path) -> None:
    import shutil

    from segnosis.core.errors import DataError

    copy = tmp_path / "copy"
    shutil.copytree(run.out, copy)
    moved = tmp_path / "moved"
    shutil.copytree(run.plan.data, moved)
    for file in moved.glob("subject-00*"):
        file.rename(file.with_name(file.name.replace("subject-00", "patient-10")))
    run.plan.with_(data=str(moved)).save(copy / "plan.yaml")
    with pytest.raises(DataError, match="segnosis evaluate RUN DATA"):
        evaluate(copy)


def test_a_network_is_timed_in_turns_with_the_others() -> None:
    called: list[str] = []

    class Fake:
        input_shape = (None, None, None, 1)

        def __init__(self, name: str) -> None:
            self.name = name

        def predict_on_batch(self, tile: np.ndarray) -> np.ndarray:
            called.append(self.name)
            return tile

    seconds = depths.latency([Fake("a"), Fake("b")], Plan(data="x", size=(8, 8)))  # type: ignore[list-item]
    assert len(seconds) == 2
    assert "".join(called[2:6]) == "abab"
