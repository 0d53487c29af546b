"""Cross-validation: every sample held out once, by whole groups; one account; killed anywhere, it goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segnosis as sg
from segnosis.cli.main import main
from segnosis.core.errors import RunError
from segnosis.core.run_folder import write_json
from segnosis.data import phantom
from segnosis.jobs import folds
from segnosis.jobs.run import fold_folders, members, opened
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan

pytestmark = pytest.mark.usefixtures("no_examination")


class Stop(Listener):
    """Interrupts training at one step of one fold, as Ctrl-C would."""

    def __init__(self, fold: int) -> None:
        self.fold, self.said = fold, 0

    def say(self, text: str) -> None:
        self.said += text.startswith("fold ")

    def batch(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        if (self.said, epoch, batch) == (self.fold, 2, 1):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    hearts = phantom.write(tmp_path_factory.mktemp("hearts"), subjects=5, size=32, slices=2)
    return Plan(
        data=str(hearts), model_arguments={"width": 4, "depth": 1}, preprocessing="standardize", size=(32, 32),
        batch_size=2, epochs=2, steps_per_epoch=2, class_names=phantom.CLASS_NAMES,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> folds.Folds:
    return sg.cross_validate(plan, folds=2, out=tmp_path_factory.mktemp("folds") / "out")


def test_every_sample_is_held_out_once_and_counted_once(made: folds.Folds, plan: Plan) -> None:
    dataset = sg.data.open(plan.data)
    assert [run.plan.fold for run in made.runs] == [(1, 2), (2, 2)]
    assert sorted(row["id"] for row in made.scores["samples"]) == sorted(dataset.ids)
    groups = [{row["group"] for row in run.scores["samples"]} for run in made.runs]
    assert not groups[0] & groups[1]
    total = np.array(made.scores["confusion"])
    assert total.sum() == sum(sample.mask.size for sample in dataset)
    np.testing.assert_array_equal(total, sum(np.array(run.scores["confusion"]) for run in made.runs))
    hit = np.diag(total)[1:]
    iou = hit / (total.sum(axis=0) + total.sum(axis=1) - np.diag(total))[1:]
    assert made.scores["foreground_iou"] == pytest.approx(iou.mean())
    each = [run.scores["foreground_dice"] for run in made.runs]
    spread = made.scores["spread"]["foreground_dice"]
    assert spread["mean"] == pytest.approx(np.mean(each))
    assert spread["std"] == pytest.approx(np.std(each, ddof=1))
    low, high = made.scores["intervals"]["foreground_iou"]
    assert low <= made.scores["foreground_iou"] <= high
    assert made.scores["intervals"]["groups"] == len(groups[0] | groups[1])
    assert sum(made.scores["doubts"]["looked_at"].values()) == len(dataset)


def test_stopped_in_the_middle_of_a_fold_it_goes_on_to_the_same_models(
    made: folds.Folds, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunError, match=r"1 of 2 folds are finished.*segnosis train --resume --out"):
        sg.cross_validate(plan, folds=2, out=tmp_path / "out", listener=Stop(2))
    assert len(list((tmp_path / "out" / "fold-2").glob("history.jsonl"))) == 1
    assert not (tmp_path / "out" / "scores.json").exists()
    with pytest.raises(RunError, match="has 2 folds"):
        sg.cross_validate("", folds=3, out=tmp_path / "out", resume=True)
    first = (tmp_path / "out" / "fold-1" / "model.keras").read_bytes()
    with pytest.raises(SystemExit) as left:
        main(["train", "--resume", "--out", str(tmp_path / "out")])
    assert not left.value.code
    assert "mean ± deviation over folds" in capsys.readouterr().out
    again = folds.Folds(tmp_path / "out")
    assert (tmp_path / "out" / "fold-1" / "model.keras").read_bytes() == first
    assert again.scores["confusion"] == made.scores["confusion"]
    for resumed, straight in zip(again.runs, made.runs, strict=True):
        for one, other in zip(resumed.model().get_weights(), straight.model().get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_folder_predicts_as_the_ensemble_of_its_folds(made: folds.Folds, plan: Plan, tmp_path: Path) -> None:
    whole = sg.predict(made.out, plan.data, tmp_path / "whole", postprocess=True)
    named = sg.predict(fold_folders(made.out), plan.data, tmp_path / "named", postprocess=True)
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in named]
    assert [run.out for run in members(made.out)] == fold_folders(made.out)
    assert [run.out for run in members(made.runs[0].out)] == [made.runs[0].out]
    with pytest.raises(RunError, match=r"cross-validation.*Name a fold"):
        opened(made.out)


def test_one_report_over_the_folds_can_be_written_again(made: folds.Folds, capsys: pytest.CaptureFixture[str]) -> None:
    html = made.report.read_text(encoding="utf-8")
    for word in ("fold-1", "fold-2", *phantom.CLASS_NAMES, "all images as one"):
        assert word in html
    assert "<script" not in html
    made.report.unlink()
    with pytest.raises(SystemExit):
        main(["report", str(made.out)])
    assert made.report.read_text(encoding="utf-8") == html
    assert str(made.report) in capsys.readouterr().out
    with pytest.raises(RunError, match="never overwritten"):
        sg.cross_validate(made.runs[0].plan, folds=2, out=made.out)


def test_the_budget_is_shared_by_the_folds_still_to_come(tmp_path: Path) -> None:
    job = {"folds": 4, "minutes": 10.0}
    write_json(tmp_path / "folds.json", job)
    assert folds._share(tmp_path, 1, job) == 2.5
    write_json(tmp_path / "fold-1" / "scores.json", {"seconds": 240.0})
    assert folds._share(tmp_path, 2, job) == 2.0
    write_json(tmp_path / "fold-2" / "scores.json", {"seconds": 600.0})
    assert folds._share(tmp_path, 3, job) == 0.25
    assert folds._share(tmp_path, 3, {**job, "minutes": None}) is None
