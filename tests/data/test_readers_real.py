"""The five real folders: each opens with nothing but its path, and none of its traps is walked into."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

import segnosis as sg
from segnosis.data.census import Census
from segnosis.data.readers.voc import CLASS_NAMES

# folder: (reader, samples, groups, classes, channels, dtype, ignored value)
REAL = {
    "nuclei": ("instance_folders", 162, 162, 2, 3, "uint8", None),
    "voc2012": ("voc", 150, 150, 21, 3, "uint8", 255),
    "cardiac_nifti": ("nifti", 42, 2, 4, 1, "float32", None),
    "cardiac_hdf5": ("hdf5", 162, 8, 4, 1, "float32", None),
    "em_membrane": ("image_folders", 20, 20, 2, 1, "uint8", None),
}


@pytest.mark.parametrize("name", REAL)
def test_opens_with_its_path_alone(name: str, shared_data: Path) -> None:
    reader, samples, groups, classes, channels, dtype, ignored = REAL[name]
    data = sg.data.open(shared_data / name)
    if name == "nuclei":  # thousands of files: the census of a part is enough here
        census = Census()
        for i in range(0, samples, 9):
            census.add(data.pair(i))
        data.adopt(census)
    spec = data.spec
    found = (
        spec.reader,
        len(data),
        len(set(data.groups)),
        spec.num_classes,
        spec.channels,
        spec.dtype,
        spec.ignore_class,
    )
    assert found == (reader, samples, groups, classes, channels, dtype, ignored)
    for i in range(0, samples, 17):
        sample = data[i]
        assert sample.mask is not None
        assert sample.image.shape == (*sample.mask.shape, channels)
        assert set(np.unique(sample.mask)) <= {*range(classes), 255 if ignored else 0}


def test_nuclei_are_united_over_their_masks(shared_data: Path) -> None:
    data = sg.data.open(shared_data / "nuclei")
    pair = data.pair(3)
    assert pair.mask is not None and pair.mask_file is not None and pair.image is not None
    union = np.zeros(pair.mask.shape, bool)
    for file in pair.mask_file.iterdir():
        union |= np.asarray(Image.open(file)) > 0
    assert np.array_equal(pair.mask > 0, union)
    assert pair.image.shape[2] == 3, "their alpha is no channel"


def test_voc_keeps_palette_indices_names_and_lists(shared_data: Path) -> None:
    data = sg.data.open(shared_data / "voc2012")
    assert data.spec.class_names == CLASS_NAMES
    assert {name: len(ids) for name, ids in data.splits.items()} == {"train": 110, "val": 40}
    sample, pair = data[0], data.pair(0)
    assert pair.mask is not None and pair.mask_file is not None
    assert np.array_equal(sample.mask, np.asarray(Image.open(pair.mask_file)))
    assert (pair.mask == 255).any()


def test_nifti_planes_keep_grid_and_patient_and_go_back(shared_data: Path, tmp_path: Path) -> None:
    data = sg.data.open(shared_data / "cardiac_nifti")
    stored = nibabel.load(shared_data / "cardiac_nifti" / "better_H1N8S6_sa_ED.nii.gz")
    truth = nibabel.load(shared_data / "cardiac_nifti" / "better_H1N8S6_sa_ED_gt.nii.gz")
    first = data.ids.index("better_H1N8S6_sa_ED_plane000")
    place = data.volume_of(first)
    assert place is not None
    assert np.allclose(place.affine, stored.affine)
    assert data[first + 4].spacing == pytest.approx((4 / 3, 4 / 3), rel=1e-5)
    assert np.allclose(data[first + 4].image[..., 0].T, stored.get_fdata()[:, :, 4])
    masks = [data[first + k].mask for k in range(place.planes)]
    written = data.write_volume(tmp_path / "predicted.nii.gz", masks, place.file)  # type: ignore[arg-type]
    back = nibabel.load(written)
    assert np.array_equal(back.get_fdata(), truth.get_fdata())
    assert np.allclose(back.affine, stored.affine)
    assert back.header.get_zooms() == stored.header.get_zooms()


def test_scribbles_are_not_used_but_told(shared_data: Path) -> None:
    data = sg.data.open(shared_data / "cardiac_hdf5", class_names=["background", "RV", "MYO", "LV"])
    assert data.spec.class_names == ("background", "RV", "MYO", "LV")
    assert "`scribble` is not used" in data.spec.saw
    empty = sum(not sample.mask.any() for sample in data if sample.mask is not None)
    assert 0 < empty < 20


@pytest.mark.parametrize("name", ["voc2012", "cardiac_nifti", "cardiac_hdf5", "em_membrane"])
def test_splits_never_cross_a_group(name: str, shared_data: Path) -> None:
    train, val, test = sg.data.split(sg.data.open(shared_data / name), seed=1)
    assert len(train) >= 14 and len(val) and len(test)
    assert not set(train.groups) & (set(val.groups) | set(test.groups))
    if name == "voc2012":
        assert len(test) == 40


def test_membrane_is_class_0(shared_data: Path) -> None:
    facts = sg.data.fingerprint(sg.data.open(shared_data / "em_membrane"))
    assert facts.spec.values == {0: 0, 255: 1}
    assert facts.classes[1].share > 0.7
