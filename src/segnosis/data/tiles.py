"""Prediction of images of any size, window by window, blended without seams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from segnosis.core.errors import ArgumentError, did_you_mean

Blend = Literal["gaussian", "constant"]


def predict_tiled(
    predict_fn: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    window: int | tuple[int, int],
    overlap: float = 0.5,
    blend: Blend = "gaussian",
    batch_size: int = 4,
) -> np.ndarray:
    """Prediction of a whole image from overlapping windows.

    Every pixel is the weighted mean of the windows that see it. Images smaller than the window are mirrored at their
    edges up to it, and cut back. Beside the result only the windows of one batch are held.

    Args:
        predict_fn: Batch `(n, height, width, channels)` of windows → `(n, height, width, classes)`.
        image: `(height, width, channels)`.
        window: Size of the windows in pixels, `(height, width)` or one number.
        overlap: Share of a window that its neighbour sees too, from 0 up to but not 1.
        blend: `"gaussian"` trusts a window's middle most, where it sees most around; `"constant"` trusts all alike.
        batch_size: Windows given to `predict_fn` at once.

    Returns:
        `(height, width, classes)` float32: the mean of what `predict_fn` gives, logits or probabilities.

    Reference:
        Isensee et al., "nnU-Net", Nature Methods 2021 (Gaussian importance weighting).

    Example:
        >>> image = np.arange(35.0).reshape(5, 7, 1)
        >>> out = predict_tiled(lambda x: 2 * x, image, window=4)
        >>> bool(np.allclose(out, 2 * image))
        True
    """
    window = (window, window) if isinstance(window, int) else (int(window[0]), int(window[1]))
    height, width = image.shape[:2]
    padded = _mirrored(image, window)
    weight = _weight(window, blend)[..., None]
    positions = tile_positions(padded.shape[:2], window=window, overlap=overlap)
    total: np.ndarray | None = None
    weights = np.zeros((*padded.shape[:2], 1), np.float32)
    for first in range(0, len(positions), batch_size):
        places = positions[first : first + batch_size]
        tiles = [(slice(top, top + window[0]), slice(left, left + window[1])) for top, left in places]
        predicted = np.asarray(predict_fn(np.stack([padded[tile] for tile in tiles])))
        if predicted.ndim != 4 or predicted.shape[:3] != (len(tiles), *window):
            raise ArgumentError(
                "`predict_fn` gives one value per class for every pixel of the windows it gets.",
                received={"windows": (len(tiles), *window, image.shape[2]), "prediction": predicted.shape},
                cure="Give a window that the model does not change in size, such as a multiple of 32.",
            )
        if total is None:
            total = np.zeros((*padded.shape[:2], predicted.shape[3]), np.float32)
        for tile, values in zip(tiles, predicted, strict=True):
            total[tile] += weight * values
            weights[tile] += weight
    assert total is not None
    total /= weights
    return total[:height, :width]


def tile_positions(
    size: tuple[int, int], *, window: tuple[int, int], overlap: float = 0.5
) -> tuple[tuple[int, int], ...]:
    """Top left corners `(row, column)` of the fewest evenly spread windows that cover `size` with this overlap.

    Args:
        size: `(height, width)` of the image, at least the window's.
        window: `(height, width)` of the windows.
        overlap: Least share of a window that its neighbour sees too, from 0 up to but not 1.

    Example:
        >>> tile_positions((4, 10), window=(4, 4), overlap=0.5)
        ((0, 0), (0, 2), (0, 4), (0, 6))
    """
    if not 0 <= overlap < 1:
        raise ArgumentError(
            "Windows overlap by a share from 0 up to but not 1.",
            received={"overlap": overlap},
            cure="Pass overlap=0.5.",
        )
    if min(window) < 1 or window[0] > size[0] or window[1] > size[1]:
        raise ArgumentError(
            "A window has at least one pixel and fits into the image.",
            received={"window": window, "size": size},
            cure="Pass a smaller window, or pad the image as `predict_tiled` does.",
        )
    rows, columns = (_starts(length, side, overlap) for length, side in zip(size, window, strict=True))
    return tuple((row, column) for row in rows for column in columns)


def _starts(length: int, side: int, overlap: float) -> list[int]:
    step = max(1, int(side * (1 - overlap)))
    count = -(-(length - side) // step) + 1
    return [round(k * (length - side) / max(1, count - 1)) for k in range(count)]


def _mirrored(image: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    missing = [max(0, side - length) for side, length in zip(window, image.shape[:2], strict=True)]
    if not any(missing):
        return image
    return np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")


def _weight(window: tuple[int, int], blend: Blend) -> np.ndarray:
    if blend not in ("gaussian", "constant"):
        raise ArgumentError(
            'Windows are blended "gaussian" or "constant".',
            received={"blend": blend},
            cure=did_you_mean(str(blend), ("gaussian", "constant")),
        )
    if blend == "constant":
        return np.ones(window, np.float32)
    # Standard deviation an eighth of the window (nnU-Net's): the border weighs 1/3000 of the middle, and never nothing.
    rows, columns = (np.exp(-0.5 * ((np.arange(side) + 0.5 - side / 2) / (side / 8)) ** 2) for side in window)
    return np.outer(rows, columns).astype(np.float32)
