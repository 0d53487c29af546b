"""Class probabilities of whole images of any size, by overlapping tiles of one fixed shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from segnosis.data.tiles import predict_tiled

if TYPE_CHECKING:
    import keras

    from segnosis.training.plan import Plan


class Predictor:
    """A model and how it is applied to a whole image.

    Tiles have one shape and batches one size, so that the backend compiles the model once for all images.

    Args:
        model: Raw pixel values `(batch, height, width, channels)` to logits `(batch, height, width, num_classes)`.
        window: Height and width of a tile, pixels.
        overlap: Share of a tile that its neighbour covers again, 0 to below 1.
        fit: `"crop"` keeps the image's resolution and tiles it; `"resize"` stretches the image to the window and the
            probabilities back, as a model trained on stretched images expects.
        mirror: Average over the image and its left-right and up-down mirror images.
        batch_size: Tiles per step.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        window: tuple[int, int],
        overlap: float = 0.25,
        fit: Literal["crop", "resize"] = "crop",
        mirror: bool = False,
        batch_size: int = 4,
    ) -> None:
        self.model, self.window, self.overlap, self.fit = model, window, overlap, fit
        self.mirror, self.batch_size = mirror, batch_size

    @classmethod
    def planned(cls, plan: Plan, model: keras.Model) -> Predictor:
        """`model` applied as its plan says."""
        window = plan.window or plan.size
        return cls(model, window=window, overlap=plan.overlap, fit=plan.fit_to_size, mirror=plan.mirror)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities `(height, width, num_classes)` float32 of `image` `(height, width, channels)`."""
        total = self._tiled(image)
        if self.mirror:
            total = total + self._tiled(image[:, ::-1])[:, ::-1] + self._tiled(image[::-1])[::-1]
            total = total / 3.0
        return total

    def mask(self, image: np.ndarray) -> np.ndarray:
        """Class ids `(height, width)` int32 of `image`."""
        return self.probabilities(image).argmax(axis=-1).astype(np.int32)

    def _tiled(self, image: np.ndarray) -> np.ndarray:
        if self.fit == "crop":
            return predict_tiled(self._probabilities_of_tiles, image, window=self.window, overlap=self.overlap)
        stretched = _resized(np.ascontiguousarray(image, np.float32), self.window)
        return _resized(self._probabilities_of_tiles(stretched[None])[0], image.shape[:2])

    def _probabilities_of_tiles(self, tiles: np.ndarray) -> np.ndarray:
        """Softmax of the logits of `(tiles, height, width, channels)`; the last batch is padded to full size."""
        out = []
        for start in range(0, len(tiles), self.batch_size):
            batch = tiles[start : start + self.batch_size].astype(np.float32)
            missing = self.batch_size - len(batch)
            padded = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else batch
            logits = np.asarray(self.model.predict_on_batch(padded), np.float32)[: len(batch)]
            logits -= logits.max(axis=-1, keepdims=True)
            np.exp(logits, out=logits)
            logits /= logits.sum(axis=-1, keepdims=True)
            out.append(logits)
        return np.concatenate(out)


def _resized(array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """`(height, width, channels)` float32 resampled to `size`: by area when it shrinks, else linearly; any channels."""
    shrinks = array.shape[0] * array.shape[1] > size[0] * size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, size[1::-1], interpolation=how) for plane in np.moveaxis(array, -1, 0)], axis=-1)
