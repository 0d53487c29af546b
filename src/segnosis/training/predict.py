"""Class probabilities of whole images of any size, by overlapping tiles of one fixed shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import cv2
import numpy as np

from segnosis.data.tiles import predict_rows, predict_tiled

if TYPE_CHECKING:
    import keras

    from segnosis.training.plan import Plan

Read = Callable[[int, int, int, int], np.ndarray]
"""`(top, left, height, width)` → those pixels of an image, `(height, width, channels)`."""

_FEW = 6
"""Classes up to which a softmax over planes is the faster one, with TensorFlow on a processor."""


class Predicts(Protocol):
    """What gives class probabilities: a model, or several as one."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities `(height, width, num_classes)` float32 of `image` `(height, width, channels)`."""

    def rows(self, read: Read, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """The same of an image that is read by windows: top row and `(rows, width, num_classes)`, downwards."""


class Predictor:
    """A model and how it is applied to a whole image.

    Tiles have one shape and batches one size, fewer tiles only until an image has more, so that the backend compiles
    the model once for images of about one size.

    Args:
        model: Raw pixel values `(batch, height, width, channels)` to logits `(batch, height, width, num_classes)`.
        window: Height and width of a tile, pixels.
        overlap: Share of a tile that its neighbour covers again, 0 to below 1.
        fit: `"crop"` keeps the image's resolution and tiles it; `"resize"` stretches the image to the window and the
            probabilities back, as a model trained on stretched images expects.
        mirror: Average over every tile and its left-right and up-down mirror images.
        scales: Average over the image at these sizes, 1 being its own.
        batch_size: Tiles per step.
        normalized: Whether the model ends in probabilities already.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        window: tuple[int, int],
        overlap: float = 0.25,
        fit: Literal["crop", "resize"] = "crop",
        mirror: bool = False,
        scales: Sequence[float] = (1.0,),
        batch_size: int = 4,
        normalized: bool = False,
    ) -> None:
        self.model, self.window, self.overlap, self.fit = model, window, overlap, fit
        self.mirror, self.scales, self.batch_size, self.normalized = mirror, tuple(scales), batch_size, normalized
        self._compiled = 1

    @classmethod
    def planned(cls, plan: Plan, model: keras.Model, *, precision: str | None = None, **changes: Any) -> Predictor:
        """`model` applied as its plan says, with less arithmetic where its graph allows (`segnosis.models.fold`).

        Args:
            plan: The plan it was trained by.
            model: The model; it is not changed.
            precision: `"float32"` or `"bfloat16"` in place of the precision it was trained in.
            **changes: Other settings of a predictor, instead of the plan's.
        """
        lean = _lean(model, precision)
        settings: dict[str, Any] = {
            "window": plan.window or plan.size,
            "overlap": plan.overlap,
            "fit": plan.fit_to_size,
            "mirror": plan.mirror,
            "normalized": lean is not None,
        }
        return cls(model if lean is None else lean, **{**settings, **changes})

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities `(height, width, num_classes)` float32 of `image` `(height, width, channels)`."""
        return _mean(self._scaled(image, scale) for scale in self.scales)

    def rows(self, read: Read, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """Probabilities of an image read by windows, from top to bottom as they become final; at scale 1.

        Args:
            read: `(top, left, height, width)` → pixels.
            size: Height and width of the image, pixels.
        """
        return predict_rows(
            self._probabilities_of_tiles,
            read,
            size,
            window=self.window,
            overlap=self.overlap,
            batch_size=self.batch_size,
        )

    def mask(self, image: np.ndarray) -> np.ndarray:
        """Class ids `(height, width)` int32 of `image`."""
        return self.probabilities(image).argmax(axis=-1).astype(np.int32)

    def _scaled(self, image: np.ndarray, scale: float) -> np.ndarray:
        if scale == 1.0 or self.fit == "resize":
            return self._tiled(image)
        size = tuple(max(1, round(side * scale)) for side in image.shape[:2])
        return _resized(self._tiled(_resized(np.ascontiguousarray(image, np.float32), size)), image.shape[:2])

    def _tiled(self, image: np.ndarray) -> np.ndarray:
        if self.fit == "crop":
            return predict_tiled(
                self._probabilities_of_tiles,
                image,
                window=self.window,
                overlap=self.overlap,
                batch_size=self.batch_size,
            )
        stretched = _resized(np.ascontiguousarray(image, np.float32), self.window)
        return _resized(self._probabilities_of_tiles(stretched[None])[0], image.shape[:2])

    def _probabilities_of_tiles(self, tiles: np.ndarray) -> np.ndarray:
        """Of `(tiles, height, width, channels)`; where asked for, of each tile with its mirror images."""
        if not self.mirror:
            return self._softmax(tiles)
        # All at once: a batch is padded to its full size, and an image is often a single tile.
        found, across, down = np.split(self._softmax(np.concatenate([tiles, tiles[:, :, ::-1], tiles[:, ::-1]])), 3)
        found = found + across[:, :, ::-1] + down[:, ::-1]
        found /= 3.0
        return found

    def _softmax(self, tiles: np.ndarray) -> np.ndarray:
        """Softmax of the logits; a batch that is smaller than one before it is padded to its size."""
        out = []
        # Images that are single tiles are not worth four; a size that was compiled once serves all smaller ones.
        size = self._compiled = max(self._compiled, min(self.batch_size, len(tiles)))
        for start in range(0, len(tiles), size):
            batch = tiles[start : start + size].astype(np.float32)
            missing = size - len(batch)
            padded = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else batch
            found = np.asarray(self.model.predict_on_batch(padded), np.float32)[: len(batch)]
            if not self.normalized:
                found = found - found.max(axis=-1, keepdims=True)
                np.exp(found, out=found)
                found /= found.sum(axis=-1, keepdims=True)
            out.append(found)
        return out[0] if len(out) == 1 else np.concatenate(out)


class Ensemble:
    """Several predictors as one: the mean of their probabilities.

    Args:
        predictors: One or more, for the same classes.
    """

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        self.predictors = tuple(predictors)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Mean class probabilities `(height, width, num_classes)` float32."""
        return _mean(predictor.probabilities(image) for predictor in self.predictors)

    def rows(self, read: Read, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """Mean of the predictors' rows; they finish rows at paces of their own, so what is ahead waits."""
        streams = [predictor.rows(read, size) for predictor in self.predictors]
        waiting: list[np.ndarray] = [next(stream)[1] for stream in streams]
        top = 0
        while top < size[0]:
            ready = min(map(len, waiting))
            yield top, np.asarray(np.mean([rows[:ready] for rows in waiting], axis=0, dtype=np.float32))
            top += ready
            waiting = [rows[ready:] for rows in waiting]
            if top < size[0]:
                waiting = [
                    rows if len(rows) else next(stream)[1] for rows, stream in zip(waiting, streams, strict=True)
                ]


def _mean(found: Iterable[np.ndarray]) -> np.ndarray:
    """Mean of one or more arrays, the first of which is used up."""
    total, *others = found
    for other in others:
        total += other
    if others:
        total /= np.float32(1 + len(others))
    return total


def _lean(model: Any, precision: str | None) -> keras.Model | None:
    """`model` folded, and ending in probabilities; `None` for what is no functional model with one output."""
    if not hasattr(model, "_nodes_by_depth") or len(model.outputs) != 1:
        return None
    import keras

    from segnosis.models import fold

    folded = fold(model, precision=precision)
    on_cpu = False
    if keras.backend.backend() == "tensorflow":
        from segnosis.training import machine

        on_cpu = machine.on_cpu()
    softmax = _softmax_by_planes if on_cpu and folded.output.shape[-1] <= _FEW else keras.ops.softmax
    # One layer with a name of its own: operations are named as those that the model may hold already.
    probabilities = keras.layers.Lambda(softmax, dtype="float32", name="probabilities")(folded.output)
    lean = keras.Model(folded.input, probabilities, name=model.name)
    # Left to itself Keras compiles with XLA on TensorFlow, which on a processor makes convolutions 1.3–5 times slower.
    if keras.backend.backend() == "tensorflow":
        lean.jit_compile = not on_cpu
    return lean


def _softmax_by_planes(logits: Any) -> Any:
    """Softmax over the last axis of `(batch, height, width, num_classes)`, class by class instead of pixel by pixel.

    Over four classes TensorFlow's own takes twice as long on a processor: it works through each pixel by itself.
    """
    from keras import ops

    planes = ops.transpose(logits, (0, 3, 1, 2))
    odds = ops.exp(planes - ops.max(planes, axis=1, keepdims=True))
    return ops.transpose(odds / ops.sum(odds, axis=1, keepdims=True), (0, 2, 3, 1))


def _resized(array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """`(height, width, channels)` float32 resampled to `size`: by area when it shrinks, else linearly; any channels."""
    shrinks = array.shape[0] * array.shape[1] > size[0] * size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, size[1::-1], interpolation=how) for plane in np.moveaxis(array, -1, 0)], axis=-1)
