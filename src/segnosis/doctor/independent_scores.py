"""IoU and Dice per class counted by ourselves, from class ids, on a few fixed batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.examine import Evidence
from segnosis.doctor.random_state import to_host
from segnosis.training import pictures
from segnosis.training.scores import confusion, from_confusion


class IndependentScores:
    """Scores a model on fixed batches; knows from the case how its targets are written.

    Args:
        case: Model, loss and batches; tells head and target format.
        batches: The batches to score on.

    Raises:
        Unavailable: The targets of no output can be read as class ids.
    """

    def __init__(self, case: Case, batches: Sequence[Batch]) -> None:
        evidence = Evidence(case)
        encodings = evidence.get("encodings")
        head = next((head for head in evidence.get("heads") if _readable(encodings.get(head.name))), None)
        if head is None:
            raise Unavailable("the targets are not class ids, one-hot or binary masks of one output")
        self._head: Any = head
        self._encoding = encodings[self._head.name]
        self._ignore = case.ignore_class
        self._binary = (self._encoding.channels or 2) == 1
        self._targets = [self._ids(batch) for batch in batches]
        self._inputs = [batch.x for batch in batches]
        self.class_names = tuple(case.class_names or map(str, range(self._encoding.num_classes)))

    def score(self, model: keras.Model) -> tuple[dict[str, float | None], np.ndarray]:
        """Scores in inference mode, and a picture of what was predicted.

        Args:
            model: The model as it is now.

        Returns:
            `foreground_iou`, `foreground_dice`, and `iou_…`, `dice_…` by class name (`None` for a class neither true
            nor predicted); and a sheet of image, truth, prediction and error of the first samples, uint8 RGB.
        """
        classes = self._encoding.num_classes
        matrix = np.zeros((classes, classes), "int64")
        rows: list[list[np.ndarray]] = []
        for x, target in zip(self._inputs, self._targets, strict=True):
            predicted = self._predicted(model, x)
            matrix += confusion(target, predicted, classes, None)
            if not rows:
                images = np.asarray(keras.tree.flatten(x)[0])
                rows = [self._row(*sample) for sample in zip(images, target, predicted, strict=True)]
        scores = from_confusion(matrix, self.class_names)
        found = {name: scores[name] for name in ("foreground_iou", "foreground_dice")}
        found |= {f"iou_{name}": entry["iou"] for name, entry in scores["per_class"].items()}
        found |= {f"dice_{name}": entry["dice"] for name, entry in scores["per_class"].items()}
        return found, pictures.sheet(rows)

    def _row(self, image: np.ndarray, truth: np.ndarray, guess: np.ndarray) -> list[np.ndarray]:
        classes = self._encoding.num_classes
        painted = [pictures.paint(ids, classes) for ids in (truth, guess)]
        return [pictures.grey_or_colour(image), *painted, pictures.error(truth, guess, classes)]

    def _ids(self, batch: Batch) -> np.ndarray:
        """Truth per pixel, −1 where ignored: not a class, the ignored one, or weight 0."""
        target = np.asarray(self._head.pick(batch.y))
        ids = self._encoding.ids(target)
        if self._ignore is not None and ids.shape == target.shape[: ids.ndim]:
            plain = target[..., 0] if target.ndim > ids.ndim else target
            ids = np.where(plain == self._ignore, -1, ids)
        weight = self._head.pick(batch.sample_weight) if batch.sample_weight is not None else None
        if weight is not None and np.ndim(weight) >= 3:
            weight = np.asarray(weight)
            ids = np.where((weight[..., 0] if weight.ndim > ids.ndim else weight) == 0, -1, ids)
        return ids.astype("int64")

    def _predicted(self, model: keras.Model, x: Any) -> np.ndarray:
        if keras.backend.backend() == "jax":  # eager JAX compiles every operation by itself
            outputs = model.predict_on_batch(x)
        else:
            outputs = model(keras.tree.map_structure(keras.ops.convert_to_tensor, x), training=False)
        values = to_host(keras.tree.flatten(outputs)[self._head.index]).astype("float32")
        if not self._binary:
            return values.argmax(axis=-1)
        is_probability = any(step.does == "sigmoid" for step in self._head.steps)
        cut = 0.5 if is_probability or (values.min() >= 0 and values.max() <= 1) else 0.0
        return (values[..., 0] > cut).astype("int64")


def few_samples(batches: Sequence[Batch], samples: int) -> list[Batch]:
    """Batches of at most `samples` samples each."""

    def cut(part: Any) -> Any:
        return None if part is None else keras.tree.map_structure(lambda leaf: np.asarray(leaf)[:samples], part)

    return [Batch(cut(batch.x), cut(batch.y), cut(batch.sample_weight)) for batch in batches]


def _readable(encoding: Any) -> bool:
    return encoding is not None and encoding.kind != "other"
