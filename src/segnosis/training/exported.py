"""Whether a written model says what the trained one says: compared on held-out images, timed in turn."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segnosis.core.errors import DataError, RunError
from segnosis.training.export import Call
from segnosis.training.plan import Plan
from segnosis.training.predict import Predictor
from segnosis.training.scores import confusion, from_confusion

if TYPE_CHECKING:
    import keras

    from segnosis.core.dataset_spec import DatasetSpec
    from segnosis.data.dataset import Dataset

TOLERANCE = 1e-3
"""Largest difference of two logits, as a share of the largest logit."""
IOU_TOLERANCE = 5e-4
"""Difference of two mean IoU that is none: pixels between two classes may fall to either side."""
_ROUNDS = 11


@dataclass(frozen=True)
class Comparison:
    """A written model beside the one it was written from.

    Attributes:
        images: Held-out images compared, whole.
        difference: Largest difference of two logits, as a share of the largest logit.
        changed_pixels: Share of pixels that got another class.
        mean_iou_before, mean_iou_after: Dataset-level on these images; `None` where no class was seen.
        milliseconds_before, milliseconds_after: Median of one window, measured in turn: Keras, then the file.
        window: Height and width of that window.
    """

    images: int
    difference: float
    changed_pixels: float
    mean_iou_before: float | None
    mean_iou_after: float | None
    milliseconds_before: float
    milliseconds_after: float
    window: tuple[int, int]

    @property
    def drop(self) -> float:
        """By how much the mean IoU fell."""
        return (self.mean_iou_before or 0.0) - (self.mean_iou_after or 0.0)

    @property
    def agrees(self) -> bool:
        """Whether logits and score are the same within the tolerances."""
        return self.difference <= TOLERANCE and abs(self.drop) <= IOU_TOLERANCE

    def __str__(self) -> str:
        before, after = (_score(value) for value in (self.mean_iou_before, self.mean_iou_after))
        ratio = self.milliseconds_after / self.milliseconds_before
        return (
            f"{self.images} held-out images, largest difference {self.difference:.1e} of the largest logit, mean IoU "
            f"{before} → {after}, {self.milliseconds_before:.1f} → {self.milliseconds_after:.1f} ms for a "
            f"{self.window[0]}×{self.window[1]} window ({ratio:.2f} of the time)"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON form."""
        return asdict(self)


class _Called:
    """A written model in the place of a Keras one."""

    def __init__(self, call: Call) -> None:
        self.predict_on_batch = call


def compare(
    model: keras.Model,
    call: Call,
    plan: Plan,
    dataset: Dataset,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare `call` with `model`, both in float32, on every image of `dataset`, whole and as the plan tiles it.

    Batches of one and of three, and where the model takes any size an odd one, must work too.
    """
    before, after = Predictor.planned(plan, model), Predictor.planned(plan, _Called(call))
    spec = dataset.spec
    counts = [np.zeros((spec.num_classes, spec.num_classes), np.int64) for _ in range(2)]
    images = pixels = changed = 0
    difference, shown = 0.0, None
    for index in range(len(dataset)):
        try:
            sample = dataset[index]
        except DataError:  # training left it out too, and told of it
            continue
        if sample.mask is None:
            continue
        masks = [predictor.mask(sample.image) for predictor in (before, after)]
        for count, mask in zip(counts, masks, strict=True):
            count += confusion(sample.mask, mask, spec.num_classes, spec.ignore_class)
        changed += int(np.count_nonzero(masks[0] != masks[1]))
        pixels, images = pixels + masks[0].size, images + 1
        seen = window(sample.image, before.window)
        shown = seen if shown is None else shown
        difference = max(difference, *(_difference(model, call, batch) for batch in _batches(seen, model)))
        if progress is not None:
            progress(index + 1, len(dataset))
    if shown is None:
        raise DataError(
            "An export is checked on held-out images with masks.",
            file=dataset.root,
            received={"readable": 0},
            cure="Name the data with `--data DATA`.",
        )
    scores = [from_confusion(count, spec.class_names)["mean_iou"] for count in counts]
    times = _milliseconds(model, call, shown)
    return Comparison(
        images, difference, changed / pixels, scores[0], scores[1], times[0], times[1], window=before.window
    )


def facts(plan: Plan, spec: DatasetSpec) -> dict[str, str]:
    """What whoever holds only the file must know to use it as we do."""
    return {
        "class_names": json.dumps(list(spec.class_names), ensure_ascii=False),
        "channels": str(spec.channels),
        "window": json.dumps(list(window_of(plan))),
        "fit": plan.fit_to_size,
        "overlap": str(plan.overlap),
        "made_by": f"segnosis {version('segnosis')}",
    }


def window_of(plan: Plan) -> tuple[int, int]:
    """Height and width of the window a whole image is predicted by, pixels."""
    return plan.window or plan.size


def refused(path: Path, compared: Comparison) -> RunError:
    """The error of a file that says something else."""
    return RunError(
        f"An exported model gives the logits of the trained one to {TOLERANCE:g} of the largest, and its mean IoU.",
        received={
            "file": str(path),
            "difference": f"{compared.difference:.2e}",
            "mean_iou": f"{_score(compared.mean_iou_before)} before, {_score(compared.mean_iou_after)} after",
        },
        cure="The file was removed; export to another format with `--to`, and report this one.",
    )


def window(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A batch of one from the image's middle, mirrored where it is too small."""
    for axis, side in enumerate(size):
        start = max(0, (image.shape[axis] - side) // 2)
        image = image.take(range(start, start + min(side, image.shape[axis])), axis=axis)
    missing = [(0, side - length) for side, length in zip(size, image.shape[:2], strict=True)]
    return np.pad(image, [*missing, (0, 0)], mode="symmetric").astype(np.float32)[None]


def _batches(window: np.ndarray, model: keras.Model) -> list[np.ndarray]:
    found = [window, np.concatenate([window, window[:, ::-1], window[:, :, ::-1]])]
    if model.input_shape[1] is None and min(window.shape[1:3]) > 2:
        found.append(window[:, :-1, :-2])
    return found


def _difference(model: keras.Model, call: Call, batch: np.ndarray) -> float:
    expected = np.asarray(model.predict_on_batch(batch), np.float32)
    found = call(np.ascontiguousarray(batch))
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))


def _milliseconds(model: keras.Model, call: Call, batch: np.ndarray) -> list[float]:
    """Median time of one window in Keras and in the file, in turn, so that a busy machine slows both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for run, taken in zip((model.predict_on_batch, call), times, strict=True):
            start = time.perf_counter()
            run(batch)
            taken.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(taken[1:]) for taken in times]


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
