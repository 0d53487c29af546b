"""Tiled prediction, held to a loop over windows and pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segnosis.data.tiles import predict_rows, predict_tiled, tile_positions


def context(batch: np.ndarray) -> np.ndarray:
    """A stand-in for a model: looks at the whole window, so every window answers differently."""
    edge = np.linspace(-1, 1, batch.shape[2])[None, None, :, None]
    return np.concatenate(
        [batch[..., :1] * 2 + edge, batch[..., 1:2].mean(axis=(1, 2), keepdims=True) + 0 * batch[..., :1]], -1
    )


def loop(image: np.ndarray, window: tuple[int, int], overlap: float, blend: str) -> np.ndarray:
    """The definition: every pixel the weighted mean of the windows over it."""
    total, weights = np.zeros((*image.shape[:2], 2)), np.zeros(image.shape[:2])
    for top, left in tile_positions(image.shape[:2], window=window, overlap=overlap):
        answer = context(image[None, top : top + window[0], left : left + window[1]])[0]
        for i, j in itertools.product(range(window[0]), range(window[1])):
            weight = 1.0
            if blend == "gaussian":
                for at, side in ((i, window[0]), (j, window[1])):
                    weight *= np.exp(-((at + 0.5 - side / 2) ** 2) / (2 * (side / 8) ** 2))
            total[top + i, left + j] += weight * answer[i, j]
            weights[top + i, left + j] += weight
    return total / weights[..., None]


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize(
    ("size", "window", "overlap"),
    [((8, 8), (8, 8), 0.5), ((21, 34), (8, 12), 0.5), ((17, 9), (8, 8), 0.0), ((20, 20), (7, 5), 0.75)],
)
def test_equals_a_loop(size: tuple[int, int], window: tuple[int, int], overlap: float, blend: str) -> None:
    image = np.random.default_rng(0).normal(size=(*size, 3)).astype(np.float32)
    out = predict_tiled(context, image, window=window, overlap=overlap, blend=blend, batch_size=3)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, loop(image, window, overlap, blend), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (15, 16), (16, 16), (17, 16), (50, 33)])
def test_a_pointwise_model_sees_no_windows(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).normal(size=(*size, 2)).astype(np.float32)
    out = predict_tiled(lambda x: 3 * x + 1, image, window=16)
    assert out.shape == image.shape
    np.testing.assert_allclose(out, 3 * image + 1, atol=1e-5)


def test_small_images_are_mirrored_up_to_the_window() -> None:
    seen = []
    predict_tiled(lambda x: seen.append(x) or x, np.arange(3.0).reshape(1, 3, 1), window=(2, 5))
    assert seen[0][0, ..., 0].tolist() == [[0, 1, 2, 2, 1], [0, 1, 2, 2, 1]]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("size", [(16, 16), (17, 47), (100, 33)])
def test_positions_cover_everything_and_overlap_enough(size: tuple[int, int], overlap: float) -> None:
    positions = tile_positions(size, window=(16, 12), overlap=overlap)
    covered = np.zeros(size, int)
    for top, left in positions:
        assert 0 <= top <= size[0] - 16
        assert 0 <= left <= size[1] - 12
        covered[top : top + 16, left : left + 12] += 1
    assert covered.min() >= 1
    assert len(set(positions)) == len(positions)
    for starts, side in ((sorted({p[0] for p in positions}), 16), (sorted({p[1] for p in positions}), 12)):
        assert np.diff(starts).max(initial=0) <= side * (1 - overlap)


def test_windows_come_in_batches_no_larger_than_told() -> None:
    sizes = []
    predict_tiled(lambda x: sizes.append(len(x)) or x, np.zeros((40, 40, 1)), window=16, batch_size=5)
    assert max(sizes) == 5
    assert sum(sizes) == 16


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"overlap": 1.0}, "up to but not 1"),
        ({"blend": "gausian"}, "Did you mean `gaussian`"),
        ({"window": 0}, "at least one pixel"),
    ],
)
def test_bad_arguments_are_named(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        predict_tiled(lambda x: x, np.zeros((20, 20, 1)), **{"window": 8, **settings})


def test_a_model_that_changes_the_size_is_named() -> None:
    with pytest.raises(ValueError, match=r"prediction=\(1, 4, 4, 1\)"):
        predict_tiled(lambda x: x[:, ::2, ::2], np.zeros((8, 8, 1)), window=8)


def test_rows_are_given_as_soon_as_they_are_final() -> None:
    image = np.random.default_rng(0).normal(size=(300, 50, 1)).astype(np.float32)
    lowest = 0

    def read(top: int, left: int, height: int, width: int) -> np.ndarray:
        nonlocal lowest
        lowest = max(lowest, top + height)
        return image[top : top + height, left : left + width]

    done = 0
    for top, rows in predict_rows(lambda x: 2 * x, read, (300, 50), window=16, overlap=0.5, batch_size=2):
        assert top == done
        np.testing.assert_allclose(rows, 2 * image[top : top + len(rows)], atol=1e-5)
        done += len(rows)
        assert lowest - done <= 16 + 8, "no more is read than the windows that see the next row"
    assert done == 300
