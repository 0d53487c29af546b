"""A written model says what the trained one says, or is not there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import segnosis as sg
from segnosis.core.errors import ArgumentError, DataError, MissingPackageError, RunError
from segnosis.jobs import export as job
from segnosis.training import build
from segnosis.training.export import format_named, onnx
from segnosis.training.plan import Plan

pytestmark = pytest.mark.one_backend
EXAMPLE = Path(__file__).parents[2] / "docs" / "predict-and-export.md"


@pytest.fixture
def run(untrained: Any, tmp_path: Path) -> Any:
    """A run of its own for each test, to see what is left in it."""
    return type(untrained)(Path(shutil.copytree(untrained.out, tmp_path / "run")))


@pytest.fixture(scope="session")
def written(untrained: Any, tmp_path_factory: pytest.TempPathFactory) -> job.Export:
    return sg.export(untrained, out=tmp_path_factory.mktemp("written") / "hearts.onnx")


def test_onnx_takes_raw_pixels_of_any_number_and_size(untrained: Any, written: job.Export) -> None:
    model = untrained.model()
    call = onnx.load(written.path)
    for shape in ((1, 32, 32, 1), (3, 40, 24, 1), (2, 37, 51, 1)):
        image = np.random.default_rng(0).uniform(0, 900, shape).astype(np.float32)
        expected = model.predict_on_batch(image)
        np.testing.assert_allclose(call(image), expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_large_dark_picture_is_standardized_to_the_last_digits(to: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime" if to == "onnx" else to)
    form = format_named(to)
    model = sg.models.unet((None, None, 3), 2, width=2, depth=1, preprocessing="standardize")
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.GroupNormalization))
    file = tmp_path / f"first{form.SUFFIX}"
    form.write(keras.Model(model.input, first.output), file, {})
    # Most pixels alike, as in fluorescence: summed one after the other in float32, the variance drifts by 0.2 %.
    image = np.full((1, 256, 256, 3), 3.0, np.float32)
    image[:, 60:90, 60:90] = 60.0
    exact = image.astype(np.float64)
    exact = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-6)
    found = form.load(file)(image)
    np.testing.assert_allclose(found, exact, atol=1e-4 * np.abs(exact).max())


def test_the_file_says_what_its_user_must_know(written: job.Export) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(written.path), providers=["CPUExecutionProvider"])
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("image", ["batch", "height", "width", 1])
    assert (logits.name, logits.shape) == ("logits", ["batch", "height", "width", 4])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["window"]) == [32, 32]
    assert len(json.loads(facts["class_names"])) == 4
    compared = json.loads(written.path.with_name("hearts.onnx.json").read_text(encoding="utf-8"))
    assert compared["images"] == written.compared.images > 0
    assert abs(compared["mean_iou_before"] - compared["mean_iou_after"]) <= 5e-4


@pytest.mark.parametrize(("to", "files"), [("openvino", {"model.xml", "model.bin"}), ("saved_model", {"saved_model"})])
def test_other_formats_say_the_same(to: str, files: set[str], run: Any) -> None:
    pytest.importorskip({"openvino": "openvino", "saved_model": "tensorflow"}[to])
    before = {file.name for file in run.out.iterdir()}
    made = sg.export(run, to)
    assert made.compared.agrees
    assert {file.name for file in run.out.iterdir()} - before == {*files, f"{made.path.name}.json"}


def test_int8_is_kept_only_where_it_holds_the_score(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "INT8_DROP", 2.0)
    made = sg.export(run, int8=True)
    assert made.int8 is not None
    assert made.int8.path.exists()
    made.int8.path.unlink()
    monkeypatch.setattr(job, "INT8_DROP", -2.0)
    made = sg.export(run, int8=True)
    assert made.int8 is None and "not kept" in made.note
    assert not list(run.out.glob("*int8.onnx"))


def test_a_file_that_says_something_else_is_removed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = onnx.load
    monkeypatch.setattr(onnx, "load", lambda path: lambda images: right(path)(images) * np.float32(1.01))
    before = sorted(file.name for file in run.out.iterdir())
    with pytest.raises(RunError, match="was removed"):
        sg.export(run)
    assert sorted(file.name for file in run.out.iterdir()) == before


def test_a_folder_that_no_export_wrote_is_left_alone(run: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="older export only"):
        sg.export(run, "saved_model", out=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_what_cannot_be_asked_for_is_told(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="Did you mean `onnx`"):
        sg.export(run, "onxx")
    with pytest.raises(ArgumentError, match="int8 is written as ONNX"):
        sg.export(run, "saved_model", int8=True)
    with pytest.raises(ArgumentError, match="onnx"):
        sg.export(run, out=tmp_path / "model.h5")
    with pytest.raises(DataError, match="--data DATA"):
        sg.export(run, data=tmp_path / "elsewhere")
    monkeypatch.setattr(onnx, "PACKAGES", ("a_package_nobody_has",))
    with pytest.raises(MissingPackageError, match=r'pip install "segnosis\[onnx\]"'):
        sg.export(run)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_the_example_in_the_documents_needs_no_keras(
    mode: str, written: job.Export, untrained: Any, tmp_path: Path
) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (45, 60), dtype=np.uint8)
    (tmp_path / "path/to").mkdir(parents=True)
    (tmp_path / "runs/first").mkdir(parents=True)
    model, file = untrained.model(), tmp_path / "runs/first/model.onnx"
    if mode == "L":
        shutil.copy(written.path, file)
        shown = pixels[..., None]
    else:
        model = build.model(Plan(data="", model_arguments={"width": 2, "depth": 2}), channels=3, num_classes=3)
        onnx.write(model, file, {"window": "[32, 32]", "fit": "crop", "class_names": '["a", "b", "c"]'})
        shown = np.stack([pixels, 255 - pixels, pixels // 2], axis=-1)
    picture = Image.fromarray(shown.squeeze()).convert(mode)
    if mode == "RGBA":
        picture.putalpha(7)
    shown = np.asarray(picture.convert("RGB")) if mode == "P" else shown
    picture.save(tmp_path / "path/to/image.png")
    text = EXAMPLE.read_text(encoding="utf-8")
    (program,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "onnxruntime" in block]
    assert len(program.splitlines()) <= 20
    program += "\nimport sys\nassert not {'keras', 'segnosis', 'tensorflow'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env={**os.environ})
    with Image.open(tmp_path / "mask.png") as mask:
        found = np.asarray(mask)
    expected = model.predict_on_batch(shown[None].astype(np.float32))[0].argmax(-1)
    assert np.mean(found == expected) > 0.999
