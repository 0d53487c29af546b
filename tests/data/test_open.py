"""Layouts that people have: each must open with nothing but its path, and pair what belongs together."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segnosis as sg
from segnosis.core import discovery
from segnosis.core.errors import ArgumentError, DataError
from segnosis.data.readers.base import example_image, example_mask


def write(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def make(root: Path, pairs: dict[str, str], *, others: tuple[str, ...] = (), scale: int = 255) -> None:
    """Write images, masks whose rectangle tells the pair apart, and other files that are no part of it."""
    for i, (image, mask) in enumerate(pairs.items()):
        write(root / image, example_image(i))
        write(root / mask, example_mask(i) * scale)
    for i, other in enumerate(others):
        write(root / other, example_mask(100 + i) * 200)


HABITS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "image and label, numbered": ({f"image/{i}.png": f"label/{i}.png" for i in range(12)}, ()),
    "imgs and masks, other suffix": ({f"imgs/{i}.jpg": f"masks/{i}.png" for i in range(4)}, ()),
    "Original and Ground Truth": ({f"Original/{i}.tif": f"Ground Truth/{i}.tif" for i in range(4)}, ()),
    "input and ground truth of a challenge": (
        {
            f"X2018_Task1-2_Training_Input/I_{i:07}.jpg": f"X2018_Task1_Training_GroundTruth/I_{i:07}_segmentation.png"
            for i in range(4)
        },
        (),
    ),
    "train and train_masks": ({f"train/{i}.jpg": f"train_masks/{i}_mask.gif" for i in range(4)}, ()),
    "splits, then roles": (
        {f"{s}/images/{s}{i}.png": f"{s}/masks/{s}{i}.png" for s in ("train", "val", "test") for i in range(3)},
        (),
    ),
    "roles, then splits": (
        {f"images/{s}/{s}{i}.png": f"annotations/{s}/{s}{i}.png" for s in ("training", "validation") for i in range(3)},
        (),
    ),
    "trainannot": ({f"{s}/{s}{i}.png": f"{s}annot/{s}{i}.png" for s in ("train", "val", "test") for i in range(3)}, ()),
    "leftImg8bit and gtFine": (
        {
            f"leftImg8bit/{s}/{c}/{c}_{i:06}_leftImg8bit.png": f"gtFine/{s}/{c}/{c}_{i:06}_gtFine_labelIds.png"
            for s, c in (("train", "aachen"), ("train", "bremen"), ("val", "ulm"))
            for i in range(2)
        },
        tuple(f"gtFine/train/aachen/aachen_{i:06}_gtFine_{k}.png" for i in range(2) for k in ("color", "instanceIds")),
    ),
    "manual masks beside masks of the field of view": (
        {f"training/images/{i}_training.tif": f"training/1st_manual/{i}_manual1.gif" for i in range(21, 25)},
        tuple(f"training/mask/{i}_training_mask.gif" for i in range(21, 25)),
    ),
    "suffix in one folder": ({f"Image_{i}.jpg": f"Image_{i}_mask.png" for i in range(4)}, ()),
    "prefix in one folder": ({f"img_{i}.png": f"mask_{i}.png" for i in range(4)}, ()),
    "one folder a patient": (
        {
            f"P_{p}_19960909/P_{p}_19960909_{i}.tif": f"P_{p}_19960909/P_{p}_19960909_{i}_mask.tif"
            for p in range(4)
            for i in range(3)
        },
        (),
    ),
    "same stem, photograph and mask": ({f"a{i}.jpg": f"a{i}.png" for i in range(4)}, ()),
    "letters behind": ({f"raw/0001TP_{i:06}.png": f"LabeledApproved/0001TP_{i:06}_L.png" for i in range(4)}, ()),
    "coloured masks to look at": (
        {f"images/{i}.png": f"labels/{i}.png" for i in range(4)},
        tuple(f"labels_color/{i}.png" for i in range(4)),
    ),
    "deep and mixed case": ({f"data/Images/{i}.PNG": f"data/SegmentationMasks/{i}.PNG" for i in range(4)}, ()),
    "tiles of images and labels": (
        {f"tiff/{s}/{s}{i}.png": f"tiff/{s}_labels/{s}{i}.png" for s in ("train", "val") for i in range(3)},
        (),
    ),
    "awkward names": (
        {
            f"images/{n}.png": f"masks/{n}.png"
            for n in ("a b", "it's", 'say "x"', "<script>alert(1)<", "größe 雪", "a.b", "-rf", "%s{0}")
        },
        (),
    ),
}


@pytest.mark.parametrize("habit", HABITS)
def test_layout_is_recognised_and_paired(habit: str, tmp_path: Path) -> None:
    pairs, others = HABITS[habit]
    make(tmp_path, pairs, others=others)
    data = sg.data.open(tmp_path)
    found = {}
    for i in range(len(data)):
        pair = data.pair(i)
        assert pair.error is None
        assert pair.image_file is not None
        assert pair.mask_file is not None
        found[pair.image_file.relative_to(tmp_path).as_posix()] = pair.mask_file.relative_to(tmp_path).as_posix()
    assert found == pairs
    assert data.spec.num_classes == 2
    assert np.array_equal(data[0].mask, data.pair(0).mask > 0)
    assert len(set(data.ids)) == len(pairs)
    splits = {name for name in ("train", "val", "test") if any(name in image for image in pairs)}
    if {"train", "val"} <= splits:
        assert set(data.splits) == splits


def test_groups_are_told_by_words_folders_and_numbers(tmp_path: Path) -> None:
    cases = {
        "words": ({f"images/patient{p}_slice{i}.png" for p in range(3) for i in range(3)}, 3),
        "folders": ({f"images/p{p}/{i}.png" for p in range(3) for i in range(3)}, 3),
        "numbers": ({f"images/0cdf{p}_{i:02}.png" for p in range(6) for i in range(3)}, 6),
        "tiles": ({f"images/austin{p}_{x}_{y}.png" for p in range(6) for x in range(2) for y in range(2)}, 6),
        "none": ({f"images/img_{i:03}.png" for i in range(9)}, 9),
        "years": ({f"images/2007_{i:06}.png" for i in range(9)}, 9),
        "kinds": ({f"images/{k}/{k} ({i}).png" for k in ("benign", "malignant") for i in range(4)}, 8),
    }
    for name, (images, groups) in cases.items():
        make(tmp_path / name, {image: image.replace("images", "masks") for image in images})
        data = sg.data.open(tmp_path / name)
        assert len(set(data.groups)) == groups, name
        assert (data.spec.group_by is None) == (groups == len(images)), name


def test_same_names_in_two_folders(tmp_path: Path) -> None:
    import h5py

    make(tmp_path / "plane", {f"{s}/images/{i}.png": f"{s}/masks/{i}.png" for s in ("train", "val") for i in range(3)})
    data = sg.data.open(tmp_path / "plane")
    assert len(set(data.ids)) == len(set(data.groups)) == 6
    for split in ("train", "val"):
        (tmp_path / "volume" / split).mkdir(parents=True)
        for patient in range(3):
            with h5py.File(tmp_path / "volume" / split / f"patient{patient}.h5", "w") as file:
                file["image"], file["label"] = np.ones((2, 8, 8)), np.stack([np.eye(8, dtype=np.uint8)] * 2)
    data = sg.data.open(tmp_path / "volume")
    assert len(set(data.ids)) == 12
    assert len(set(data.groups)) == 3


def test_several_masks_of_an_image_are_united(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"benign ({i}).png", example_image(i))
        for k, suffix in ((1, ""), (2, "_1")):
            write(tmp_path / f"benign ({i})_mask{suffix}.png", (example_mask(i, 3) == k).astype(np.uint8) * 255)
    data = sg.data.open(tmp_path)
    assert len(data) == 3
    assert np.array_equal(data[1].mask, example_mask(1, 3) > 0)


def test_images_alone_are_left_out_and_told(tmp_path: Path) -> None:
    make(
        tmp_path, {f"images/{i}.png": f"masks/{i}.png" for i in range(4)}, others=("images/alone.png", "masks/lost.png")
    )
    saw = sg.data.open(tmp_path).spec.saw
    assert "1 images without mask" in saw
    assert "`images/alone.png`" in saw
    assert "`masks/lost.png`" in saw


def test_two_folders_of_masks_that_fit_are_an_error(tmp_path: Path) -> None:
    for i in range(4):
        for folder in ("images", "masks_a", "masks_b"):
            write(tmp_path / folder / f"{i}.png", example_mask(i) * 255)
    with pytest.raises(DataError, match=r"masks_a.*masks_b"):
        sg.data.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "no such file"), ([], "files=0"), (["a.png", "b.png"], "No mask was found"), (["notes.txt"], r"1 \.txt")],
)
def test_bad_folder_is_one_clear_error(content: list[str] | None, expected: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    if content is not None:
        root.mkdir()
        for name in content:
            write(root / name, example_image(0)) if name.endswith("png") else (root / name).write_text("hello")
    with pytest.raises(DataError, match=expected) as caught:
        sg.data.open(root)
    assert caught.value.file == root
    assert caught.value.cure


def test_file_and_unknown_reader_are_clear_errors(tmp_path: Path) -> None:
    file = write(tmp_path / "a.png", example_image(0))
    with pytest.raises(DataError, match="this is a file"):
        sg.data.open(file)
    with pytest.raises(ArgumentError, match="Did you mean `nifti`"):
        sg.data.open(tmp_path, reader="nifty")
    with pytest.raises(DataError, match="NIfTI"):
        sg.data.open(tmp_path, reader="nifti")


def test_misspelt_path_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "nuclei").mkdir()
    with pytest.raises(DataError, match="Did you mean `nuclei`"):
        sg.data.open(tmp_path / "nuclie")


def test_broken_files_are_told_by_the_pair_and_raised_by_the_sample(tmp_path: Path) -> None:
    make(tmp_path, {f"images/{i}.png": f"masks/{i}.png" for i in range(6)})
    whole = (tmp_path / "images/1.png").read_bytes()
    (tmp_path / "images/1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "masks/2.png").write_bytes(b"")
    (tmp_path / "images/3.png").write_text("no image")
    write(tmp_path / "masks/4.png", np.zeros((9, 9), np.uint8))
    data = sg.data.open(tmp_path)
    errors = [pair.error for pair in data.pairs()]
    assert [bool(error) for error in errors] == [False, True, True, True, False, False]
    assert errors[1] is not None and "decode to its last row" in errors[1]
    for i, name in ((1, "images/1.png"), (2, "masks/2.png"), (3, "images/3.png"), (4, "masks/4.png")):
        with pytest.raises(DataError) as caught:
            data[i]
        assert caught.value.file == tmp_path / name
    assert data[5].mask is not None
    facts = sg.data.fingerprint(data)
    assert facts.samples == 2
    assert facts.unreadable == ("1", "2", "3", "4")


def test_no_readable_mask_at_all(tmp_path: Path) -> None:
    make(tmp_path, {f"images/{i}.png": f"masks/{i}.png" for i in range(3)})
    for i in range(3):
        (tmp_path / f"masks/{i}.png").write_text("no image")
    data = sg.data.open(tmp_path)
    assert all(pair.error for pair in data.pairs())
    with pytest.raises(DataError, match="segnosis check"):
        _ = data.spec


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path / "data", {f"images/{i}.png": f"masks/{i}.png" for i in range(3)})
    secret = write(tmp_path / "secret.png", example_image(9))
    (tmp_path / "data/images/9.png").symlink_to(secret)
    write(tmp_path / "data/masks/9.png", example_mask(9))
    (tmp_path / "data/images/2.png").unlink()
    (tmp_path / "data/images/2.png").symlink_to(tmp_path / "data/images/1.png")
    (tmp_path / "data/images/loop").symlink_to(tmp_path / "data")
    data = sg.data.open(tmp_path / "data")
    assert data.ids == ["0", "1", "2"]
    assert "1 links" in data.spec.saw


@pytest.mark.parametrize("kind", ["grey 16 bit", "colour 16 bit", "float tiff", "rgba", "grey and colour", "bool mask"])
def test_stored_types(kind: str, tmp_path: Path) -> None:
    import cv2

    make(tmp_path, {f"images/{i}.png": f"masks/{i}.png" for i in range(3)})
    path = tmp_path / "images/1.png"
    deep = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80
    stored: np.ndarray
    if kind == "grey 16 bit":
        stored = deep
        for i in range(3):
            Image.fromarray(stored).save(tmp_path / f"images/{i}.png")
    elif kind == "colour 16 bit":
        stored = np.stack([deep, deep // 2, deep // 3], axis=-1)
        cv2.imwrite(str(path), stored[..., ::-1])
    elif kind == "float tiff":
        stored = deep.astype(np.float32) / 7
        for i in range(3):
            (tmp_path / f"images/{i}.png").unlink()
            Image.fromarray(stored).save(tmp_path / f"images/{i}.tif")
    elif kind == "rgba":
        stored = example_image(5, (24, 32, 4))
        write(path, stored)
        stored = stored[..., :3]
    elif kind == "grey and colour":
        stored = example_image(5, (24, 32))
        write(path, stored)
    else:
        stored = example_image(1)
        Image.fromarray(example_mask(1) > 0).save(tmp_path / "masks/1.png")
    data = sg.data.open(tmp_path)
    sample, pair = data[1], data.pair(1)
    assert pair.image is not None
    assert np.array_equal(pair.image, stored)
    flat = kind in ("grey 16 bit", "float tiff")
    deep_kind = flat or kind == "colour 16 bit"
    assert sample.image.shape == (24, 32, 1 if flat else 3)
    assert sample.image.dtype == (np.float32 if deep_kind else np.uint8)
    expected = stored[..., None] if stored.ndim == 2 else stored[..., :3]
    assert np.array_equal(sample.image, np.broadcast_to(expected, sample.image.shape))
    assert data.spec.num_classes == 2


def test_orientation_is_applied_unless_the_mask_was_drawn_without_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.fromarray(example_image(0, (24, 32, 3)))
    for name, size in (("seen", (32, 24)), ("unseen", (24, 32))):
        (tmp_path / name / "images").mkdir(parents=True)
        for i in range(3):
            photo.save(tmp_path / name / f"images/{i}.jpg", exif=exif)
            write(tmp_path / name / f"masks/{i}.png", example_mask(i, 2, size) * 255)
        assert sg.data.open(tmp_path / name)[0].image.shape == (*size, 3)


def test_arrays_are_read_only_and_shared(tmp_path: Path) -> None:
    make(tmp_path, {f"images/{i}.png": f"masks/{i}.png" for i in range(3)})
    data = sg.data.open(tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        data[0].image[0, 0, 0] = 1
    again = data.subset([2, 0])
    assert again.ids == ["2", "0"]
    assert np.array_equal(again[1].image, data[0].image)
    assert [sample.id for sample in data[1:]] == ["1", "2"]


def test_a_dataset_travels_to_a_worker(tmp_path: Path) -> None:
    import pickle

    make(tmp_path, {f"images/{i}.png": f"masks/{i}.png" for i in range(3)})
    data = sg.data.open(tmp_path)
    before = data[1]
    after = pickle.loads(pickle.dumps(data))[1]  # noqa: S301  our own bytes
    assert np.array_equal(before.image, after.image)


def test_images_without_masks_open_for_prediction(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "in" / f"photo {i}.png", example_image(i))
    data = sg.data.open_images(tmp_path / "in")
    assert [data.pair(i).mask for i in range(3)] == [None] * 3
    assert np.array_equal(data[2].image, example_image(2))
    assert len(sg.data.open_images(tmp_path / "in/photo 1.png")) == 1
    assert len(sg.data.open_images(tmp_path / "in", without=tmp_path / "in/out")) == 3
    write(tmp_path / "in/out/photo 1.png", example_image(1))
    assert len(sg.data.open_images(tmp_path / "in")) == 4
    assert sg.data.open_images(tmp_path / "in", without=tmp_path / "in/out").ids == [f"photo {i}" for i in range(3)]
    with pytest.raises(DataError, match="no such file"):
        sg.data.open_images(tmp_path / "in/photo 9.png")
    (tmp_path / "in/photo 3.txt").write_text("x")
    with pytest.raises(DataError, match="pictures, NIfTI, HDF5 or DICOM"):
        sg.data.open_images(tmp_path / "in/photo 3.txt")


def test_dicom_beside_a_data_set_of_another_format_needs_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discovery.load("segnosis.data.readers", "nifti").example(tmp_path)
    (tmp_path / "IM0").write_bytes(bytes(128) + b"DICM")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    index = sg.data.open_images(tmp_path).source.index
    assert (len(index.entries), index.left_out) == (6, ("IM0",))


@pytest.mark.parametrize("reader", ["image_folders", "nifti"])
def test_images_to_predict_are_those_of_a_data_set_and_those_without_a_mask(reader: str, tmp_path: Path) -> None:
    module = discovery.load("segnosis.data.readers", reader)
    module.example(tmp_path)
    suffix = {"image_folders": ".png", "nifti": ".nii.gz"}[reader]
    image = next(path for path in sorted(tmp_path.rglob("*")) if path.name.endswith(suffix))
    image.with_name(f"zz new{suffix}").write_bytes(image.read_bytes())
    labelled, everything = sg.data.open(tmp_path), sg.data.open_images(tmp_path)
    *known, new = everything.source.index.entries
    assert tuple(known) == labelled.source.index.entries
    assert (new.id, new.mask) == ("zz new", None)
    copied = next(i for i, entry in enumerate(known) if (labelled.root / entry.image_file).name == image.name)
    first, again = (everything.source.offsets[i] for i in (copied, len(known)))
    assert np.array_equal(everything[int(first)].image, everything[int(again)].image)


VOLUMES: dict[str, tuple[list[str], list[str], int, int]] = {
    # name: (image files, mask files, groups, channels); `{p}` is the patient
    "folders of images and labels": (["imagesTr/hip_{p}.nii.gz"], ["labelsTr/hip_{p}.nii.gz"], 3, 1),
    "numbered channels": (
        ["imagesTr/B_{p}_0000.nii.gz", "imagesTr/B_{p}_0001.nii.gz"],
        ["labelsTr/B_{p}.nii.gz"],
        3,
        2,
    ),
    "modalities of a patient": (
        [f"BraTS20_{{p}}/BraTS20_{{p}}_{c}.nii" for c in ("flair", "t1", "t2")],
        ["BraTS20_{p}/BraTS20_{p}_seg.nii"],
        3,
        3,
    ),
    "frames": (
        [f"patient{{p}}/patient{{p}}_frame{f}.nii.gz" for f in ("01", "12")],
        [f"patient{{p}}/patient{{p}}_frame{f}_gt.nii.gz" for f in ("01", "12")],
        3,
        1,
    ),
    "names that are roles": (["case_{p}/imaging.nii.gz"], ["case_{p}/segmentation.nii.gz"], 3, 1),
    "volume and segmentation": (["volume-{p}.nii"], ["segmentation-{p}.nii"], 3, 1),
}


@pytest.mark.parametrize("habit", VOLUMES)
def test_volumes_are_recognised_and_paired(habit: str, tmp_path: Path) -> None:
    import nibabel

    images, masks, groups, channels = VOLUMES[habit]
    truth = np.stack([example_mask(k, 3, (16, 20)).T for k in range(4)], axis=-1)
    for p in range(3):
        for number, name in enumerate([*images, *masks]):
            file = tmp_path / name.format(p=p)
            file.parent.mkdir(parents=True, exist_ok=True)
            array = truth if name in masks else np.full((20, 16, 4), float(10 * p + number), np.float32)
            nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 5.0, 1.0])), file)
    data = sg.data.open(tmp_path)
    assert len(data) == 3 * 4 * len(masks)
    assert len(set(data.groups)) == groups
    assert data.spec.channels == channels
    assert np.array_equal(data[1].mask, truth[:, :, 1].T)
    assert data[0].image[0, 0].tolist() == list(range(channels))


def test_cine_volumes_are_read_frame_by_frame_and_go_back(tmp_path: Path) -> None:
    import nibabel

    rng = np.random.default_rng(0)
    image, mask = rng.random((20, 16, 4, 3)).astype(np.float32), rng.integers(0, 3, (20, 16, 4, 3)).astype(np.uint8)
    for p in "ab":
        nibabel.save(nibabel.Nifti1Image(image, np.diag([1.0, 1.0, 5.0, 1.0])), tmp_path / f"{p}_sa.nii.gz")
        nibabel.save(nibabel.Nifti1Image(mask, np.diag([1.0, 1.0, 5.0, 1.0])), tmp_path / f"{p}_sa_gt.nii.gz")
    data = sg.data.open(tmp_path)
    assert len(data) == 24
    assert np.array_equal(data[4 * 2 + 3].image[..., 0], image[:, :, 3, 2].T)
    place = data.volume_of(0)
    assert place is not None
    written = data.write_volume(tmp_path / "p.nii.gz", [data[i].mask for i in range(12)], place.file)  # type: ignore[misc]
    assert np.array_equal(nibabel.load(written).get_fdata(), mask)


def test_volume_of_wrong_dimensions_is_a_clear_error(tmp_path: Path) -> None:
    import nibabel

    for p, shape in enumerate([(8, 8, 4), (8, 8, 3), (8, 8, 4, 2, 2), (8, 8, 4)]):
        nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), tmp_path / f"p{p}.nii.gz")
        nibabel.save(
            nibabel.Nifti1Image(np.eye(8, dtype=np.uint8)[..., None].repeat(4, 2), np.eye(4)),
            tmp_path / f"p{p}_gt.nii.gz",
        )
    data = sg.data.open(tmp_path)
    errors = {pair.id: pair.error for pair in data.pairs() if pair.error}
    assert {id[:2] for id in errors} == {"p1", "p2"}
    assert "same planes" in str(errors["p1_plane000"])
    assert "3 dimensions" in str(errors["p2_plane000"])


def test_stacks_of_pages_are_planes(tmp_path: Path) -> None:
    images, masks = [example_image(i, (24, 32)) for i in range(5)], [example_mask(i) * 255 for i in range(5)]
    for name, planes in (("train-volume.tif", images), ("train-labels.tif", masks)):
        first, *rest = map(Image.fromarray, planes)
        first.save(tmp_path / name, save_all=True, append_images=rest)
    data = sg.data.open(tmp_path)
    assert len(data) == len(set(data.groups)) == 5
    assert np.array_equal(data[3].image[..., 0], images[3])
    assert np.array_equal(data[3].mask, masks[3] > 0)


def test_stack_of_images_in_one_hdf5_file(tmp_path: Path) -> None:
    import h5py

    images, masks = example_image(0, (6, 24, 32, 3)), np.stack([example_mask(i) for i in range(6)])
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"], file["y"] = images, masks[..., None]
    data = sg.data.open(tmp_path)
    assert len(data) == len(set(data.groups)) == 6
    assert np.array_equal(data[2].image, images[2])
    assert np.array_equal(data[2].mask, masks[2])


def test_hdf5_links_and_foreign_storage_are_refused(tmp_path: Path) -> None:
    import h5py

    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["image"] = np.ones((2, 8, 8))
    (tmp_path / "secret.raw").write_bytes(bytes(128))
    for name in "abc":
        with h5py.File(tmp_path / f"data/{name}.h5", "w") as file:
            file["label"] = np.zeros((2, 8, 8), np.uint8)
            if name == "a":
                file["image"] = np.ones((2, 8, 8))
            elif name == "b":
                file["image"] = h5py.ExternalLink("../secret.h5", "image")
            else:
                file.create_dataset("image", (2, 8, 8), "u1", external=[(str(tmp_path / "secret.raw"), 0, 128)])
    errors = [pair.error for pair in sg.data.open(tmp_path / "data").pairs()]
    assert [bool(error) for error in errors] == [False, False, True, True, True, True]


def test_class_lists_beside_the_data_name_the_classes(tmp_path: Path) -> None:
    for name, text in (
        ("classes.txt", "sky\nroad\ncar\n"),
        ("_classes.csv", "Pixel Value, Class\n0, sky\n1, road\n2, car\n"),
        ("label_map.json", json.dumps({"0": "sky", "1": "road", "2": "car"})),
        ("dataset.json", json.dumps({"labels": {"sky": 0, "road": 1, "car": 2}})),
    ):
        root = tmp_path / name
        for i in range(3):
            write(root / f"images/{i}.png", example_image(i))
            write(root / f"masks/{i}.png", example_mask(i, 3))
        (root / name).write_text(text)
        assert sg.data.open(root).spec.class_names == ("sky", "road", "car"), name


def test_pixels_of_no_number_are_told_or_read_as_one(tmp_path: Path) -> None:
    for i in range(3):
        pixels = np.random.default_rng(i).normal(size=(24, 32)).astype(np.float32)
        if i == 1:
            pixels[:2, :3], pixels[9, 9] = np.nan, -np.inf
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"images/{i}.tif")
        write(tmp_path / f"masks/{i}.png", example_mask(i))
    data = sg.data.open(tmp_path)
    with pytest.raises(DataError, match=r"1\.tif.*NaN or infinity=7, of=768.*--nan 0"):
        data[1]
    assert data.pair(1).error is None, "it can be read; what is in it the checks tell"
    assert sg.data.fingerprint(data).unreadable == ("1",)
    filled = sg.data.open(tmp_path, nan=-2)
    assert np.array_equal(filled[1].image == -2, ~np.isfinite(data.pair(1).image)[..., None])
    assert filled.source.filled == {"1"}
    assert sg.data.fingerprint(filled).samples == 3
    for wrong in (float("nan"), "0"):
        with pytest.raises(ArgumentError, match="`nan` is what pixels of no number are read as"):
            sg.data.open(tmp_path, nan=wrong)  # type: ignore[arg-type]
