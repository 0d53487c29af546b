"""Runs on one page: the same images, or one clear error; what it says is what the test found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.report.conftest import NASTY

from segnosis.cli.main import main
from segnosis.core.errors import RunError, SegnosisError
from segnosis.core.run_folder import RunFolder, read_json, write_json
from segnosis.jobs.compare import compare_runs
from segnosis.report import comparison_report

pytestmark = pytest.mark.one_backend


@pytest.fixture
def other(run: RunFolder, tmp_path: Path) -> RunFolder:
    """The same run, but every prediction of the foreground is right."""
    folder = RunFolder(Path(shutil.copytree(run.root, tmp_path / "other")))
    scores = read_json(folder.scores)
    for row in scores["samples"]:
        true = [row["counts"][k][1] for k in range(2)]
        row["counts"] = [[pixels, pixels, pixels] for pixels in true]
        row["foreground_dice"] = 1.0
    scores |= {"foreground_dice": 1.0, "mean_dice": 1.0, "foreground_iou": 1.0, "mean_iou": 1.0}
    write_json(folder.scores, scores)
    return folder


def _changed(folder: RunFolder, change: Any) -> Path:
    scores = read_json(folder.scores)
    change(scores)
    write_json(folder.scores, scores)
    return folder.root


def test_a_better_run_is_called_better(run: RunFolder, other: RunFolder) -> None:
    compared = compare_runs([run.root, other.root])
    (pair,) = compared["pairs"]
    said = pair["scores"]["foreground_dice"]
    assert said["difference"] == pytest.approx(1.0 - read_json(run.scores)["foreground_dice"])
    # 8 images, better in each: of the 2⁸ exchanges two are as extreme.
    assert said["p_value"] == said["corrected"] == pytest.approx(2 / 2**8)
    assert comparison_report.verdict(pair).startswith(f"other is better than {run.root.name}")


def test_a_run_against_its_copy_shows_no_difference(run: RunFolder, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.root, tmp_path / run.root.name))
    compared = compare_runs([run.root, copy])
    assert compared["names"][0] != compared["names"][1]
    assert comparison_report.verdict(compared["pairs"][0]).startswith("No difference")


def test_three_runs_are_corrected_for_three_pairs(run: RunFolder, other: RunFolder, tmp_path: Path) -> None:
    third = Path(shutil.copytree(run.root, tmp_path / "third"))
    pairs = compare_runs([run.root, other.root, third])["pairs"]
    assert [(pair["first"], pair["second"]) for pair in pairs][1:] == [(run.root.name, "third"), ("other", "third")]
    assert pairs[0]["scores"]["mean_iou"]["corrected"] == pytest.approx(3 * pairs[0]["scores"]["mean_iou"]["p_value"])


def test_other_images_masks_classes_and_old_scores_are_refused(run: RunFolder, other: RunFolder) -> None:
    def renamed(scores: Any) -> None:
        scores["samples"][0]["id"] = "elsewhere"

    def redrawn(scores: Any) -> None:
        scores["samples"][0]["id"] = read_json(run.scores)["samples"][0]["id"]
        scores["samples"][0]["counts"][1][1] += 1

    def uncounted(scores: Any) -> None:
        del scores["samples"][0]["counts"]

    def reclassed(scores: Any) -> None:
        scores["samples"][0]["counts"] = [[1, 1, 1], [1, 1, 1]]
        scores["per_class"] = {"background": {}, "organ": {}}

    for change, says in (
        (renamed, "same test images.*one run alone=2"),
        (redrawn, "same masks"),
        (uncounted, "evaluate .* --update"),
        (reclassed, "same classes.*organ"),
    ):
        with pytest.raises(RunError, match=says) as caught:
            compare_runs([run.root, _changed(other, change)])
        assert "\n" not in str(caught.value)
    with pytest.raises(SegnosisError, match="once"):
        compare_runs([run.root, run.root])


def test_the_command_writes_the_page_where_it_is_told(
    run: RunFolder, other: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (run.report, other.report)}
    with pytest.raises(SystemExit) as left:
        main(["report", str(run.root), str(other.root), "-o", str(tmp_path / "both.html")])
    assert not left.value.code
    out = capsys.readouterr().out
    assert "other is better than" in out and "p = 0.008" in out and out.rstrip().endswith("both.html")
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;" in text and NASTY not in text
    assert before == {path: path.read_bytes() for path in before}, "the runs stay as they are"
