"""Images whose background is NaN: told before training, and read as a number where the user says so."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import segnosis as sg
from segnosis.core.errors import ArgumentError, DataError
from segnosis.data import phantom
from segnosis.jobs.plan import plan
from segnosis.training.plan import Plan

pytestmark = [pytest.mark.one_backend, pytest.mark.usefixtures("no_examination")]


@pytest.fixture(scope="module")
def holes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = phantom.write(tmp_path_factory.mktemp("nan") / "hearts", subjects=4, size=32, slices=2)
    for file in folder.glob("*[0-9].nii.gz"):
        volume = nib.load(file)
        pixels = np.asarray(volume.dataobj, np.float32)
        pixels[:3] = np.nan
        nib.save(nib.Nifti1Image(pixels, volume.affine), file)
    return folder


def test_training_names_the_cause_and_the_option(holes: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"DAT004.*NaN or infinity.*--nan 0"):
        sg.train(holes, out=tmp_path / "out", epochs=1)
    for refused in (lambda: sg.train(holes, out=tmp_path / "out", epochs=1, anyway=True), lambda: plan(holes)):
        with pytest.raises(DataError, match=r"At least one image must be usable.*samples=8.*--nan 0.*segnosis check"):
            refused()
    assert not (tmp_path / "out").exists()


def test_a_plan_keeps_what_they_are_read_as(holes: Path) -> None:
    made = plan(holes, nan=0)
    assert (made.nan, made.reasons["nan"]) == (0.0, "you asked for it")
    from segnosis.jobs.run import data_of

    assert data_of(made)[0].image[:, :3].max() == 0 or data_of(made)[0].image[:3].max() == 0
    assert Plan(data="elsewhere").nan is None


def test_a_run_trains_and_is_scored_on_them(holes: Path, tmp_path: Path) -> None:
    small = Plan(
        data=str(holes), model_arguments={"width": 4, "depth": 1}, preprocessing="standardize", size=(32, 32),
        batch_size=2, epochs=1, steps_per_epoch=1, class_names=phantom.CLASS_NAMES,
    )  # fmt: skip
    run = sg.train(small, out=tmp_path / "run", nan=0)
    assert run.plan.nan == 0
    assert run.scores["unreadable"] == []
    assert all(np.isfinite(line["loss"]) for line in run.folder.epochs())
    (mask,) = sg.predict(run, holes / "subject-001.nii.gz", tmp_path / "masks")
    assert nib.load(mask).shape == nib.load(holes / "subject-001.nii.gz").shape
    pytest.importorskip("onnxruntime")
    assert sg.export(run).compared.agrees
