"""Real folders have no fault; one that is planted in a copy is found, in the right file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segnosis as sg
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.check import find
from segnosis.doctor.check_data import check_data
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import examine
from segnosis.doctor.verdict import Crashed, Finding, Healthy

FOLDERS = ("nuclei", "voc2012", "cardiac_nifti", "cardiac_hdf5", "em_membrane")


def told(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return [(finding.code, finding.says) for finding in diagnosis.findings if finding.severity != "note"]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_real_folder_is_left_alone(shared_data: Path, name: str) -> None:
    dataset = sg.data.open(shared_data / name)
    parts = sg.data.split(dataset, seed=0)
    splits = {split: part.ids for split, part in zip(("train", "val", "test"), parts, strict=True)}
    diagnosis = check_data(dataset, splits=splits)
    assert not told(diagnosis)
    assert not [verdict for verdict in diagnosis.not_judged if isinstance(verdict, Crashed)]


@pytest.fixture
def membranes(shared_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_data / "em_membrane", tmp_path / "em"))


def test_two_swapped_masks(membranes: Path) -> None:
    one, two = membranes / "label" / "3.png", membranes / "label" / "12.png"
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    cause = check_data(sg.data.open(membranes)).cause
    assert cause is not None and cause.code == "DAT001"
    assert sorted(Path(place).name for place in cause.where) == ["12.png", "3.png"]


def test_a_mask_saved_as_jpeg(membranes: Path) -> None:
    mask = membranes / "label" / "7.png"
    Image.open(mask).save(mask.with_suffix(".jpg"))
    mask.unlink()
    cause = check_data(sg.data.open(membranes)).cause
    assert cause is not None and cause.code == "LAB005" and cause.where[0].endswith("7.jpg")


def test_a_truncated_image_and_a_turned_mask_are_both_told(membranes: Path) -> None:
    image = membranes / "image" / "5.png"
    image.write_bytes(image.read_bytes()[:20_000])
    mask = membranes / "label" / "9.png"
    Image.fromarray(np.asarray(Image.open(mask)).T.copy()).save(mask)
    diagnosis = check_data(sg.data.open(membranes))
    found = {finding.code: finding.where for finding in diagnosis.findings if finding.certain}
    assert set(found) == {"DAT002", "DAT004"}
    assert found["DAT002"][0].endswith("9.png") and "5.png" in found["DAT004"][0]


@pytest.mark.parametrize("by_patient", [False, True])
def test_one_heart_in_two_phases_on_both_sides_is_known_by_its_pixels(shared_data: Path, by_patient: bool) -> None:
    slices = list(sg.data.open(shared_data / "cardiac_hdf5"))
    last = sorted({one.group for one in slices})[-2:]
    chosen = set(np.random.default_rng(0).permutation(len(slices))[: len(slices) // 5].tolist())
    held = [one.group in last if by_patient else number in chosen for number, one in enumerate(slices)]
    sides = [
        [Batch(one.image[None], one.mask[None]) for one, out in zip(slices, held, strict=True) if out is side]
        for side in (False, True)
    ]
    (verdict,) = examine(Case(batches=sides[0], validation_batches=sides[1]), checks=[find("DAT005")]).verdicts
    assert isinstance(verdict, Healthy if by_patient else Finding)
    assert by_patient or verdict.measured["related"] > 0.6 * len(sides[1])
