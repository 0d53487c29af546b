"""No channel and no frame is lost: what is alpha, what a channel and what a frame, only the file itself tells."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

import segnosis as sg
from segnosis.core.errors import DataError
from segnosis.data.dataset import harmonise
from segnosis.data.readers.base import example_image, example_mask
from segnosis.doctor.check_data import check_data

pytestmark = pytest.mark.one_backend
GRID = np.diag([1.25, 1.5, 8.0, 1.0])


def _volumes(root: Path, last: int, *, frames: bool) -> np.ndarray:
    """Two patients with `last` frames or channels of three planes; gives the first one's pixels."""
    made = []
    for patient in range(2):
        shape = (20, 16, 3, last)
        image = np.random.default_rng(patient).normal(100, 20, shape).astype(np.float32)
        mask = np.stack([example_mask(patient * 9 + k, 3, (20, 16)) for k in range(3 * last)], axis=-1).reshape(shape)
        nib.save(nib.Nifti1Image(image, GRID), root / f"case{patient}.nii.gz")
        nib.save(nib.Nifti1Image(mask if frames else mask[..., 0], GRID), root / f"case{patient}_gt.nii.gz")
        made.append(image)
    return made[0]


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
def test_every_channel_of_a_volume_is_kept(channels: int, tmp_path: Path) -> None:
    image = _volumes(tmp_path, channels, frames=False)
    data = sg.data.open(tmp_path)
    for _ in ("by the headers", "by the pass of the checks"):
        assert data.spec.channels == channels
        assert len(data) == 2 * 3
        assert np.array_equal(data[1].image, image[:, :, 1].transpose(1, 0, 2))
        check_data(data)


@pytest.mark.parametrize("frames", [2, 3, 4, 5])
def test_every_frame_of_a_volume_is_a_sample(frames: int, tmp_path: Path) -> None:
    image = _volumes(tmp_path, frames, frames=True)
    data = sg.data.open(tmp_path)
    check_data(data)
    assert data.spec.channels == 1
    assert len(data) == 2 * 3 * frames
    for number in range(frames):
        assert np.array_equal(data[3 * number + 2].image[..., 0], image[:, :, 2, number].T)


@pytest.mark.parametrize("channels", [2, 4])
def test_every_channel_of_an_hdf5_file_is_kept(channels: int, tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((3, 16, 20, channels)).astype(np.float32)
    for patient in range(2):
        with h5py.File(tmp_path / f"patient{patient}.h5", "w") as file:
            file["image"] = image
            file["label"] = np.stack([example_mask(k, 3, (16, 20)) for k in range(3)])
    data = sg.data.open(tmp_path)
    check_data(data)
    assert data.spec.channels == channels
    assert np.array_equal(data[2].image, image[2])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("extra", ["channel", "alpha"])
def test_the_fourth_band_of_a_tiff_is_alpha_where_the_file_says_so(extra: str, dtype: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 250, (24, 32, 4)).astype(dtype) * (250 if dtype == "uint16" else 1)
    kind = "UNSPECIFIED" if extra == "channel" else "UNASSALPHA"
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        tifffile.imwrite(tmp_path / "images" / f"{i}.tif", image, photometric="rgb", extrasamples=[kind])
        Image.fromarray(example_mask(i)).save(tmp_path / "masks" / f"{i}.png")
    data = sg.data.open(tmp_path)
    check_data(data)
    kept = 4 if extra == "channel" else 3
    assert data.spec.channels == kept
    assert np.array_equal(data[0].image, image[..., :kept]), "not cut to 8 bit either"
    (alone,) = sg.data.open_images(tmp_path / "images" / "0.tif")
    assert np.array_equal(alone.image, image[..., :kept])


@pytest.mark.parametrize("colours", [1, 3])
def test_alpha_of_a_picture_is_left_out(colours: int, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    pixels = [example_image(i, (24, 32, colours + 1)) for i in range(3)]
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray(example_mask(i)).save(tmp_path / "masks" / f"{i}.png")
    data = sg.data.open(tmp_path)
    check_data(data)
    assert data.spec.channels == colours
    assert np.array_equal(data[1].image, pixels[1][..., :-1])


def test_grey_becomes_colour_and_nothing_else() -> None:
    grey = np.ones((4, 5), np.float32)
    assert harmonise(grey, 3, "float32", Path("a")).shape == (4, 5, 3)
    for channels in (2, 4):
        with pytest.raises(DataError, match=f"channels=1, channels of the others={channels}"):
            harmonise(grey, channels, "float32", Path("a"))
