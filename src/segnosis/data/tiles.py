"""Prediction of images of any size, window by window, blended without seams."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from segnosis.core.errors import ArgumentError, did_you_mean

Blend = Literal["gaussian", "constant"]
_ROWS = 128
"""Most rows that are given at once."""


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
    edges up to it, and cut back. Beside the result only the windows of one batch are held; an image larger than memory
    goes through `predict_rows`.

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
    height, width = image.shape[:2]

    def read(top: int, left: int, rows: int, columns: int) -> np.ndarray:
        return image[top : top + rows, left : left + columns]

    out: np.ndarray | None = None
    for top, rows in predict_rows(
        predict_fn, read, (height, width), window=window, overlap=overlap, blend=blend, batch_size=batch_size
    ):
        out = np.empty((height, width, rows.shape[2]), np.float32) if out is None else out
        out[top : top + len(rows)] = rows
    assert out is not None
    return out


def predict_rows(
    predict_fn: Callable[[np.ndarray], np.ndarray],
    read: Callable[[int, int, int, int], np.ndarray],
    size: tuple[int, int],
    *,
    window: int | tuple[int, int],
    overlap: float = 0.5,
    blend: Blend = "gaussian",
    batch_size: int = 4,
) -> Iterator[tuple[int, np.ndarray]]:
    """`predict_tiled` from top to bottom, for images larger than memory: rows are given as soon as they are final.

    Held are the windows of one batch and the rows that windows still to come will see, about one window high.

    Args:
        predict_fn, window, overlap, blend, batch_size: As in `predict_tiled`.
        read: `(top, left, height, width)` → those pixels, `(height, width, channels)`; called once a window.
        size: `(height, width)` of the image.

    Yields:
        Top row and `(rows, width, classes)` float32; together they are the image.
    """
    window = (window, window) if isinstance(window, int) else (int(window[0]), int(window[1]))
    height, width = size
    whole = max(height, window[0]), max(width, window[1])
    weight = _weight(window, blend)
    places = tile_positions(whole, window=window, overlap=overlap)
    # A window's weight is a product of one along its rows and one along its columns, and so is their sum.
    share = [
        _total(side, sorted({place[axis] for place in places}), weight.sum(axis=1 - axis) / np.sqrt(weight.sum()))
        for axis, side in enumerate(whole)
    ]
    batches = _batches(places, batch_size)
    depth = max(batch[-1][0] - batch[0][0] for batch in batches) + window[0]
    total: np.ndarray | None = None
    weights = columns = product = np.empty(0, np.float32)
    top = 0
    for number, batch in enumerate(batches):
        tiles = np.stack([_window(read, place, size, window) for place in batch])
        predicted = np.asarray(predict_fn(tiles))
        if predicted.ndim != 4 or predicted.shape[:3] != (len(batch), *window):
            raise ArgumentError(
                "`predict_fn` gives one value per class for every pixel of the windows it gets.",
                received={"windows": tiles.shape, "prediction": predicted.shape},
                cure="Give a window that the model does not change in size, such as a multiple of 32.",
            )
        if total is None:
            classes = predicted.shape[3]
            total = np.zeros((depth, whole[1], classes), np.float32)
            # A value for every class: numpy is slow to repeat one over so short an axis.
            weights, columns = weight[..., None].repeat(classes, axis=2), share[1][:width].repeat(classes)
            product = np.empty_like(weights)
        for (row, column), values in zip(batch, predicted, strict=True):
            np.multiply(values, weights, out=product)
            total[row - top : row - top + window[0], column : column + window[1]] += product
        final = batches[number + 1][0][0] if number + 1 < len(batches) else whole[0]
        for first in range(top, min(final, height), _ROWS):
            last = min(first + _ROWS, final, height)
            rows = total[first - top : last - top, :width].reshape(last - first, -1) / share[0][first:last, None]
            rows /= columns
            yield first, rows.reshape(last - first, width, -1)
        if final > top:
            left = depth - (final - top)
            for row in range(max(left, 0)):  # row by row: the buffer moves up without a second one beside it
                total[row] = total[row + final - top]
            total[max(left, 0) :] = 0
            top = final


def _batches(places: Sequence[tuple[int, int]], batch_size: int) -> list[Sequence[tuple[int, int]]]:
    """Full batches in order; of a wide image only windows of one row share one, which halves the rows that are held."""
    rows = [list(row) for _, row in itertools.groupby(places, key=lambda place: place[0])]
    lines = rows if len(rows[0]) >= 8 * batch_size else [list(places)]
    return [line[first : first + batch_size] for line in lines for first in range(0, len(line), batch_size)]


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


def _window(
    read: Callable[[int, int, int, int], np.ndarray],
    place: tuple[int, int],
    size: tuple[int, int],
    window: tuple[int, int],
) -> np.ndarray:
    """One window, mirrored where the image is smaller."""
    sides = [min(side, length) for side, length in zip(window, size, strict=True)]
    pixels = read(*place, *sides)
    missing = [(0, side - length) for side, length in zip(window, sides, strict=True)]
    return np.pad(pixels, [*missing, (0, 0)], mode="symmetric") if any(map(any, missing)) else pixels


def _total(length: int, starts: Sequence[int], weight: np.ndarray) -> np.ndarray:
    """Sum of `weight` laid at each of `starts`, `(length,)` float32."""
    out = np.zeros(length, np.float32)
    for start in starts:
        out[start : start + len(weight)] += weight
    return out


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
