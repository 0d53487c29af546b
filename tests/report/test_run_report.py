"""The report as a file: small, the same every time, true to the run folder."""

from __future__ import annotations

import html
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from segnosis.cli.main import main
from segnosis.core.errors import DataError
from segnosis.core.run_folder import RunFolder, read_json, write_json
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.verdict import Healthy, NotApplicable
from segnosis.report import run_report
from segnosis.report.charts import curves

pytestmark = pytest.mark.one_backend


def test_150_samples_stay_far_below_5_megabytes(run: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(run.root, tmp_path / "run")))
    scores = read_json(folder.scores)
    row = scores["samples"][0]
    scores["samples"] = [{**row, "id": f"{row['id']} {number}"} for number in range(150)]
    write_json(folder.scores, scores)
    # The pictures of this run are noise, the worst a compressor can meet.
    assert run_report.write(folder).stat().st_size < 3_000_000


def test_the_report_is_the_same_every_time(run: RunFolder) -> None:
    before = run.report.read_bytes()
    assert run_report.write(run).read_bytes() == before


def test_every_decision_of_the_plan_and_every_sample_is_there(run: RunFolder) -> None:
    text = html.unescape(run.report.read_text(encoding="utf-8"))
    for line in run.plan.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            assert f">{line.split(':', 1)[0]}</th>" in text
    for row in read_json(run.scores)["samples"]:
        assert row["id"] in text


def test_confusion_rows_are_shares_of_the_truth(run: RunFolder) -> None:
    matrix = read_json(run.scores)["confusion"]
    text = run.report.read_text(encoding="utf-8")
    for row in matrix:
        for count in row:
            assert f">{100 * count / sum(row):.1f}</td>" in text


def test_scores_of_samples_that_chose_the_epoch_are_called_flattering(run: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(run.root, tmp_path / "run")))
    assert "These scores flatter" not in folder.report.read_text(encoding="utf-8")
    scores = read_json(folder.scores)
    scores["split"] = {"train": ["a"], "validation": ["b", "c"], "test": ["b", "c"]}
    write_json(folder.scores, scores)
    assert "These scores flatter" in run_report.write(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_epochs_are_whole_numbers(epochs: int) -> None:
    drawn = ElementTree.fromstring(curves("Loss", {"loss": [0.5] * epochs}))
    ticks = [text.text for group in drawn.iter() if group.get("id", "").startswith("xtick_") for text in group.iter()]
    assert ticks
    assert all(label.strip().isdecimal() for label in ticks if label and label.strip())


@pytest.mark.parametrize("verdict", [NotApplicable("the history has 1 epoch", code="OPT003"), Healthy(code="OPT003")])
def test_a_run_too_short_to_judge_is_not_called_healthy(
    run: RunFolder, tmp_path: Path, verdict: NotApplicable | Healthy
) -> None:
    folder = RunFolder(Path(shutil.copytree(run.root, tmp_path / "run")))
    write_json(folder.diagnosis, Diagnosis((verdict,)).to_json())
    page = run_report.write(folder).read_text(encoding="utf-8")
    assert (">healthy</b> diagnosis" in page) == isinstance(verdict, Healthy)
    assert ("Trained too briefly for the model to be judged" in page) != isinstance(verdict, Healthy)


@pytest.mark.parametrize("content", [None, "", "{}", "[]"], ids=str)
@pytest.mark.parametrize("file", ["plan.yaml", "scores.json", "fingerprint.json", "environment.json"])
def test_a_damaged_run_is_one_clear_error(
    file: str, content: str | None, run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(run.root, tmp_path / "run"))
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["report", str(folder)])
    err = capsys.readouterr().err
    assert left.value.code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert str(folder) in err


def test_a_diagnosis_that_is_damaged_is_told_and_one_that_is_gone_left_out(run: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(run.root, tmp_path / "run")))
    folder.diagnosis.write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"diagnosis\.json"):
        run_report.write(folder)
    folder.diagnosis.unlink()
    text = run_report.write(folder).read_text(encoding="utf-8")
    assert "Scores" in text and ">Diagnosis</h2>" not in text


def test_pictures_that_are_gone_can_be_drawn_again(run: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(run.root, tmp_path / "my run")))
    shutil.rmtree(folder.pictures)
    with pytest.raises(DataError, match=r"`segnosis evaluate '.*my run' --update`"):
        run_report.write(folder)


def test_a_report_goes_where_it_is_asked_to(run: RunFolder, tmp_path: Path) -> None:
    assert run_report.write(run, tmp_path / "page.html").read_bytes() == run.report.read_bytes()
