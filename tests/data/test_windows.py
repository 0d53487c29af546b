"""A TIFF read by windows is the TIFF read whole, and a mask written by bands is the mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from segnosis.core.errors import DataError
from segnosis.data.windows import TiffWindows, write_tiff

LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (32, 48)},
    "compressed tiles": {"tile": (64, 32), "compression": "zlib"},
    "strips": {"rowsperstrip": 13},
    "one strip": {},
    "BigTIFF": {"tile": (16, 16), "bigtiff": True},
    "other byte order": {"tile": (32, 32), "byteorder": ">"},
}


@pytest.mark.parametrize("shape", [(100, 130), (97, 131, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_window_is_that_of_the_whole(layout: str, dtype: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = (np.random.default_rng(0).random(shape) * 250).astype(dtype)
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, **LAYOUTS[layout])
    with TiffWindows(tmp_path / "a.tif") as image:
        assert (image.size, image.channels) == (shape[:2], shape[2] if len(shape) == 3 else 1)
        for top, left, height, width in ((0, 0, *shape[:2]), (31, 47, 2, 2), (90, 100, 7, 30), (13, 0, 64, 131 - 1)):
            expected = pixels[top : top + height, left : left + width].reshape(height, width, -1)
            assert np.array_equal(image.read(top, left, height, width), expected)


def test_a_file_cut_off_is_one_clear_error(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64))
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-9000])
    with TiffWindows(tmp_path / "a.tif") as image, pytest.raises(DataError, match="bytes too early"):
        image.read(0, 0, 200, 200)
    (tmp_path / "b.tif").write_bytes(b"no picture at all")
    with pytest.raises(DataError, match=r"b\.tif"):
        TiffWindows(tmp_path / "b.tif")


@pytest.mark.parametrize("size", [(5, 7), (512, 512), (513, 1030), (700, 100)])
@pytest.mark.parametrize("rows", [1, 100, 512, 600])
def test_bands_of_any_height_make_the_mask(size: tuple[int, int], rows: int, tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, size, dtype=np.uint8)
    bands = (mask[top : top + rows] for top in range(0, size[0], rows))
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    write_tiff(tmp_path / "mask.tif", bands, size, colours)
    with tifffile.TiffFile(tmp_path / "mask.tif") as file:
        assert np.array_equal(file.asarray(), mask)
        assert file.pages[0].is_tiled
        assert (file.pages[0].colormap[:, :3].T // 257).tolist() == colours.tolist()
