"""Masks in the size and format images came in, however many processes, however large, and after a stop."""

from __future__ import annotations

import csv
import shutil
import sys
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import segnosis as sg
from segnosis.core.errors import ArgumentError, DataError, MissingPackageError, RunError
from segnosis.core.run_folder import RunFolder, write_json
from segnosis.jobs import predict_one as one
from segnosis.jobs.spread import spread
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan

pytestmark = pytest.mark.one_backend


def _pictures(folder: Path, count: int = 3, size: tuple[int, int] = (45, 60)) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, size, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"picture{number}.png")
    return folder


def _lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "areas.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_pictures_get_palettes_and_a_table(untrained: Any, tmp_path: Path) -> None:
    images = _pictures(tmp_path / "in")
    written = sg.predict(untrained, images, tmp_path / "out", overlay=True, probabilities=True)
    assert [path.name for path in written] == [f"picture{n}.png" for n in range(3)]
    for path in written:
        with Image.open(path) as picture:
            assert picture.mode == "P"
            mask = np.asarray(picture)
        assert mask.shape == (45, 60)
        found = tifffile.imread(path.with_suffix(".probabilities.tif"))
        assert found.shape == (4, 45, 60)
        np.testing.assert_allclose(found.sum(axis=0), 1.0, atol=1e-5)
        assert np.array_equal(found.argmax(axis=0), mask)
        with Image.open(path.with_suffix(".overlay.png")) as picture:
            assert (picture.mode, picture.size) == ("RGB", (60, 45))
        told = {line["class"]: int(line["pixels"]) for line in _lines(tmp_path / "out") if line["image"] == path.stem}
        assert list(told.values()) == np.bincount(mask.ravel(), minlength=4).tolist()


def test_a_stopped_call_goes_on_and_keeps_what_is_there(untrained: Any, tmp_path: Path) -> None:
    images, out = _pictures(tmp_path / "in"), tmp_path / "out"
    written = sg.predict(untrained, images, out)
    lines, before = _lines(out), [path.stat().st_mtime_ns for path in written]
    mask = written[1].read_bytes()
    written[1].unlink()
    assert sg.predict(untrained, images, out) == written
    after = [path.stat().st_mtime_ns for path in written]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert written[1].read_bytes() == mask
    assert sorted(map(str, _lines(out))) == sorted(map(str, lines)), "a line an image and class, none twice"
    sg.predict(untrained, images, out, overwrite=True)
    assert all(path.stat().st_mtime_ns > then for path, then in zip(written, after, strict=True))
    assert not list(out.glob(".part-*"))


def test_a_volume_keeps_its_grid_and_is_measured_in_millimetres(
    untrained: Any, small_hearts: Path, tmp_path: Path
) -> None:
    import nibabel as nib

    source = nib.load(small_hearts / "subject-001.nii.gz")
    (written,) = sg.predict(untrained, small_hearts / "subject-001.nii.gz", tmp_path / "out", probabilities=True)
    mask, found = nib.load(written), nib.load(tmp_path / "out" / "subject-001.probabilities.nii.gz")
    assert mask.shape == source.shape == found.shape[:3]
    assert np.array_equal(mask.affine, source.affine) and np.array_equal(found.affine, source.affine)
    assert np.array_equal(np.asarray(found.dataobj).argmax(-1), np.asarray(mask.dataobj))
    voxel = float(np.prod(source.header.get_zooms()))
    counts = np.bincount(np.asarray(mask.dataobj).ravel(), minlength=4)
    for line, count in zip(_lines(tmp_path / "out"), counts, strict=True):
        assert line["unit"] == "mm3"
        assert float(line["size"]) == pytest.approx(count * voxel, rel=1e-4, abs=0.01)


def _above(level: float, folder: RunFolder, *, channels: int = 1, dtype: str = "float32") -> Path:
    """A run whose network calls bright where the last channel is above `level`: its masks are known beforehand."""
    import keras

    pixels = keras.Input((None, None, channels))
    head = keras.layers.Conv2D(2, 1)
    model = keras.Model(pixels, head(pixels))
    kernel = np.zeros((1, 1, channels, 2))
    kernel[..., -1, 1] = 1.0
    head.set_weights([kernel, np.array([0.0, -level])])
    Plan(data="", size=(64, 64)).save(folder.plan)
    model.save(folder.model)
    spec = {"reader": "", "saw": "", "class_names": ["dark", "bright"], "channels": channels, "dtype": dtype}
    write_json(folder.fingerprint, {"spec": spec})
    write_json(folder.scores, {"per_class": {"dark": {}, "bright": {}}})
    return folder.root


def _lies_on(written: Path, source: Path, level: float) -> None:
    """The mask has the source's grid, in every word a viewer goes by, and is bright at the very voxels that are."""
    import nibabel as nib

    image, mask = nib.load(source), nib.load(written)
    assert mask.shape == image.shape
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, image.affine)
    assert nib.aff2axcodes(mask.affine) == nib.aff2axcodes(image.affine)
    assert mask.header.get_zooms() == image.header.get_zooms()
    assert mask.header.get_xyzt_units() == image.header.get_xyzt_units()
    for code in ("qform_code", "sform_code"):
        assert mask.header[code] == image.header[code]
    assert mask.header["cal_max"] == 0, "the brightness an image is shown with is none for class ids"
    values, found = np.asarray(image.dataobj), np.asarray(mask.dataobj)
    clear = np.abs(values - level) > 1e-3 * np.ptp(values)
    assert clear.mean() > 0.5 and 0 < found.mean() < 1
    assert np.array_equal(found[clear], (values > level)[clear])


def test_a_mask_lies_on_its_volume_however_that_is_turned(tmp_path: Path) -> None:
    import nibabel as nib

    run = _above(0.0, RunFolder(tmp_path / "run"))
    turn = nib.eulerangles.euler2mat(0.3, -0.2, 0.5)
    for name, spacing in {"slices last": (1.2, 1.3, 9.0), "slices first": (8.0, 1.1, -0.9)}.items():
        grid = nib.affines.from_matvec(turn @ np.diag(spacing), (-90.0, 12.5, 3.0))
        volume = nib.Nifti1Image(np.random.default_rng(0).normal(size=(7, 30, 20)).astype(np.float32), grid)
        volume.header.set_xyzt_units("mm")
        volume.header["cal_max"] = 900
        file = tmp_path / f"{name}.nii.gz"
        nib.save(volume, file)
        (written,) = sg.predict(run, file, tmp_path / "out")
        _lies_on(written, file, 0.0)


def test_a_volume_of_channels_gets_one_mask(tmp_path: Path) -> None:
    import nibabel as nib

    volume = np.random.default_rng(0).normal(size=(20, 16, 5, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([1.0, 1.0, 8.0, 1.0])), tmp_path / "two.nii.gz")
    (written,) = sg.predict(
        _above(0.0, RunFolder(tmp_path / "run"), channels=2), tmp_path / "two.nii.gz", tmp_path / "out"
    )
    found = np.asarray(nib.load(written).dataobj)
    assert found.shape == volume.shape[:3]
    assert np.array_equal(found, volume[..., 1] > 0), "the network looks at the second channel"
    nib.save(nib.Nifti1Image(np.zeros((20, 16, 5, 3), np.float32), np.eye(4)), tmp_path / "three.nii.gz")
    with pytest.raises(DataError, match="channels=3, channels of the others=2"):
        sg.predict(tmp_path / "run", tmp_path / "three.nii.gz", tmp_path / "none")


@pytest.mark.parametrize("frames", [2, 3, 4])
def test_every_frame_of_a_volume_gets_a_mask(frames: int, tmp_path: Path) -> None:
    import nibabel as nib

    volume = np.random.default_rng(0).normal(size=(20, 16, 5, frames)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([1.0, 1.0, 8.0, 1.0])), tmp_path / "beats.nii.gz")
    (written,) = sg.predict(_above(0.0, RunFolder(tmp_path / "run")), tmp_path / "beats.nii.gz", tmp_path / "out")
    _lies_on(written, tmp_path / "beats.nii.gz", 0.0)


@pytest.mark.parametrize("words", [("0000", "0001"), ("flair", "t1")])
def test_files_of_channels_are_one_image_where_the_network_takes_so_many(
    words: tuple[str, str], tmp_path: Path
) -> None:
    import nibabel as nib

    volume = np.random.default_rng(0).normal(size=(20, 16, 5, 2)).astype(np.float32)
    images = tmp_path / "in"
    images.mkdir()
    for channel, word in enumerate(words):
        nib.save(nib.Nifti1Image(volume[..., channel], np.eye(4)), images / f"brain_007_{word}.nii.gz")
    two, one_ = _above(0.0, RunFolder(tmp_path / "two"), channels=2), _above(0.0, RunFolder(tmp_path / "one"))
    (written,) = sg.predict(two, images, tmp_path / "out")
    assert written.name == "brain_007.nii.gz"
    assert np.array_equal(np.asarray(nib.load(written).dataobj), volume[..., 1] > 0)
    assert len(sg.predict(one_, images, tmp_path / "each")) == 2


def test_phases_of_a_heart_that_hold_channels_stay_images_of_their_own(tmp_path: Path) -> None:
    import nibabel as nib

    volume = np.random.default_rng(0).normal(size=(20, 16, 5, 2)).astype(np.float32)
    (tmp_path / "in").mkdir()
    for phase in ("ED", "ES"):
        nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "in" / f"heart_{phase}.nii.gz")
    two = _above(0.0, RunFolder(tmp_path / "two"), channels=2)
    assert sorted(path.name for path in sg.predict(two, tmp_path / "in", tmp_path / "out")) == [
        "heart_ED.nii.gz", "heart_ES.nii.gz"
    ]  # fmt: skip


def test_masks_lie_on_real_volumes(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "cardiac_nifti"
    run = _above(100.0, RunFolder(tmp_path / "run"))
    written = sg.predict(run, source, tmp_path / "out")
    assert len(written) == 4
    for path in written:
        _lies_on(path, next(source.rglob(path.name)), 100.0)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shape", [(20, 18, 5), (20, 18, 5, 2)], ids=str)
def test_a_volume_is_predicted_by_planes_as_if_whole(
    shape: tuple[int, ...], suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nibabel as nib

    grid = np.array([[0.0, 1.5, 0, 4], [-1.2, 0, 0, 5], [0, 0, 2.5, 6], [0, 0, 0, 1]])
    image = nib.Nifti1Image(np.random.default_rng(0).integers(0, 2000, shape, dtype=np.int16), grid)
    image.header.set_slope_inter(0.1, -20)
    image.header.set_qform(grid, code=1)
    image.header["descrip"] = b"a scan"
    nib.save(image, tmp_path / f"x{suffix}")
    run = _above(80.0, RunFolder(tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr(one, "_whole", None)  # it is not asked
        (planes,) = sg.predict(run, tmp_path / f"x{suffix}", tmp_path / "planes")
    monkeypatch.setattr(one, "_planes", lambda task: None)
    (whole,) = sg.predict(run, tmp_path / f"x{suffix}", tmp_path / "whole")
    found, wanted = nib.load(planes), nib.load(whole)
    assert found.header.binaryblock == wanted.header.binaryblock
    assert np.array_equal(found.dataobj, wanted.dataobj) and 0 < np.mean(found.dataobj) < 1
    assert suffix != ".nii" or planes.read_bytes() == whole.read_bytes()
    assert _lines(tmp_path / "planes") == _lines(tmp_path / "whole")


@pytest.mark.parametrize("tile", [None, (64, 48)])
def test_a_large_tiff_is_predicted_by_windows_as_if_whole(
    tile: tuple[int, int] | None, untrained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (150, 230), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "slide.tif", pixels, tile=tile, compression="zlib", rowsperstrip=None if tile else 7)
    (whole,) = sg.predict(untrained, tmp_path / "slide.tif", tmp_path / "whole")
    monkeypatch.setattr(one, "LARGE", 1)
    with monkeypatch.context() as patch:
        patch.setattr(one, "_whole", None)
        (windows,) = sg.predict(untrained, tmp_path / "slide.tif", tmp_path / "windows")
    assert whole.name == windows.name == "slide.tif"
    assert np.array_equal(tifffile.imread(whole), tifffile.imread(windows))
    assert _lines(tmp_path / "whole") == _lines(tmp_path / "windows")
    sg.predict(untrained, tmp_path / "slide.tif", tmp_path / "more", overlay=True)
    assert (tmp_path / "more" / "slide.overlay.png").exists(), "what needs the image whole gets it while it fits"
    monkeypatch.setattr(one, "HUGE", 1)
    with pytest.raises(DataError, match=r"needs it whole='--overlay'"):
        sg.predict(untrained, tmp_path / "slide.tif", tmp_path / "none", overlay=True)


def test_an_ensemble_is_the_mean_of_its_runs(untrained: Any) -> None:
    from segnosis.training.predict import Ensemble, Predictor

    model, image = untrained.model(), np.random.default_rng(0).normal(size=(70, 90, 1)).astype(np.float32)
    parts = [Predictor.planned(untrained.plan, model, window=size, mirror=False) for size in ((32, 32), (48, 40))]
    both = Ensemble(parts)
    expected = (parts[0].probabilities(image) + parts[1].probabilities(image)) / 2
    np.testing.assert_allclose(both.probabilities(image), expected, atol=1e-6)
    rows = list(both.rows(lambda top, left, h, w: image[top : top + h, left : left + w], (70, 90)))
    assert [top for top, _ in rows] == np.cumsum([0, *(len(part) for _, part in rows[:-1])]).tolist()
    np.testing.assert_allclose(np.concatenate([part for _, part in rows]), expected, atol=1e-5)


def test_scales_and_mirrors_are_averaged(untrained: Any, tmp_path: Path) -> None:
    images = _pictures(tmp_path / "in", 1)
    for name, settings in {"plain": {}, "more": {"scales": (0.75, 1.25), "mirror": True}}.items():
        sg.predict(untrained, images, tmp_path / name, probabilities=True, **settings)
    plain, more = (tifffile.imread(tmp_path / name / "picture0.probabilities.tif") for name in ("plain", "more"))
    assert plain.shape == more.shape
    np.testing.assert_allclose(more.sum(axis=0), 1.0, atol=1e-5)
    assert np.abs(plain - more).max() > 1e-4


def test_one_bad_image_costs_no_other(untrained: Any, tmp_path: Path) -> None:
    images = _pictures(tmp_path / "in")
    (images / "picture1.png").write_bytes((images / "picture1.png").read_bytes()[:200])
    with pytest.raises(DataError, match=r"1 of 3 images failed.*picture1\.png"):
        sg.predict(untrained, images, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["picture0.png", "picture2.png"]


def test_images_without_a_mask_are_predicted_beside_those_with_one(untrained: Any, tmp_path: Path) -> None:
    _pictures(tmp_path / "in" / "images")
    (tmp_path / "in" / "masks").mkdir()
    Image.fromarray(np.zeros((45, 60), np.uint8)).save(tmp_path / "in" / "masks" / "picture1.png")
    written = sg.predict(untrained, tmp_path / "in", tmp_path / "out")
    assert [path.name for path in written] == [f"picture{n}.png" for n in range(3)]


class _Hears(Listener):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, text: str) -> None:
        self.heard.append(text)


@pytest.mark.parametrize("masks", [False, True])
def test_images_of_another_format_are_told(masks: bool, untrained: Any, small_hearts: Path, tmp_path: Path) -> None:
    images = _pictures(tmp_path / "in", 4)
    for name in ("subject-001.nii.gz", *(["subject-001_gt.nii.gz"] if masks else [])):
        shutil.copy(small_hearts / name, images)
    hears = _Hears()
    (written,) = sg.predict(untrained, images, tmp_path / "out", listener=hears)
    assert written.name == "subject-001.nii.gz"
    assert hears.heard == [
        "left out: 4 images of another format (picture0.png, picture1.png, picture2.png, …); "
        "put them into a folder of their own, and predict that"
    ]
    for alone in (images / "picture0.png", small_hearts):
        hears = _Hears()
        sg.predict(untrained, alone, tmp_path / alone.stem, listener=hears)
        assert hears.heard == []


def test_dicom_images_need_no_segmentation(tmp_path: Path) -> None:
    from segnosis.data.readers import dicom

    truths = dicom.example(tmp_path / "in")
    shutil.rmtree(tmp_path / "in" / "patient 1")
    uid = tmp_path / "in" / "patient 0" / "1.2.840.7"
    (tmp_path / "in" / "patient 0" / "IM0").rename(uid)
    run = _above(500.0, RunFolder(tmp_path / "run"))
    both = sg.predict(run, tmp_path / "in", tmp_path / "labelled")
    (tmp_path / "in" / "patient 0" / "segmentation.dcm").unlink()
    written = sg.predict(run, tmp_path / "in", tmp_path / "out")
    assert len(both) == 3
    assert sorted(path.name for path in written) == ["1.2.840.7.png", "IM1.png", "IM2.png"]
    for path, truth in zip(sorted(written), truths[:3], strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), truth.image[..., 0] > 500.0)
    assert {line["unit"] for line in _lines(tmp_path / "out")} == {"mm2"}
    (single,) = sg.predict(run, uid, tmp_path / "single")
    assert single.read_bytes() == next(path for path in written if path.name == single.name).read_bytes()
    uid.write_bytes(uid.read_bytes()[:200])
    with pytest.raises(DataError, match=r"1 of 3 images failed.*1\.2\.840\.7"):
        sg.predict(run, tmp_path / "in", tmp_path / "again")


def test_dicom_images_without_pydicom_name_the_extra(
    untrained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "IM0").write_bytes(bytes(128) + b"DICM")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingPackageError, match=r"segnosis\[dicom\]"):
        sg.predict(untrained, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["masks", "größe und \N{BRAIN}"])
def test_the_output_may_lie_among_the_images(name: str, untrained: Any, tmp_path: Path) -> None:
    images = _pictures(tmp_path / "in")
    out = images / name
    written = sg.predict(untrained, images, out, overlay=True)
    written[0].unlink()
    assert sg.predict(untrained, images, out, overlay=True) == written, "what it wrote is no image"
    assert {line["image"] for line in _lines(out)} == {f"picture{n}" for n in range(3)}


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_no_prediction_made_are_neither_kept_nor_replaced(
    overwrite: bool, untrained: Any, tmp_path: Path
) -> None:
    images = _pictures(tmp_path / "in")
    before = {path: path.read_bytes() for path in images.iterdir()}
    for source in (images, images / "picture0.png"):
        with pytest.raises(RunError, match=r"a folder of their own.*picture0\.png"):
            sg.predict(untrained, source, images, overwrite=overwrite)
    assert {path: path.read_bytes() for path in images.iterdir()} == before


def test_images_of_another_depth_are_no_eight_bit_images(tmp_path: Path) -> None:
    run = _above(100.0, RunFolder(tmp_path / "run"), dtype="uint8")
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for name, pixels in {"deep": grey.astype(np.uint16) * 257, "shares": (grey / 255).astype(np.float32)}.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
        with pytest.raises(DataError, match="8-bit: whole numbers from 0 to 255"):
            sg.predict(run, tmp_path / f"{name}.tif", tmp_path / "out")
    tifffile.imwrite(tmp_path / "same.tif", grey.astype(np.uint16))
    (written,) = sg.predict(run, tmp_path / "same.tif", tmp_path / "out")
    assert np.array_equal(tifffile.imread(written), grey > 100)


def test_what_cannot_work_is_told_before_anything_is_written(untrained: Any, tmp_path: Path) -> None:
    images = _pictures(tmp_path / "in", 1)
    for settings, says in (
        ({"scales": (0.0,)}, "between 0.1 and 10"),
        ({"workers": 0}, "at least 1"),
        ({"precision": "int4"}, "float32 or bfloat16"),
        ({"engine": "spark://here:1"}, "dask://host:8786"),
        ({"engine": "dask://here:port"}, "dask://host:8786"),
    ):
        with pytest.raises(ArgumentError, match=says):
            sg.predict(untrained, images, tmp_path / "out", **settings)
    with pytest.raises(ArgumentError, match="a run folder"):
        sg.predict(untrained, untrained.out, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_image_takes_the_place_of_what_is_written_for_another(untrained: Any, tmp_path: Path) -> None:
    images = _pictures(tmp_path / "in", 1)
    (images / "picture0.overlay.png").write_bytes((images / "picture0.png").read_bytes())
    with pytest.raises(RunError, match=r"picture0\.overlay\.png.*picture0, picture0\.overlay"):
        sg.predict(untrained, images, tmp_path / "out", overlay=True)
    assert not (tmp_path / "out").exists()
    assert len(sg.predict(untrained, images, tmp_path / "out")) == 2


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])], ids=str)
def test_voxels_that_are_no_real_numbers_are_told(dtype: Any, untrained: Any, tmp_path: Path) -> None:
    import nibabel as nib

    nib.save(nib.Nifti1Image(np.zeros((8, 9, 2), dtype), np.eye(4)), tmp_path / "odd.nii.gz")
    with pytest.raises(DataError, match=r"one real number.*odd\.nii\.gz"):
        sg.predict(untrained, tmp_path / "odd.nii.gz", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_postprocessing_is_chosen_once_and_kept_in_the_run(untrained: Any, small_hearts: Path, tmp_path: Path) -> None:
    (first,) = sg.predict(untrained, small_hearts / "subject-002.nii.gz", tmp_path / "a", postprocess=True)
    file = untrained.out / "postprocessing.json"
    then = file.stat().st_mtime_ns
    (again,) = sg.predict(untrained, small_hearts / "subject-002.nii.gz", tmp_path / "b", postprocess=True)
    assert file.stat().st_mtime_ns == then
    assert first.read_bytes()[10:] == again.read_bytes()[10:]  # but for the time in the gzip header


def test_a_killed_process_loses_no_task() -> None:
    import multiprocessing

    answers = 0
    for _ in spread(time.sleep, workers=2)([0.3] * 8):
        answers += 1
        if answers == 1:
            multiprocessing.active_children()[0].kill()
    assert answers == 8


@pytest.mark.parametrize("error", [BrokenExecutor("broken"), OSError("handle is closed")])
def test_a_pool_that_breaks_while_it_is_given_a_task_loses_none(error: Exception) -> None:
    class Breaks(ThreadPoolExecutor):
        def submit(self, work: Any, task: Any) -> Any:  # type: ignore[override]
            if task == 2:
                raise error
            return super().submit(work, task)

    with Breaks(1) as pool, pytest.raises(BrokenExecutor) as caught:
        list(spread(abs, engine=pool)(range(5)))
    assert sorted(caught.value.left) == [0, 1, 2, 3, 4]  # type: ignore[attr-defined]


def test_processes_that_keep_dying_are_one_clear_error() -> None:
    import os

    with pytest.raises(RunError, match="--workers"):
        list(spread(os._exit, workers=2)([1] * 4))


def test_a_dask_cluster_predicts_the_same_and_loses_nothing_with_a_worker(untrained: Any, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    images = _pictures(tmp_path / "in", 6)
    here = sg.predict(untrained, images, tmp_path / "here")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as cluster:

        class Kill(Listener):
            def step(self, what: str, done: int = 0, total: int | None = None) -> None:
                if what == "predicting" and done == 1:
                    cluster.workers[0].process.process._process.kill()

        engine = cluster.scheduler_address.replace("tcp://", "dask://")
        there = sg.predict(untrained, images, tmp_path / "there", engine=engine, listener=Kill())
    assert [path.read_bytes() for path in there] == [path.read_bytes() for path in here]


def test_a_scheduler_that_is_not_there_is_told(untrained: Any, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(ArgumentError, match="scheduler must answer"):
        sg.predict(untrained, _pictures(tmp_path / "in", 1), tmp_path / "out", engine="dask://127.0.0.1:1")


def test_pixels_of_no_number_are_an_error_or_what_they_are_told_to_be(tmp_path: Path) -> None:
    import nibabel as nib

    volume = np.random.default_rng(0).normal(size=(20, 16, 5)).astype(np.float32)
    volume[:4, :, 2], volume[19, 15, 4] = np.nan, np.inf
    file = tmp_path / "in" / "holes.nii.gz"
    file.parent.mkdir()
    nib.save(nib.Nifti1Image(volume, np.eye(4)), file)
    nib.save(nib.Nifti1Image(np.nan_to_num(volume, nan=0, posinf=0), np.eye(4)), file.with_name("whole.nii.gz"))
    run, out = _above(-1.0, RunFolder(tmp_path / "run")), tmp_path / "out"
    with pytest.raises(DataError, match=r"holes\.nii\.gz.*NaN or infinity=64, of=320.*--nan 0"):
        sg.predict(run, tmp_path / "in", out)
    assert [path.name for path in out.glob("*.nii.gz")] == ["whole.nii.gz"], "no mask is made of what is no number"
    heard = _Heard()
    for number, places in ((0.0, True), (-9.0, False)):
        (found, _) = sg.predict(run, tmp_path / "in", out, nan=number, overwrite=True, listener=heard)
        assert (np.asarray(nib.load(found).dataobj)[~np.isfinite(volume)] == places).all()
    assert "1 of 2 images held NaN or infinite pixels, read as 0" in heard.said
    plan = Plan.load(run / "plan.yaml")
    plan.with_(nan=-9.0).save(run / "plan.yaml")
    (found, _) = sg.predict(run, tmp_path / "in", out, overwrite=True)
    assert not np.asarray(nib.load(found).dataobj)[~np.isfinite(volume)].any(), "as the run was trained"
    with pytest.raises(ArgumentError, match="nan=inf"):
        sg.predict(run, file, out, nan=float("inf"))


def test_pixels_of_no_number_are_found_by_windows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).normal(size=(150, 230)).astype(np.float32)
    pixels[100:, 200:] = np.nan
    tifffile.imwrite(tmp_path / "slide.tif", pixels, rowsperstrip=16)
    run = _above(0.0, RunFolder(tmp_path / "run"))
    monkeypatch.setattr(one, "LARGE", 1)
    monkeypatch.setattr(one, "_whole", None)
    with pytest.raises(DataError, match="NaN or infinity"):
        sg.predict(run, tmp_path / "slide.tif", tmp_path / "out")
    (written,) = sg.predict(run, tmp_path / "slide.tif", tmp_path / "out", nan=-1)
    assert np.array_equal(tifffile.imread(written), np.nan_to_num(pixels, nan=-1) > 0)


class _Heard(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)
