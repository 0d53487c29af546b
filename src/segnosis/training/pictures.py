"""Pictures of masks: the same colours everywhere, image, truth, prediction and error side by side."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

_DIM = 100
"""99.5th percentile below which an 8-bit picture shows a person nothing."""
IGNORED = (200, 200, 200)
"""Colour of ignored pixels."""
ERROR_COLOURS = {
    "right": (255, 255, 255),
    "missed": (213, 60, 40),
    "invented": (40, 110, 220),
    "wrong class": (240, 228, 66),
    "ignored": IGNORED,
}
"""What the colours of an error picture mean."""


def palette(num_classes: int) -> np.ndarray:
    """`(num_classes, 3)` uint8 colours, background black, neighbours far apart, readable with red-green weakness.

    Example:
        >>> palette(3).tolist()
        [[0, 0, 0], [230, 159, 0], [86, 180, 233]]
    """
    colours = [(0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)]
    colours.append((204, 121, 167))
    # Beyond the eight safe colours, walk the hue circle by the golden angle.
    while len(colours) < num_classes:
        k = len(colours)
        red, green, blue = colorsys.hsv_to_rgb(
            (k * 0.381966) % 1.0, 0.6 + 0.4 * ((k * 0.21) % 1), 1 - 0.5 * ((k * 0.12) % 1)
        )
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return np.array(colours[:num_classes], np.uint8)


def paint(mask: np.ndarray, num_classes: int) -> np.ndarray:
    """`(height, width, 3)` uint8 picture of class ids; ignored and unknown values are grey."""
    known = (mask >= 0) & (mask < num_classes)
    out = palette(num_classes)[np.where(known, mask, 0)]
    out[~known] = IGNORED
    return out


def grey_or_colour(image: np.ndarray) -> np.ndarray:
    """`(height, width, 3)` uint8 view of any image: 8-bit as it is unless too dim to see, the rest stretched."""
    if image.ndim == 2:
        image = image[..., None]
    shown = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    low, high = np.percentile(shown, (0.5, 99.5))
    if shown.dtype == np.uint8 and high >= _DIM:
        return np.ascontiguousarray(shown)
    return np.uint8(np.clip((shown - low) / max(high - low, 1e-12), 0, 1) * 255)  # type: ignore[return-value]


def error(y_true: np.ndarray, y_pred: np.ndarray, num_classes: int) -> np.ndarray:
    """`(height, width, 3)` uint8 in `ERROR_COLOURS`; right background is black."""
    known = (y_true >= 0) & (y_true < num_classes)
    out = np.zeros((*y_true.shape, 3), np.uint8)
    out[(y_true == y_pred) & (y_true > 0)] = ERROR_COLOURS["right"]
    out[(y_true > 0) & (y_pred == 0)] = ERROR_COLOURS["missed"]
    out[(y_true == 0) & (y_pred > 0)] = ERROR_COLOURS["invented"]
    out[(y_true > 0) & (y_pred > 0) & (y_true != y_pred)] = ERROR_COLOURS["wrong class"]
    out[~known] = IGNORED
    return out


def sheet(rows: Sequence[Sequence[np.ndarray]], *, side: int = 192, gap: int = 4) -> np.ndarray:
    """A contact sheet: each row's pictures beside each other, every one fitted into `side` × `side` pixels."""
    height, width = len(rows) * (side + gap) - gap, max(len(row) for row in rows) * (side + gap) - gap
    out = np.full((height, width, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            small = fitted(picture, side)
            top = r * (side + gap) + (side - small.shape[0]) // 2
            left = c * (side + gap) + (side - small.shape[1]) // 2
            out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out


def png(picture: np.ndarray) -> bytes:
    """PNG file of a `(height, width, 3)` uint8 RGB picture."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def fitted(picture: np.ndarray, side: int) -> np.ndarray:
    """`picture` with its longer side made `side` pixels."""
    scale = side / max(picture.shape[:2])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
