"""What tools export: annotations, stacks, tables and records are read as the tool meant them."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.readers_fuzz import attack
from PIL import Image
from tests.references import polygons

import segnosis as sg
from segnosis.core import discovery
from segnosis.core.errors import DataError
from segnosis.data.readers import coco, crc32c, protobuf, tiff_pages, voc
from segnosis.data.readers.base import Folder, example_image, example_mask
from segnosis.data.readers.masks_drawn import polygon


def write(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("seed", range(6))
def test_polygons_are_filled_as_a_loop_fills_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(1, 20)), int(rng.integers(1, 24)))
    points = (rng.integers(-8, 56, (int(rng.integers(3, 9)), 2)) / 2).tolist()  # halves: many lie on pixel centres
    patch, drawn = polygon(np.array(points), size), np.zeros(size, bool)
    drawn[patch.where] = patch.pixels
    np.testing.assert_array_equal(drawn, polygons.fill(points, size))


def test_coco_takes_what_instances_tell(tmp_path: Path) -> None:
    """The official layout: JSON files apart from the images, key points beside instances, boxes alone, lost images."""
    for split in ("train", "val"):
        write(tmp_path / f"{split}2017/1.jpg", example_image(0))
        pictures = [{"id": 1, "file_name": "1.jpg", "height": 24, "width": 32}, {"id": 2, "file_name": "lost.jpg"}]
        box = [[4, 4, 12, 4, 12, 12, 4, 12]]
        drawn: list[dict[str, Any]] = [
            {"id": 1, "image_id": 1, "category_id": 18, "iscrowd": 0, "segmentation": box},
            {"id": 2, "image_id": 1, "category_id": 90, "iscrowd": 0, "segmentation": [[6, 6, 8, 6, 8, 8, 6, 8]]},
            {"id": 3, "image_id": 1, "category_id": 90, "iscrowd": 0, "segmentation": [], "bbox": [0, 0, 4, 4]},
        ]
        told = {"images": pictures, "annotations": drawn, "categories": [{"id": 18, "name": "dog"}]}
        (tmp_path / "annotations").mkdir(exist_ok=True)
        for kind in ("instances", "person_keypoints"):
            (tmp_path / f"annotations/{kind}_{split}2017.json").write_text(json.dumps(told))
    data = sg.data.open(tmp_path)
    assert {split: len(ids) for split, ids in data.splits.items()} == {"train": 1, "val": 1}
    assert data.spec.class_names == ("background", "dog", "category 90")
    assert "lost.jpg" in data.spec.saw and "2 annotations have a box but no outline" in data.spec.saw
    expected = np.zeros((24, 32), np.uint8)
    expected[4:12, 4:12], expected[6:8, 6:8] = 1, 2
    np.testing.assert_array_equal(data[0].mask, expected)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "C:\\secret.png"])
def test_names_in_files_never_lead_out(name: str, tmp_path: Path) -> None:
    write(tmp_path / "secret.png", example_image(0))
    layouts: dict[str, Any] = {
        "coco": {"images": [{"id": 1, "file_name": name}], "categories": [], "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]}]},
        "labelme": {"shapes": [], "imagePath": name, "imageData": None},
        "nnunet": {"labels": {"a": 0}, "training": [{"image": name, "label": "b.png"}]},
    }  # fmt: skip
    for reader, told in layouts.items():
        root = tmp_path / reader
        write(root / "b.png", example_mask(0))
        (root / "dataset.json").write_text(json.dumps(told))
        with pytest.raises(DataError, match="none outside is ever read"):
            sg.data.open(root)


def test_labelme_circles_and_damaged_files(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.png", example_image(i, (40, 40, 3)))
        shapes = [{"label": "disc", "points": [[20, 20], [20, 30]], "shape_type": "circle"}]
        told = {"shapes": shapes, "imagePath": f"{i}.png", "imageHeight": 40, "imageWidth": 40}
        (tmp_path / f"{i}.json").write_text(json.dumps(told) if i < 2 else "{")
    data = sg.data.open(tmp_path)
    rows, columns = np.mgrid[:40, :40] + 0.5
    distance = np.hypot(rows - 20, columns - 20)
    sure = np.abs(distance - 10) > 0.1
    np.testing.assert_array_equal(data[0].mask[sure], (distance < 10)[sure])
    assert data.pair(2).error and not data.pair(1).error


def test_decathlon_lists_its_pairs_and_nnunet_reads_pictures(tmp_path: Path) -> None:
    import nibabel

    root = tmp_path / "decathlon"
    (root / "imagesTr").mkdir(parents=True), (root / "labelsTr").mkdir()
    image, mask = np.ones((12, 10, 3, 2), np.float32), np.zeros((12, 10, 3), np.uint8)
    image[..., 1], mask[2:5, 2:5] = 7, 2
    for name in ("BRATS_001", "BRATS_002", "not listed"):
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), root / f"imagesTr/{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), root / f"labelsTr/{name}.nii.gz")
    listed = [{"image": f"./imagesTr/BRATS_00{i}.nii.gz", "label": f"./labelsTr/BRATS_00{i}.nii.gz"} for i in (1, 2, 3)]
    told = {"labels": {"0": "background", "1": "edema", "2": "tumour"}, "modality": {"0": "a", "1": "b"}}
    (root / "dataset.json").write_text(json.dumps({**told, "training": listed}))
    data = sg.data.open(root)
    assert (data.spec.reader, len(data), data.spec.channels) == ("nnunet", 6, 2)
    assert data.spec.class_names == ("background", "edema", "tumour")
    assert data[0].image[0, 0].tolist() == [1, 7] and data[0].mask[2:5, 2:5].all()

    root = tmp_path / "pictures"
    for i in range(4):
        write(root / f"imagesTr/road_{i}_0000.png", example_image(i))
        write(root / f"imagesTr/road_{i}_0001.png", example_image(i, (24, 32)))
        write(root / f"labelsTr/road_{i}.png", example_mask(i))
    labels = {"background": 0, "road": 1}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "channel_names": {}, "file_ending": ".png"}))
    data = sg.data.open(root)
    assert (data.spec.reader, len(data), data.spec.channels, data.spec.dtype) == ("nnunet", 4, 4, "uint8")
    assert np.array_equal(data[1].image, np.concatenate([example_image(1), example_image(1, (24, 32))[..., None]], 2))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "colour"])
def test_tiff_is_read_as_pillow_wrote_it(compression: str | None, kind: str) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (37, 53, 3)).astype(np.uint8) if kind == "colour" else None
    array = (rng.random((37, 53)) * 255).astype(kind) if array is None else array
    out = io.BytesIO()
    Image.fromarray(array).save(out, "TIFF", compression=compression)
    np.testing.assert_array_equal(tiff_pages.read(out.getvalue()), array)


def test_tiff_predictors_tiles_and_planes() -> None:
    import cv2

    deep = np.random.default_rng(0).integers(0, 65536, (37, 53, 3), dtype=np.uint16)
    stored = cv2.imencode(".tif", deep)[1].tobytes()  # LZW with differences
    np.testing.assert_array_equal(tiff_pages.read(stored), deep[..., ::-1])
    image = np.arange(2 * 20 * 24, dtype=np.uint16).reshape(2, 20, 24)
    tiles = np.zeros((2, 32, 32), ">u2")
    tiles[:, :20, :24] = image
    body = b"".join(tiles[b, r : r + 16, c : c + 16].tobytes() for b in (0, 1) for r in (0, 16) for c in (0, 16))
    offsets, counts = struct.pack(">8I", *(8 + 512 * k for k in range(8))), struct.pack(">8I", *[512] * 8)
    end = 8 + len(body)
    tags = [(256, 4, 1, 24), (257, 4, 1, 20), (258, 3, 2, 16 << 16 | 16), (277, 4, 1, 2), (284, 4, 1, 2)]
    tags += [(322, 4, 1, 16), (323, 4, 1, 16), (324, 4, 8, end), (325, 4, 8, end + 32)]
    table = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHII", *tag) for tag in tags) + bytes(4)
    stored = b"MM\0*" + struct.pack(">I", end + 64) + body + offsets + counts + table
    np.testing.assert_array_equal(tiff_pages.read(stored), image.transpose(1, 2, 0))


def test_geotiff_tells_the_size_of_a_pixel(tmp_path: Path) -> None:
    discovery.load("segnosis.data.readers", "tiff").example(tmp_path)
    data = sg.data.open(tmp_path)
    assert data[0].spacing == (500.0, 250.0)
    assert "of 5 bands, pixels of 500 × 250 mm" in data.spec.saw


def test_bombs_are_refused_by_their_headers(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for i in range(3):
        write(tmp_path / f"images/{i}.png", example_image(i))
        write(tmp_path / f"masks/{i}.png", example_mask(i))
    for i, (bits, colour) in enumerate(((8, 2), (16, 2))):
        head = struct.pack(">IIBBBBB", 13000, 13000, bits, colour, 0, 0, 0)
        bomb = (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", head)
            + chunk(b"IDAT", zlib.compress(bytes(1000)))
            + chunk(b"IEND", b"")
        )
        (tmp_path / f"images/{i}.png").write_bytes(bomb)
    data = sg.data.open(tmp_path)
    errors = [pair.error or "" for pair in data.pairs()]
    assert ["GiB in a file" in error or "bomb" in error.lower() for error in errors] == [True, True, False]


def test_example_of_tensorflow_is_understood() -> None:
    """By the protocol's own words: field 1 of field 1 holds pairs of a name and a feature."""
    encoded = b"\n\x1d\n\x0b\n\x01a\x12\x06\n\x04\n\x02xy\n\x0e\n\x01i\x12\x09\x1a\x07\n\x05\x03\xac\x02\x01\x02"
    assert protobuf.example(encoded)["a"] == [b"xy"]
    assert protobuf.example(encoded)["i"].tolist() == [3, 300, 1, 2]
    with pytest.raises(ValueError, match="field of"):
        protobuf.example(encoded[:-3])


@pytest.mark.parametrize("length", [0, 1, 9, 255, 256, 1000, 4097])
def test_checksum_equals_a_loop_over_bits(length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c.crc32c(data) == crc ^ 0xFFFFFFFF


def test_cityscapes_of_ones_own_keeps_its_classes(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / f"leftImg8bit/train/town/town_0_{i}_leftImg8bit.png", example_image(i))
        write(tmp_path / f"gtFine/train/town/town_0_{i}_gtFine_labelIds.png", example_mask(i, 3))
    assert sg.data.open(tmp_path).spec.class_names == ("background", "class 1", "class 2")


def test_voc_of_ones_own_keeps_its_classes(tmp_path: Path) -> None:
    voc.example(tmp_path)
    assert sg.data.open(tmp_path).spec.num_classes == 21
    (tmp_path / "classes.txt").write_text("0 sky\n5 road\n10 car\n15 person\n")
    spec = sg.data.open(tmp_path).spec
    assert spec.class_names == ("sky", "road", "car", "person") and spec.ignore_class == 255
    (tmp_path / "classes.txt").write_text("sky\nroad\n")  # values 10 and 15 are no classes of such a list
    assert sg.data.open(tmp_path).spec.num_classes == 21


def test_coco_is_not_seen_in_other_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"images": [], "notes": []}))
    assert coco.recognise(Folder.look(tmp_path)) is None


@pytest.mark.parametrize("name", discovery.names("segnosis.data.readers"))
def test_nothing_but_our_errors_comes_of_damaged_files(name: str, tmp_path: Path) -> None:
    needs = getattr(discovery.load("segnosis.data.readers", name), "NEEDS", ("numpy",))
    pytest.importorskip(needs[0])
    (tmp_path / "data").mkdir()
    outcome = attack(name, tmp_path / "data", 40, seed=5)
    assert not outcome.foreign
    assert not outcome.outside
    assert outcome.told > 0
    assert outcome.grown_mebibytes < 512
