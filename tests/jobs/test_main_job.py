"""The main job from files to report, on hearts small enough for a test."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segnosis as sg
from segnosis.cli.main import main
from segnosis.core.errors import DataError, RunError
from segnosis.data import phantom
from segnosis.doctor import diagnose
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.training.plan import Plan

NASTY = "a \"b\" <script>alert(1)</script> 'ü' 🫀"


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write(tmp_path_factory.mktemp("hearts"), subjects=8, size=48, slices=4)


@pytest.fixture(scope="module")
def run(hearts: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    plan = Plan(
        data=str(hearts), model_arguments={"width": 4, "depth": 2}, preprocessing="standardize", size=(48, 48),
        batch_size=8, epochs=2, steps_per_epoch=6, learning_rate=5e-3,
    )  # fmt: skip
    return sg.train(plan, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def no_second_examination(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor has looked at `run`; of the next one it says nothing."""
    monkeypatch.setattr(diagnose, "diagnose", lambda *args, **settings: Diagnosis(()))


def test_the_run_folder_holds_what_is_promised(run: Any) -> None:
    for name in (
        "plan.yaml", "fingerprint.json", "history.jsonl", "pictures/epoch-0001.png", "model.keras", "checkpoint",
        "scores.json", "diagnosis.json", "report.html", "environment.json",
    ):  # fmt: skip
        assert (run.out / name).exists(), name
    for key in ("mean_iou", "mean_dice", "foreground_iou", "foreground_dice"):
        assert 0.0 <= run.scores[key] <= 1.0
    assert set(run.scores["per_class"]) == set(phantom.CLASS_NAMES)


def test_held_out_groups_were_never_trained_on(run: Any) -> None:
    groups = {name: {sample.split(":")[0][:11] for sample in ids} for name, ids in run.scores["split"].items()}
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]


def test_the_model_opens_with_plain_keras_and_takes_raw_pixels(run: Any) -> None:
    import subprocess
    import sys

    code = (
        "import sys, keras, numpy as np\n"
        f"model = keras.models.load_model({str(run.out / 'model.keras')!r}, compile=False)\n"
        "out = model.predict(np.random.rand(1, 37, 50, 1).astype('float32') * 1000, verbose=0)\n"
        "assert out.shape == (1, 37, 50, 4) and out.dtype == np.float32, out.shape\n"
        "assert 'segnosis' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_scores_are_those_of_the_saved_model(run: Any, hearts: Path) -> None:
    from segnosis.jobs.evaluate import predictor
    from segnosis.training.evaluate import evaluate

    dataset = sg.data.open(hearts)
    held_out = dataset.subset([dataset.ids.index(name) for name in run.scores["split"]["test"]])
    again = evaluate(predictor(run), held_out)
    assert again["confusion"] == run.scores["confusion"]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]


def test_the_report_needs_no_network_and_runs_no_script(run: Any) -> None:
    page = _Page()
    page.feed(run.report.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert all(
        address.startswith(("data:image/png;base64,", "data:image/webp;base64,", "#")) for address in page.addresses
    )
    assert run.report.stat().st_size < 5_000_000


def test_every_picture_has_words_and_every_table_headers(run: Any) -> None:
    html = run.report.read_text(encoding="utf-8")
    assert html.count("<img ") == html.count('alt="')
    assert html.count("<svg ") == html.count('<svg role="img" aria-label="') + html.count('aria-hidden="true"')


def test_report_again_is_the_same_report(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = run.report.read_text(encoding="utf-8")
    main_exit(["report", str(run.out)])
    assert run.report.read_text(encoding="utf-8") == before


def test_scoring_anew_gives_the_same_scores_and_leaves_the_rest(run: Any, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.out, copy)
    before = json.loads((copy / "scores.json").read_text(encoding="utf-8"))
    (copy / "scores.json").write_text(json.dumps({**before, "confusion": [], "samples": []}), encoding="utf-8")
    main_exit(["evaluate", str(copy), "--update"])
    after = json.loads((copy / "scores.json").read_text(encoding="utf-8"))
    assert after["confusion"] == before["confusion"] and after.keys() == before.keys()
    assert [row["id"] for row in after["samples"]] == [row["id"] for row in before["samples"]]
    assert after["split"] == before["split"] and after["best_epoch"] == before["best_epoch"]
    for name in ("objects", "boundaries", "calibration", "doubts", "shown", "features", "sheet"):
        assert after[name], name
    listed = {row["id"] for row in after["doubts"]["listed"]}
    assert not listed & set(before["split"]["train"]), "a model agrees with what it learnt by heart"


def test_a_finished_run_is_never_overwritten(run: Any, hearts: Path) -> None:
    with pytest.raises(RunError, match="never overwritten"):
        sg.train(str(hearts), out=run.out)
    with pytest.raises(RunError, match="finished"):
        sg.train("", out=run.out, resume=True)


def test_volumes_are_predicted_as_volumes_with_their_affine(run: Any, hearts: Path, tmp_path: Path) -> None:
    import nibabel as nib

    from segnosis.jobs.predict import predict

    alone = tmp_path / "in"
    alone.mkdir()
    shutil.copy(hearts / "subject-001.nii.gz", alone)
    (written,) = predict(run, alone, tmp_path / "out")
    source, mask = nib.load(alone / "subject-001.nii.gz"), nib.load(written)
    assert mask.shape == source.shape
    assert np.array_equal(mask.affine, source.affine)
    assert mask.header.get_zooms() == source.header.get_zooms()
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1, 2, 3}
    assert np.issubdtype(mask.get_data_dtype(), np.integer)


def test_masks_beside_the_images_are_not_taken_for_images(run: Any, hearts: Path, tmp_path: Path) -> None:
    from segnosis.jobs.predict import predict

    written = predict(run, hearts, tmp_path / "out")
    assert sorted(path.name for path in written) == [f"subject-{n:03d}.nii.gz" for n in range(1, 9)]


@pytest.mark.usefixtures("no_second_examination")
def test_a_killed_run_resumes_to_a_finished_one(hearts: Path, run: Any, tmp_path: Path) -> None:
    from segnosis.training.listener import Listener

    class Stop(Listener):
        def epoch(self, line: Any, epochs: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(RunError, match="--resume"):
        sg.train(run.plan, out=tmp_path / "run", listener=Stop())
    assert not (tmp_path / "run" / "scores.json").exists()
    resumed = sg.train("", out=tmp_path / "run", resume=True)
    assert resumed.scores["confusion"] == run.scores["confusion"]


@pytest.mark.usefixtures("no_second_examination")
def test_names_from_files_are_harmless(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(8):
        mask = np.zeros((40, 40), np.uint8)
        top, left = rng.integers(2, 24, 2)
        mask[top : top + 12, left : left + 12] = 255
        image = (rng.normal(60, 10, (40, 40)) + mask / 3).clip(0, 255).astype(np.uint8)
        name = f"{NASTY.replace('/', '∕')} {number}.png"
        Image.fromarray(image).save(tmp_path / "data" / "images" / name)
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / name)
    plan = Plan(
        data=str(tmp_path / "data"), model_arguments={"width": 4, "depth": 1}, size=(32, 32), batch_size=4, epochs=1
    )
    made = sg.train(plan, out=tmp_path / "run")
    html = made.report.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_training_stops_before_the_first_step_on_a_proven_error(hearts: Path, tmp_path: Path) -> None:
    from segnosis.core.errors import SegnosisError

    broken = tmp_path / "data"
    shutil.copytree(hearts, broken)
    file = broken / "subject-003.nii.gz"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(SegnosisError, match=r"DAT004.*subject-003.*--anyway") as caught:
        sg.train(str(broken), out=tmp_path / "run", epochs=1)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_diagnosis_of_a_run_is_in_its_folder(run: Any) -> None:
    stored = json.loads((run.out / "diagnosis.json").read_text(encoding="utf-8"))
    assert stored["healthy"] == run.diagnosis.healthy
    assert run.diagnosis.healthy, run.diagnosis


def main_exit(words: list[str]) -> int:
    try:
        main(words)
    except SystemExit as left:
        return int(left.code or 0)
    return 0


@pytest.mark.parametrize("epochs", [0, 2])
def test_data_that_breaks_in_mid_training_leaves_a_run_to_go_on_with(
    epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    from segnosis.training.listener import Listener

    def breaking(source: Any, given: Any, folder: Any, *rest: Any) -> None:
        folder.history.write_text('{"epoch": 1}\n' * epochs)
        raise DataError("Every file must be there.", file="a.png", received={"problem": "missing"}, cure="Put it back.")

    class Hearing(Listener):
        def say(self, text: str) -> None:
            said.append(text)

    said: list[str] = []
    monkeypatch.setattr(importlib.import_module("segnosis.jobs.train"), "_train", breaking)
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match=r"a\.png"):
        sg.train("hearts", out=tmp_path / "run", listener=Hearing())
    assert ["2 finished epochs are kept" in text and "--resume" in text for text in said] == [True] * bool(epochs)
