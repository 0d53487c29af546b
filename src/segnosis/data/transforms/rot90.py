"""Turn by a random number of quarter turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric, about


@dataclass(frozen=True)
class Rot90(Geometric):
    """Turn by 0, 90, 180 or 270° about the centre; the size stays, and every pixel lands on a pixel.

    On a canvas that is not square an odd turn shows what lies beyond its long sides, and loses its ends.
    """

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """A quarter turn about the centre, moved by half a pixel where the centre would put pixels between pixels."""
        turns = int(rng.integers(4))
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
        matrix = about(canvas.centre, np.array([[cosine, -sine], [sine, cosine]], float))
        matrix[:2, 2] = np.floor(matrix[:2, 2])
        return matrix
