"""What flows from disk to network: pairs as they are stored, and samples as they are meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask exactly as stored, before anything was interpreted; what data checks look at.

    Attributes:
        image: Array as decoded but for an alpha channel, `(height, width)` or `(height, width, channels)`, any dtype;
            `None` if unreadable.
        mask: Array as decoded, shaped and typed as an image may be; `None` if absent or unreadable.
        id: Unique name of the sample.
        group: Key that splits never cross: patient, slide, video. The sample's own id when nothing is known.
        image_file: File the image came from, or `None` for arrays.
        mask_file: File (or folder of instance masks) the mask came from, or `None`.
        split: Split that the data set itself assigns (`"train"`, `"val"`, `"test"`), or `None`.
        error: Why the pair could not be read, in one sentence; `None` when it was.
    """

    image: np.ndarray | None
    mask: np.ndarray | None
    id: str
    group: str
    image_file: Path | None = None
    mask_file: Path | None = None
    split: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its mask of class ids.

    Attributes:
        image: `(height, width, channels)`, uint8 or float32.
        mask: `(height, width)`, uint8 or int32 class ids; `None` where there is no truth (prediction).
        id: Unique name of the sample.
        group: Key that splits never cross.
        spacing: Pixel size in millimetres `(row, column)`, or `None` when the format has none.
    """

    image: np.ndarray
    mask: np.ndarray | None
    id: str
    group: str
    spacing: tuple[float, float] | None = None
