"""What a transform is: frozen settings, and its share of the coordinate map or of the pixel values.

Coordinates are continuous: an image of `(height, width)` covers `[0, width] × [0, height]`, x to the right, y down,
and the pixel in row i, column j has its centre at `(j + 0.5, i + 0.5)`. In this frame a flip is `x → width - x` and a
resize is a plain scaling, with no half-pixel corrections to forget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from segnosis.core.errors import ArgumentError

Size = tuple[int, int]


@dataclass(frozen=True)
class Canvas:
    """What a geometric transform may know about the picture it moves.

    Attributes:
        size: `(height, width)` in pixels, as the transforms before this one left it.
        foreground: Per foreground class in the picture, pixel centres `(x, y)` as an array `(n, 2)`, if asked for.
    """

    size: Size
    foreground: tuple[np.ndarray, ...] = ()

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the canvas, `(x, y)`."""
        return self.size[1] / 2, self.size[0] / 2


@dataclass(frozen=True)
class Intensity:
    """Grey values of one image before it is changed; what makes a change mean the same for uint8, CT numbers and 0–1.

    Attributes:
        low: Darkest value.
        high: Brightest value.
        mean: Mean value.
    """

    low: float
    high: float
    mean: float

    @property
    def span(self) -> float:
        """Brightest less darkest value."""
        return self.high - self.low


@dataclass(frozen=True)
class Transform:
    """Base of all transforms.

    Args:
        probability: Share of the samples it is applied to, 0–1.
    """

    probability: float = field(default=1.0, kw_only=True)

    neutral: ClassVar[Mapping[str, float] | None] = None  # settings that change nothing, if there are any

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise ArgumentError(
                f"`{type(self).__name__}` is applied with a probability between 0 and 1.",
                received={"probability": self.probability},
                cure="Pass probability=0.5 for every other sample.",
            )

    def require(self, holds: bool, expected: str, cure: str) -> None:
        """Raise `ArgumentError` with these settings unless `holds`."""
        if not holds:
            raise ArgumentError(expected, received={"transform": self}, cure=cure)


@dataclass(frozen=True)
class Geometric(Transform):
    """Moves pixels: image and mask alike, by one map.

    A subclass overrides `matrix`, or `field`, or both (the matrix goes first), and `new_size` when it changes the size.
    """

    sets_size: ClassVar[bool] = False  # True: the result's size is chosen by the transform

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """Homography `(3, 3)`: a point of the old canvas → the same point on the new canvas."""
        return np.eye(3)

    def field(self, rng: np.random.Generator, size: Size) -> np.ndarray | None:
        """Displacement `(height, width, 2)` of `(dx, dy)` pixels: what was at p + field(p) is shown at p."""
        return None

    def new_size(self, size: Size) -> Size:
        """Size of the canvas afterwards."""
        return size


@dataclass(frozen=True)
class Photometric(Transform):
    """Changes values of the image; the mask is not even passed in.

    A subclass that looks at one value at a time says `pointwise = True`: on uint8 images it then runs on a table of 256
    values instead of all pixels.
    """

    pointwise: ClassVar[bool] = False

    def pixels(self, rng: np.random.Generator, image: np.ndarray, intensity: Intensity) -> np.ndarray:
        """The changed image.

        Args:
            rng: The sample's own random numbers.
            image: `(height, width, channels)` float32 in the image's own units; not to be written into.
            intensity: Values of the image before any change.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Mixing(Transform):
    """Mixes the samples of a batch; runs last, with `probability` per batch.

    A subclass that says `soft = True` is handed the truth as one-hot `(batch, height, width, classes)` float32, zero in
    every class where a pixel is ignored, and makes shares of classes of it.
    """

    soft: ClassVar[bool] = False

    def mix(self, rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mixed batch: x `(batch, height, width, channels)` float32, y `(batch, height, width)` int32, or soft."""
        raise NotImplementedError


def about(centre: tuple[float, float], linear: np.ndarray) -> np.ndarray:
    """Homography that applies the `(2, 2)` matrix `linear` with `centre` `(x, y)` left where it is."""
    (a, b), (c, d) = linear.tolist()
    x, y = centre
    return np.array([[a, b, x - a * x - b * y], [c, d, y - c * x - d * y], [0.0, 0.0, 1.0]])
