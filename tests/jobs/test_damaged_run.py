"""A run folder of which a file is missing, empty or something else: one clear error that names it, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from segnosis.cli.main import main
from segnosis.doctor.diagnosis import Diagnosis

pytestmark = pytest.mark.one_backend
READ = {
    "predict": ("plan.yaml", "scores.json", "fingerprint.json", "model.keras"),
    "evaluate": ("plan.yaml", "scores.json", "fingerprint.json", "model.keras"),
    "export": ("plan.yaml", "scores.json", "model.keras"),
}


ODD = {
    "fingerprint.json": ("predict", b'{"spec": {}}'),
    "folds.json": ("predict", b"{}"),
    "history.jsonl": ("diagnose", b"[1]"),
    "postprocessing.json": ("predict", b'{"": {"heart": "x"}}'),
}


@pytest.mark.parametrize("file", ODD)
def test_a_file_of_another_shape_is_one_clear_error(
    file: str, untrained: Any, small_hearts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(untrained.out, tmp_path / "run"))
    command, content = ODD[file]
    (run / file).write_bytes(content)
    words = [command, str(run)]
    if command == "predict":
        words += [str(small_hearts), "-o", str(tmp_path / "out"), "--postprocess"]
    with pytest.raises(SystemExit) as left:
        main(words)
    err = capsys.readouterr().err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert left.value.code == 2 and len(errors) == 1 and "Traceback" not in err, err
    assert str(run / file) in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_broken_plan_is_told_of_a_run_that_has_its_diagnosis(
    untrained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(untrained.out, tmp_path / "run"))
    Diagnosis(()).save(run / "diagnosis.json")
    (run / "plan.yaml").write_bytes(b"[1")
    with pytest.raises(SystemExit) as left:
        main(["diagnose", str(run)])
    err = capsys.readouterr().err
    assert left.value.code == 2 and err.startswith("error: ") and err.count("error: ") == 1, err
    assert str(run / "plan.yaml") in err and "Traceback" not in err


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1", b"[]"], ids=str)
@pytest.mark.parametrize(("command", "file"), [(command, file) for command, files in READ.items() for file in files])
def test_a_damaged_run_is_one_clear_error(
    command: str,
    file: str,
    content: bytes | None,
    untrained: Any,
    small_hearts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Path(shutil.copytree(untrained.out, tmp_path / "run"))
    (run / file).unlink()
    if content is not None:
        (run / file).write_bytes(content)
    out = str(tmp_path / "out")
    words = {
        "predict": ["predict", str(run), str(small_hearts), "-o", out],
        "evaluate": ["evaluate", str(run), str(small_hearts)],
        "export": ["export", str(run), "--out", f"{out}/model.onnx"],
    }[command]
    with pytest.raises(SystemExit) as left:
        main(words)
    err = capsys.readouterr().err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert left.value.code == 2 and len(errors) == 1 and "Traceback" not in err, err
    assert str(run) in errors[0]
    assert not list((tmp_path / "out").glob("*"))
