"""Every transform keeps image and mask together; the photometric ones leave the mask alone."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

from segnosis.core import discovery
from segnosis.data import transforms as package
from segnosis.data.transforms.augment import apply
from segnosis.data.transforms.base import Geometric, Mixing, Photometric, Transform

pytestmark = pytest.mark.one_backend
NAMES = discovery.names("segnosis.data.transforms")
SIZES = [(1, 1), (1, 7), (2, 3), (17, 24), (33, 14), (64, 64)]
DTYPES = [np.uint8, np.uint16, np.float32, np.float64]
OUTSIDE = -1


def make(name: str, **settings: object) -> Transform:
    """The transform with its defaults; one that sets the size gets an odd one."""
    made = getattr(package, package.class_name(name))
    if "size" in inspect.signature(made).parameters:
        settings["size"] = (19, 22)
    return made(**settings)


def grid(size: tuple[int, int], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Column and row numbers as a five-channel image, and the pixel's own number as class id."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    image = np.stack([columns, rows, columns, rows, columns], axis=-1).astype(dtype)
    return image, (rows * size[1] + columns).astype(np.int32)


def kinds(kind: type[Transform]) -> list[str]:
    return [name for name in NAMES if isinstance(make(name), kind)]


@pytest.mark.parametrize("name", NAMES)
def test_is_one_frozen_class_of_one_kind(name: str) -> None:
    transform = make(name)
    assert sum(isinstance(transform, kind) for kind in (Geometric, Photometric, Mixing)) == 1
    assert dataclasses.is_dataclass(transform)
    assert dataclasses.replace(transform) == transform  # settings are stored unchanged
    with pytest.raises(dataclasses.FrozenInstanceError):
        transform.probability = 0.5  # type: ignore[misc]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", kinds(Geometric))
def test_coordinate_grid_is_the_same_as_image_and_as_mask(name: str, dtype: type) -> None:
    transform = make(name)
    for size in SIZES:
        image, mask = grid(size, dtype)
        for seed in range(4):
            moved, classes = apply([transform], image, mask, np.random.default_rng(seed), outside=OUTSIDE, fill=-7)
            assert moved.dtype == np.float32
            assert moved.shape == (*classes.shape, 5)
            seen = classes != OUTSIDE
            rows, columns = np.divmod(classes[seen], size[1])
            # Nearest is half a pixel off at most; where the image is averaged down, its edge is as wide as one result.
            shrunk = max(1.0, size[0] / moved.shape[0], size[1] / moved.shape[1]) if transform.sets_size else 1.0
            tolerance = 0.52 + (0.5 * shrunk if shrunk > 1 else 0) + (0 if dtype != np.uint8 else 0.5)
            assert np.abs(moved[seen][:, 0] - columns).max(initial=0) <= tolerance
            assert np.abs(moved[seen][:, 1] - rows).max(initial=0) <= tolerance
            np.testing.assert_array_equal(moved[..., :2], moved[..., 2:4])  # every channel by the same map
            # Outside is outside in both. The fill is a value no coordinate has, but for uint8, which has no -7.
            if dtype != np.uint8:
                np.testing.assert_array_equal(moved[..., 0] == -7, ~seen)


@pytest.mark.parametrize("name", kinds(Geometric))
def test_mask_does_not_depend_on_its_dtype_nor_on_the_image(name: str) -> None:
    transform = make(name)
    image, mask = grid((17, 14), np.float32)
    wide = apply([transform], image, mask, np.random.default_rng(1), outside=255)[1]
    for kind in (np.uint8, np.int16, np.int64):
        narrow = apply([transform], image[..., :1].astype(np.uint8), mask.astype(kind), np.random.default_rng(1))[1]
        np.testing.assert_array_equal(narrow, wide)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", kinds(Photometric))
def test_photometric_changes_the_image_alone(name: str, dtype: type, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 4, size, np.int32)
    for channels in (1, 3, 5):
        image = (rng.uniform(0, 1, (*size, channels)) * 200).astype(dtype)
        before = image.copy()
        changed, same = apply([make(name)], image, mask, np.random.default_rng(3))
        np.testing.assert_array_equal(same, mask)
        np.testing.assert_array_equal(image, before)
        assert changed.shape == image.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        if dtype == np.uint8:
            assert changed.min() >= 0
            assert changed.max() <= 255


@pytest.mark.parametrize("name", kinds(Photometric))
def test_photometric_means_the_same_for_every_range_of_values(name: str) -> None:
    """An image in 0–1 and the same in Hounsfield-like numbers change alike."""
    unit = np.random.default_rng(0).uniform(0, 1, (16, 12, 3)).astype(np.float32)
    scaled = unit * 3000 - 1000
    first, second = (apply([make(name)], image, None, np.random.default_rng(5))[0] for image in (unit, scaled))
    np.testing.assert_allclose(first * 3000 - 1000, second, atol=3.0)  # of 3000: float32 rounding


@pytest.mark.parametrize("name", [name for name in kinds(Mixing) if make(name).soft])
def test_soft_mixing_gives_pixel_and_truth_the_same_shares(name: str) -> None:
    """A class's pixels hold its own number, so the mixed pixel is what the mixed truth says, whatever the shares."""
    rng, changed = np.random.default_rng(0), False
    ids = rng.integers(0, 4, (3, 12, 9))
    x, y = (10.0 + ids[..., None]).astype(np.float32), np.eye(4, dtype=np.float32)[ids]
    y[1, :4] = 0  # ignored
    before = x.copy(), y.copy()
    for seed in range(5):
        mixed_x, mixed_y = make(name).mix(np.random.default_rng(seed), x, y)
        known = mixed_y.any(axis=-1)
        np.testing.assert_allclose(mixed_y.sum(axis=-1)[known], 1.0, atol=1e-6)
        np.testing.assert_allclose(mixed_x[known][:, 0], mixed_y[known] @ (10.0 + np.arange(4)), atol=1e-4)
        assert not known[1, :4].any()
        assert mixed_x.dtype == mixed_y.dtype == np.float32
        changed |= bool(((mixed_y > 0) & (mixed_y < 1)).any())
    assert changed
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("name", [name for name in kinds(Mixing) if not make(name).soft])
def test_mixing_keeps_image_and_mask_together(name: str) -> None:
    number = np.arange(3)[:, None, None]
    image, mask = grid((12, 9), np.float32)
    x = np.broadcast_to(image, (3, *image.shape)) + 1000.0 * number[..., None]
    y = mask + 1000 * number
    before = x.copy(), y.copy()
    changed = False
    for seed in range(5):
        mixed_x, mixed_y = make(name).mix(np.random.default_rng(seed), x, y)
        source, place = np.divmod(mixed_y, 1000)
        np.testing.assert_array_equal(mixed_x[..., 0], 1000 * source + place % 9)
        np.testing.assert_array_equal(mixed_x[..., 1], 1000 * source + place // 9)
        changed |= bool((mixed_y != y).any())
    assert changed
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("name", NAMES)
def test_same_random_state_gives_the_same_bits_and_another_does_not(name: str) -> None:
    image, mask = grid((40, 32), np.uint8)

    def run(seed: int) -> tuple[np.ndarray, np.ndarray]:
        transform, rng = make(name), np.random.default_rng(seed)
        if isinstance(transform, Mixing):
            x, y = np.stack([image, image[::-1]]).astype(np.float32), np.stack([mask, mask[::-1]])
            y = np.eye(8, dtype=np.float32)[y % 8] if transform.soft else y
            return transform.mix(rng, x, y)
        return apply([transform], image[..., :3], mask, rng)

    results = [run(seed) for seed in (0, 0, 1, 2, 3, 4)]
    for first, second in zip(results[0], results[1], strict=True):
        np.testing.assert_array_equal(first, second)
    if make(name).neutral is not None:  # it has a strength, so it draws one
        assert any(not np.array_equal(results[0][0], other[0]) for other in results[2:])


@pytest.mark.parametrize("name", [name for name in NAMES if make(name).neutral is not None])
def test_neutral_settings_change_nothing_at_all(name: str) -> None:
    transform = make(name, **(make(name).neutral or {}))
    for size in SIZES:
        for dtype in DTYPES:
            image, mask = grid(size, dtype)
            image = image[..., :3] + np.asarray(3, dtype)
            rng = np.random.default_rng(0)
            if isinstance(transform, Mixing):
                x, y = transform.mix(rng, np.stack([image, image]).astype(np.float32), np.stack([mask, mask + 1]))
                np.testing.assert_array_equal(y, np.stack([mask, mask + 1]))
                x = x[0]
            else:
                x, y = apply([transform], image, mask, rng)
                np.testing.assert_array_equal(y, mask)
            np.testing.assert_array_equal(x, image.astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_probability_zero_never_applies_it_and_others_are_refused(name: str) -> None:
    transform = make(name, probability=0.0)
    if not isinstance(transform, Mixing):
        image, mask = grid((9, 8), np.float32)
        x, y = apply([transform], image, mask, np.random.default_rng(0))
        np.testing.assert_array_equal(x, image)
        np.testing.assert_array_equal(y, mask)
    with pytest.raises(ValueError, match=r"Received: probability=1\.5"):
        make(name, probability=1.5)
