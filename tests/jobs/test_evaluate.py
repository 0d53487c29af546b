"""`segnosis evaluate` on other data: classes by name, as told, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segnosis.cli.main import main
from segnosis.core.errors import DataError
from segnosis.jobs.evaluate import evaluate
from segnosis.training.listener import Listener

pytestmark = pytest.mark.one_backend


def _evaluate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["evaluate", *words])
    out, err = capsys.readouterr()
    code = left.value.code
    return (code if isinstance(code, int) else 0), out, err


@pytest.fixture(scope="module")
def own(untrained: Any, small_hearts: Path) -> dict[str, Any]:
    return evaluate(untrained, small_hearts)


def test_intervals_are_drawn_over_patients(own: dict[str, Any]) -> None:
    assert own["resampled"] == "patient" and own["images"] == 12
    assert own["intervals"]["groups"] == 4 == len({row["group"] for row in own["samples"]})


def test_exchanged_and_ignored_classes_are_counted_as_told(
    untrained: Any, small_hearts: Path, own: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ("right ventricle=left ventricle", "left ventricle=right ventricle", "ignore=2")
    file = tmp_path / "scores.json"
    options = [word for pair in told for word in ("--map", pair)]
    code, out, err = _evaluate(capsys, str(untrained.out), str(small_hearts), *options, "--json", str(file))
    assert code == 0, err
    assert "right ventricle is left ventricle" in err and "myocardium is ignored" in err
    scores = json.loads(file.read_text(encoding="utf-8"))
    truth = [sum(row) for row in own["confusion"]]
    assert [sum(row) for row in scores["confusion"]] == [truth[0], truth[3], 0, truth[1]]
    assert out.startswith("12 images") and "objects of" in out and "calibration error" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--map", "tumour"), "equals sign"),
        (("--map", "tumour=1"), "class of the run"),
        (("--map", "myocardium=9"), "value its masks store|value its masks"),
        (("--update",), "held-out samples"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_error(
    untrained: Any, small_hearts: Path, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = _evaluate(capsys, str(untrained.out), str(small_hearts), *words)
    assert code == 2
    (error,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert any(word in error for word in says.split("|")), error


def test_samples_that_were_trained_on_are_told(
    untrained: Any, small_hearts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _evaluate(capsys, str(untrained.out), str(small_hearts))
    held_out = len(untrained.scores["split"]["test"])
    assert code == 0 and f"{12 - held_out} of these 12 samples chose the weights" in err
    assert out.startswith("12 images, whole")
    code, out, err = _evaluate(capsys, str(untrained.out))
    assert code == 0 and "flatter" not in err
    assert out.startswith(f"{held_out} held-out images, whole")


def test_data_of_which_nothing_can_be_scored_is_an_error(untrained: Any, tmp_path: Path) -> None:
    drawn = np.repeat(np.arange(4, dtype=np.uint8), 10)[None].repeat(40, axis=0)
    for kind, size in (("images", (40, 40)), ("masks", (30, 40))):
        (tmp_path / kind).mkdir()
        for name in ("a", "b"):
            Image.fromarray(drawn[: size[0]]).save(tmp_path / kind / f"{name}.png")
    with pytest.raises(DataError, match=r"size of its image.*a\.png"):
        evaluate(untrained, tmp_path)
    Image.fromarray(drawn).save(tmp_path / "masks" / "b.png")
    said: list[str] = []
    hearing = Listener()
    hearing.say = said.append  # type: ignore[method-assign]
    assert evaluate(untrained, tmp_path, listener=hearing)["images"] == 1
    assert any("1 of 2 samples cannot be read and do not count: a" in line for line in said), said


def test_images_of_other_channels_are_read_as_predict_reads_them(
    untrained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = np.zeros((40, 40), np.uint8)
    drawn[8:20, 8:20], drawn[22:30, 22:30], drawn[30:36, 6:12] = 1, 2, 3
    for kind, picture in (("images", 50 * drawn), ("masks", drawn)):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for name in ("a", "b"):
            Image.fromarray(picture).save(tmp_path / "data" / kind / f"{name}.png")
    assert evaluate(untrained, tmp_path / "data")["images"] == 2  # 8-bit pictures for a model of float32 volumes
    for name in ("a", "b"):
        Image.fromarray(np.stack([50 * drawn] * 3, axis=-1)).save(tmp_path / "data" / "images" / f"{name}.png")
    code, _, err = _evaluate(capsys, str(untrained.out), str(tmp_path / "data"))
    assert code == 2 and "same channels" in err and "Traceback" not in err
