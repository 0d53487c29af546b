"""What stored values mean: each case is a set of masks and the classes a person would see in them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segnosis as sg
from segnosis.core.errors import ArgumentError, DataError
from segnosis.core.sample import Pair
from segnosis.data.census import IGNORE, Census
from segnosis.data.labels import infer
from segnosis.data.readers.base import example_image, example_mask


def census_of(masks: list[np.ndarray], *, suffix: str = ".png") -> Census:
    census = Census()
    for i, mask in enumerate(masks):
        census.add(Pair(np.zeros(mask.shape[:2], np.uint8), mask, str(i), str(i), mask_file=Path(f"{i}{suffix}")))
    return census


def stored(values: list[int], *, number: int = 6) -> list[np.ndarray]:
    """Masks of rectangles, one for each of `values` but the first, in the first value."""
    return [np.array(values)[example_mask(i, len(values), (48, 64))].astype(np.uint8) for i in range(number)]


def discs(values: list[int], *, number: int = 6) -> list[np.ndarray]:
    """Masks of discs, one for each of `values` but the first: borders in every direction, as real ones are."""
    rows, columns = np.mgrid[:96, :128]
    masks = []
    for i in range(number):
        rng, mask = np.random.default_rng(i), np.full((96, 128), values[0], np.uint8)
        for k, value in enumerate(values[1:], start=1):
            centre = rng.integers(20, 76), 128 * k / len(values)
            mask[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < rng.integers(12, 20) ** 2] = value
        masks.append(mask)
    return masks


def border(masks: list[np.ndarray], value: int = 255) -> list[np.ndarray]:
    """A frame of `value` round each mask."""
    for mask in masks:
        mask[:2] = mask[-2:] = value
    return masks


def jpeg(mask: np.ndarray, quality: int = 75) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def smooth(mask: np.ndarray) -> np.ndarray:
    """Enlarged with interpolation."""
    return np.asarray(Image.fromarray(mask).resize((160, 120), Image.Resampling.BICUBIC))


CASES = {
    # name: (masks, stored value → class id)
    "two values": (stored([0, 255]), {0: 0, 255: 1}),
    "two values, few": (stored([0, 1]), {0: 0, 1: 1}),
    "ids": (stored([0, 1, 2, 3]), {0: 0, 1: 1, 2: 2, 3: 3}),
    "ids from one": (stored([1, 2, 3]), {1: 0, 2: 1, 3: 2}),
    "ids with a gap": (stored([0, 1, 2, 4]), {0: 0, 1: 1, 2: 2, 4: 3}),
    "grey levels": (stored([0, 85, 170, 255]), {0: 0, 85: 1, 170: 2, 255: 3}),
    "three grey levels": (stored([0, 128, 255]), {0: 0, 128: 1, 255: 2}),
    "ids with a void border": (border(stored([0, 1, 2, 3])), {0: 0, 1: 1, 2: 2, 3: 3, 255: IGNORE}),
    "two ids with a void border": (border(stored([0, 1])), {0: 0, 1: 1, 255: IGNORE}),
    "many ids with a void": (
        border([np.tile(np.arange(150, dtype=np.uint8), (20, 4))] * 3),
        {**{i: i for i in range(150)}, 255: IGNORE},
    ),
    "minus one": (
        [np.where(mask == 2, -1, mask.astype(np.int16)) for mask in stored([0, 1, 2])],
        {0: 0, 1: 1, -1: IGNORE},
    ),
    "grey stored as colour": ([np.stack([m] * 3, axis=-1) for m in stored([0, 255])], {0: 0, 255: 1}),
    "float ids": ([m.astype(np.float32) for m in stored([0, 1, 2])], {0: 0, 1: 1, 2: 2}),
    "one slip of the pen": (
        [*stored([0, 1, 2], number=40), np.pad(np.full((1, 1), 77, np.uint8), ((0, 47), (0, 63)))],
        {0: 0, 1: 1, 2: 2},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_become_classes(case: str) -> None:
    masks, values = CASES[case]
    scheme = infer(census_of(masks))
    assert scheme.values == values
    assert (scheme.ignore_class == IGNORE) == (IGNORE in values.values())
    assert len(scheme.class_names) == len({v for v in values.values() if v != IGNORE})
    plane = masks[0] if masks[0].ndim == 2 else masks[0][..., 0]
    slow = np.vectorize(lambda value: values.get(int(value), IGNORE))(plane)
    assert np.array_equal(scheme.decode(masks[0]), slow)


@pytest.mark.parametrize("spoil", [jpeg, smooth, lambda mask: np.stack([jpeg(mask)] * 3, axis=-1)])
@pytest.mark.parametrize("values", [[0, 255], [0, 128, 255]])
def test_fuzz_does_not_become_classes(spoil: object, values: list[int]) -> None:
    exact = discs(values)
    spoilt = [spoil(mask) for mask in exact]  # type: ignore[operator]
    scheme = infer(census_of(spoilt, suffix=".png" if spoil is smooth else ".jpg"))
    assert sorted(scheme.values) == values
    decoded = scheme.decode(spoilt[0])
    truth = np.asarray(
        Image.fromarray(np.searchsorted(values, exact[0]).astype(np.uint8)).resize(decoded.shape[::-1], 0)
    )
    assert np.mean(decoded == truth) > 0.97


def test_rare_classes_are_no_fuzz() -> None:
    masks = []
    for i in range(20):
        mask = np.zeros((60, 60), np.uint8)
        mask[0, :3], mask[5, :2], mask[-1] = 15, i, 255
        masks.append(mask)
    assert infer(census_of(masks)).values == {**{i: i for i in range(20)}, 255: IGNORE}


def test_one_spoilt_mask_among_many_changes_no_class() -> None:
    masks = stored([0, 1, 2, 3], number=20)
    census = census_of(masks)
    census.add(Pair(None, jpeg(masks[0] * 80), "j", "j", mask_file=Path("j.jpg")))
    census.add(Pair(None, example_image(0), "c", "c", mask_file=Path("c.png")))
    scheme = infer(census)
    assert scheme.values == {0: 0, 1: 1, 2: 2, 3: 3}
    with pytest.raises(ValueError, match="colour picture"):
        scheme.decode(example_image(0))


def test_colours_become_classes_and_tables_name_them() -> None:
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
    masks = [colours[example_mask(i, 3)] for i in range(4)]
    scheme = infer(census_of(masks))
    assert scheme.class_names == ("background", "#008000", "#800000")
    assert np.array_equal(scheme.decode(masks[1]), np.array([0, 2, 1])[example_mask(1, 3)])
    named = infer(census_of(masks), names_by_value={0x800000: "road", 0: "rest", 0x008000: "tree", 0x111111: "sky"})
    assert named.class_names == ("rest", "road", "tree", "sky")
    assert named.values == {0: 0, 0x800000: 1, 0x008000: 2, 0x111111: 3}
    void = infer(census_of(masks), names_by_value={0: "Void", 0x800000: "road", 0x008000: "tree"})
    assert void.values == {0: IGNORE, 0x800000: 0, 0x008000: 1}


def test_colours_of_voc_have_their_void() -> None:
    colours = np.array([[0, 0, 0], [128, 0, 0], [224, 224, 192]], np.uint8)
    scheme = infer(census_of([colours[example_mask(i, 3)] for i in range(4)]))
    assert scheme.ignore_class == IGNORE
    assert scheme.values == {0: 0, 0x800000: 1, 0xE0E0C0: IGNORE}


def test_object_numbers_are_one_class() -> None:
    masks = []
    for number in (45, 38, 52):
        flat = np.zeros(60 * 60, np.uint16)
        flat[: 8 * number] = np.repeat(np.arange(1, number + 1), 8)
        masks.append(flat.reshape(60, 60))
    scheme = infer(census_of(masks))
    assert scheme.class_names == ("background", "foreground")
    assert np.array_equal(scheme.decode(masks[0]), masks[0] > 0)


def test_names_and_ignored_value_that_the_user_tells() -> None:
    scheme = infer(census_of(stored([0, 1, 3])), class_names=["sky", "road", "tree", "car"])
    assert scheme.values == {0: 0, 1: 1, 2: 2, 3: 3}
    scheme = infer(census_of(stored([0, 255])), class_names=["membrane", "interior"])
    assert (scheme.values, scheme.class_names) == ({0: 0, 255: 1}, ("membrane", "interior"))
    scheme = infer(census_of(stored([0, 1, 4])), ignore_value=4, ignore_told=True)
    assert scheme.values == {0: 0, 1: 1, 4: IGNORE}
    scheme = infer(census_of(border(stored([0, 1, 2]))), ignore_value=2, ignore_told=True)
    assert scheme.values == {0: 0, 1: 1, 255: 2, 2: IGNORE}
    with pytest.raises(ArgumentError, match="3 names"):
        infer(census_of(stored([0, 100, 200])), class_names=["a", "b"])


def test_pictures_as_masks_are_an_error() -> None:
    with pytest.raises(ArgumentError, match="pictures or object numbers"):
        infer(census_of([np.arange(48 * 64, dtype=np.int32).reshape(48, 64) * 7 % 1009] * 2))


def test_memory_of_the_census_is_bounded() -> None:
    census = Census()
    rng = np.random.default_rng(0)
    for _ in range(6):
        census.add_mask(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    assert all(len(counts.pixels) <= 3 * Census.MOST for counts in census.kinds.values())


def test_a_colour_mask_among_palettes_is_a_clear_error(tmp_path: Path) -> None:
    from segnosis.data.readers import voc

    voc.example(tmp_path)
    path = tmp_path / "SegmentationClass" / "2007_000001.png"
    with Image.open(path) as image:
        colour = image.convert("RGB")
    colour.save(path)
    data = sg.data.open(tmp_path)
    assert data.spec.class_names == voc.CLASS_NAMES
    assert data.pair(1).mask.ndim == 3  # type: ignore[union-attr]
    with pytest.raises(DataError, match="2007_000001"):
        data[1]


def test_voc_masks_saved_as_colours_keep_their_classes(tmp_path: Path) -> None:
    from segnosis.data.readers import voc

    truths = voc.example(tmp_path)
    colours = {0: (0, 0, 0), 5: (128, 0, 128), 10: (64, 128, 0), 15: (192, 128, 128), 255: (224, 224, 192)}
    for truth in truths:
        picture = np.array([[colours[int(value)] for value in row] for row in truth.mask], np.uint8)
        Image.fromarray(picture).save(tmp_path / "SegmentationClass" / f"{truth.id}.png")
    data = sg.data.open(tmp_path)
    assert data.spec.class_names == voc.CLASS_NAMES
    assert all(np.array_equal(sample.mask, truth.mask) for sample, truth in zip(data, truths, strict=True))
