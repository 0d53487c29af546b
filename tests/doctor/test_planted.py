"""Faults planted in a folder of files, found through the same door a user takes; and what a look at it costs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segnosis as sg
from segnosis.core.sample import Pair
from segnosis.data.dataset import Dataset
from segnosis.doctor.check_data import check_data
from segnosis.doctor.evidence import label_census, pair_agreement
from segnosis.doctor.pair_patients import scenes

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, *range(9, 9 + 759)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixteen grey images and palette masks of the classes 0, 1 and 2; names with a space and an umlaut."""
    images, masks = scenes(16, seed=1)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for k, (image, mask) in enumerate(zip(images, masks, strict=True)):
        Image.fromarray(np.clip(image, 0, 255).astype("uint8")).save(tmp_path / "images" / f"Prüfung {k:02d}.png")
        save(mask * (1 + (np.arange(64) > 32)).astype("uint8"), mask_file(tmp_path, k))
    return tmp_path


def mask_file(folder: Path, k: int) -> Path:
    return folder / "masks" / f"Prüfung {k:02d}.png"


def save(mask: np.ndarray, file: Path) -> None:
    picture = Image.fromarray(mask.astype("uint8"))
    picture.putpalette([value % 256 for value in PALETTE])
    picture.save(file)


def found(folder: Path) -> dict[str, tuple[str, ...]]:
    diagnosis = check_data(sg.data.open(folder))
    return {finding.code: finding.where for finding in diagnosis.findings if finding.severity != "note"}


def test_the_folder_as_made_has_no_fault(folder: Path) -> None:
    assert not found(folder)


def test_a_palette_mask_saved_as_colours(folder: Path) -> None:
    Image.open(mask_file(folder, 3)).convert("RGB").save(mask_file(folder, 3))
    assert found(folder) == {"LAB006": (str(mask_file(folder, 3)),)}


def test_a_truncated_mask(folder: Path) -> None:
    kept = mask_file(folder, 4).read_bytes()
    mask_file(folder, 4).write_bytes(kept[: len(kept) // 2])
    where = found(folder)
    assert set(where) == {"DAT004"} and str(mask_file(folder, 4)) in where["DAT004"][0]


def test_a_mask_of_another_size(folder: Path) -> None:
    save(np.asarray(Image.open(mask_file(folder, 5)))[:40], mask_file(folder, 5))
    assert found(folder) == {"DAT002": (str(mask_file(folder, 5)),)}


def test_swapped_masks(folder: Path) -> None:
    one, two = mask_file(folder, 2), mask_file(folder, 11)
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    assert {code: set(where) for code, where in found(folder).items()} == {"DAT001": {str(one), str(two)}}


def test_every_file_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[int] = Counter()
    original = Dataset.pair

    def counting(self: Dataset, index: int) -> Pair:
        reads[index] += 1
        return original(self, index)

    monkeypatch.setattr(Dataset, "pair", counting)
    check_data(sg.data.open(folder))
    assert reads == Counter(range(16))


def test_what_is_kept_does_not_grow_with_the_number_of_pairs() -> None:
    images, masks = scenes(4, size=32)
    agreement, census = pair_agreement.Scan(), label_census.Scan()
    for k in range(pair_agreement.KEPT + 80):
        pair = Pair(images[k % 4], masks[k % 4], str(k), str(k))
        agreement.add(pair)
        census.add(pair)
    assert len(agreement._kept) == pair_agreement.KEPT and len(agreement._suspects) <= pair_agreement.SUSPECTS
    assert all(len(count.where.where) <= 20 for count in census.result().values.values())
