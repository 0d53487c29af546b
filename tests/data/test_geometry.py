"""The coordinate map and its one sampling, held to a loop in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.references import warp

from segnosis.data.transforms import (
    Crop,
    Elastic,
    FlipHorizontal,
    FlipVertical,
    Pad,
    Perspective,
    Resize,
    Rot90,
    Rotate,
    Scale,
    Shear,
)
from segnosis.data.transforms.augment import apply, compose, preset
from segnosis.data.transforms.base import Canvas, Geometric, about
from segnosis.data.transforms.coordinate_map import CoordinateMap
from segnosis.data.transforms.sampling import sample


class Turn(Rotate):
    """Always by `degrees`."""

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        angle = math.radians(self.degrees)
        linear = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return about(canvas.centre, linear)


def picture(size: tuple[int, int], channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(size[0] * 100 + size[1])
    return rng.uniform(-50, 50, (*size, channels)).astype(np.float32), rng.integers(0, 1000, size, np.int32)


@pytest.mark.parametrize("chain", ["affine", "perspective", "elastic", "all"])
@pytest.mark.parametrize("size", [(3, 2), (23, 17), (31, 40)])
def test_equals_a_loop_over_pixels(chain: str, size: tuple[int, int]) -> None:
    affine: list[Geometric] = [Rotate(180.0), Scale(1.0, 1.6), Shear(20.0)]
    chains = {
        "affine": affine,
        "perspective": [Perspective(0.1)],
        "elastic": [Elastic(0.4, 3)],
        "all": [Crop((21, 24)), *affine, Elastic(0.3), Perspective(0.05), FlipVertical()],
    }
    image, mask = picture(size)
    for seed in range(4):
        where = compose(chains[chain], size, np.random.default_rng(seed))
        moved, classes = sample(where, image, mask, fill=99.0, outside=-1)
        points = where.points().astype(np.float64)
        wanted = warp.nearest(mask, points, -1)
        # A point on the very line between two pixels may fall to either.
        on_line = (np.abs(points - np.rint(points)) < 2e-3).any(axis=-1)
        np.testing.assert_array_equal(classes[~on_line], wanted[~on_line])
        np.testing.assert_array_equal((moved == 99.0).all(axis=-1), classes == -1)
        inside = classes != -1
        # OpenCV knows 32 places between two pixels: 1/64 of a pixel off, along each axis, in values up to 100 apart.
        np.testing.assert_allclose(moved[inside], warp.linear(image, points)[inside], atol=2 * 100 / 64 + 0.5)


@pytest.mark.parametrize("size", [(4, 6), (5, 5), (1, 3)])
def test_flips_are_numpys(size: tuple[int, int]) -> None:
    image, mask = picture(size)
    rng = np.random.default_rng(0)
    for transform, axis in ((FlipHorizontal(), 1), (FlipVertical(), 0)):
        moved, classes = apply([transform], image, mask, rng)
        np.testing.assert_array_equal(moved, np.flip(image, axis))
        np.testing.assert_array_equal(classes, np.flip(mask, axis))


@pytest.mark.parametrize("size", [(6, 6), (5, 5)])
def test_quarter_turns_are_numpys_and_all_four_come(size: tuple[int, int]) -> None:
    image, mask = picture(size)
    seen = set()
    for seed in range(20):
        moved, classes = apply([Rot90()], image, mask, np.random.default_rng(seed))
        turns = [k for k in range(4) if np.array_equal(classes, np.rot90(mask, k))]
        assert len(turns) == 1
        np.testing.assert_array_equal(moved, np.rot90(image, turns[0]))
        seen.update(turns)
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("size", [(6, 9), (7, 10), (12, 5)])
def test_quarter_turns_of_oblong_pictures_invent_no_values(size: tuple[int, int]) -> None:
    image, mask = picture(size)
    for seed in range(8):
        moved, classes = apply([Rot90()], image, mask, np.random.default_rng(seed), fill=99.0, outside=-1)
        seen = classes != -1
        assert seen.sum() >= min(size) * (min(size) - 1)
        value_of = dict(zip(mask.ravel().tolist(), image.reshape(-1, 3).tolist(), strict=True))
        if len(value_of) == mask.size:
            assert moved[seen].tolist() == [value_of[c] for c in classes[seen].tolist()]


def test_there_and_back_is_exact_because_sampling_happens_once() -> None:
    image, mask = picture((20, 27))
    for chain in ([Turn(37.0), Turn(-37.0)], [Turn(90.0)] * 4, [FlipHorizontal(), Turn(180.0), FlipVertical()]):
        moved, classes = apply(chain, image, mask, np.random.default_rng(0))
        np.testing.assert_array_equal(moved, image)
        np.testing.assert_array_equal(classes, mask)


def test_halving_averages_and_doubling_keeps_half_pixel_centres() -> None:
    image, mask = picture((12, 8), channels=5)
    half, _ = apply([Resize((6, 4))], image, mask, np.random.default_rng(0))
    np.testing.assert_allclose(half, image.reshape(6, 2, 4, 2, 5).mean(axis=(1, 3)), atol=1e-4)
    double, classes = apply([Resize((24, 16))], image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(classes, mask.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_allclose(double[1, 0], 0.75 * image[0, 0] + 0.25 * image[1, 0], atol=1e-4)


def test_shrinking_while_turning_does_not_alias() -> None:
    """A fine checkerboard shrunk to a quarter is grey, not the few squares that happen to be hit."""
    board = (np.indices((128, 128)).sum(axis=0) % 2 * 200).astype(np.uint8)[..., None]
    moved, _ = apply([Turn(20.0), Resize((32, 32))], board, np.zeros((128, 128), np.uint8), np.random.default_rng(0))
    middle = moved[8:24, 8:24, 0]
    assert abs(middle.mean() - 100) < 2
    assert middle.std() < 15


def test_window_shows_what_lies_beyond_it_when_turned() -> None:
    """The crop is part of the map: corners of a turned window come from the picture, not from the fill."""
    image, mask = picture((100, 100))
    for seed in range(5):
        where = [Crop((40, 40), "centre"), Rotate(45.0)]
        assert (apply(where, image, mask, np.random.default_rng(seed), outside=-1)[1] != -1).all()


def test_elastic_never_folds() -> None:
    for seed in range(20):
        field = Elastic(0.45, 4).field(np.random.default_rng(seed), (60, 80))
        across, down = np.gradient(field[..., 0], axis=(1, 0)), np.gradient(field[..., 1], axis=(1, 0))
        area = (1 + across[0]) * (1 + down[1]) - across[1] * down[0]
        assert area.min() > 0
        assert np.abs(field).max() > 1


def test_scale_halves_as_often_as_it_doubles() -> None:
    rng = np.random.default_rng(0)
    factors = [np.linalg.det(Scale(0.5, 2.0).matrix(rng, Canvas((9, 9)))) ** 0.5 for _ in range(400)]
    assert 0.5 <= min(factors) < 0.53
    assert 1.9 < max(factors) <= 2.0
    assert abs(np.mean(np.log(factors))) < 0.1


def test_outside_is_filled_as_told() -> None:
    image = np.stack([np.full((6, 6), 10), np.full((6, 6), 30)], axis=-1).astype(np.uint8)
    mask = np.ones((6, 6), np.uint8)
    for fill, wanted in (("mean", [10, 30]), (5.0, [5, 5]), ("reflect", [10, 30])):
        for chain in ([Crop((10, 10), "centre")], [Crop((10, 10), "centre"), Turn(30.0)]):
            moved, classes = apply(chain, image, mask, np.random.default_rng(0), fill=fill)
            assert moved[0, 0].tolist() == wanted
            assert classes[0, 0] == 255
            assert classes[5, 5] == 1
    ramp = np.arange(6, dtype=np.float32).reshape(1, 6, 1)
    mirrored, _ = apply([Crop((1, 10), "centre")], ramp, mask[:1], np.random.default_rng(0), fill="reflect")
    assert mirrored.ravel().tolist() == [1, 0, 0, 1, 2, 3, 4, 5, 5, 4]


def test_pad_shrinks_what_is_larger_and_enlarges_nothing() -> None:
    image, mask = np.ones((40, 20, 1), np.uint8), np.ones((40, 20), np.uint8)
    shrunk = apply([Pad((20, 20))], image, mask, np.random.default_rng(0), outside=7)[1]
    np.testing.assert_array_equal(shrunk, [[7] * 5 + [1] * 10 + [7] * 5] * 20)
    whole = apply([Pad((44, 22))], image, mask, np.random.default_rng(0), outside=7)[1]
    np.testing.assert_array_equal(whole, np.pad(mask, ((2, 2), (1, 1)), constant_values=7))


def test_pictures_beyond_opencvs_16_bits() -> None:
    image = np.arange(40_000, dtype=np.float32).reshape(-1, 1, 1).repeat(3, axis=1)
    mask = np.arange(40_000, dtype=np.int32)[:, None].repeat(3, axis=1)
    moved, classes = apply([Resize((100, 3))], image, mask, np.random.default_rng(0))
    np.testing.assert_allclose(moved[:, 0, 0], np.arange(100) * 400 + 199.5, atol=0.1)
    np.testing.assert_allclose(classes[:, 1], np.arange(100) * 400 + 200, atol=1)
    far, classes = apply([Crop((50, 3)), Turn(5.0)], image, mask, np.random.default_rng(1), outside=-1)
    seen = classes != -1
    assert np.abs(far[..., 0][seen] - classes[seen]).max() <= 0.52


def test_foreground_crops_contain_foreground_of_every_class_alike() -> None:
    mask = np.zeros((200, 150), np.uint8)
    mask[190:, :10], mask[50:120, 20:100] = 1, 2  # a rare class in a corner, and a common one
    image = np.zeros((200, 150, 1), np.uint8)
    points = tuple(np.argwhere(mask == c)[::7, ::-1] + 0.5 for c in (1, 2))
    counts = np.zeros(3)
    for seed in range(200):
        crop = Crop((32, 32), foreground_share=1.0)
        classes = apply([crop], image, mask, np.random.default_rng(seed), foreground=points, outside=9)[1]
        assert (classes != 9).all()  # the window stays in the picture, also around a corner
        counts += [(classes == c).any() for c in range(3)]
    assert counts[1] + counts[2] >= 200
    assert 70 < counts[1] < 130


@pytest.mark.parametrize("name", ["light", "default", "isotropic", "strong"])
def test_presets_keep_size_and_bounds(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
    mask = (image[..., 0] > 128).astype(np.uint8)
    for seed in range(10):
        moved, classes = apply(preset(name), image, mask, np.random.default_rng(seed))
        assert moved.shape == image.shape
        assert moved.min() >= 0
        assert moved.max() <= 255
        assert set(np.unique(classes)) <= {0, 1, 255}


def test_unknown_preset_and_foreign_transform_are_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean `default`"):
        preset("defualt")
    with pytest.raises(ValueError, match="sequence of transforms"):
        preset([lambda image: image])


def test_an_empty_map_is_the_identity_for_every_real_dtype() -> None:
    for dtype in (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float16, np.float64, bool):
        image = np.random.default_rng(0).integers(0, 2, (3, 4, 2)).astype(dtype)
        moved, classes = sample(CoordinateMap((3, 4)), image, image[..., 0].astype(bool))
        np.testing.assert_array_equal(moved, image.astype(np.float32))
        np.testing.assert_array_equal(classes, image[..., 0].astype(int))
