"""The run's own account: a line, a picture and a checkpoint an epoch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from segnosis.core.run_folder import RunFolder, write_bytes, write_text
from segnosis.training import checkpoint, pictures
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan
from segnosis.training.scores import confusion, from_confusion

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 4
_ANNEALED = ("cosine", "polynomial")
_SETTLED = 0.7
"""Share of an annealed schedule after which its steps are small: a cosine is down to a fifth."""


class TwoTermModel(keras.Model):
    """A functional model that, while it trains, keeps the data term of the loss apart from regularization.

    With several outputs, one per depth, each of them is held against the same truth, and their losses are averaged.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.data_term = keras.metrics.Mean(name="data_loss")

    def compile(self, optimizer: Any, loss: keras.losses.Loss, **settings: Any) -> None:
        """Keras' compile; `loss` serves every output."""
        self.loss_of_one = loss
        count = len(self.outputs)
        if count > 1:
            settings["loss_weights"] = [1.0 / count] * count
        super().compile(optimizer, loss=loss if count == 1 else [loss] * count, **settings)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Keras' loss; remembers what of it is not regularization."""
        y = [y] * len(y_pred) if isinstance(y_pred, list) else y
        total = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        penalties = self.losses
        data = total - sum(penalties[1:], penalties[0]) if penalties else total
        self.data_term.update_state(ops.cast(data, "float32"))
        return total


class Recorder(keras.callbacks.Callback):
    """Validates, records, pictures and checkpoints after every epoch; stops at the deadline.

    Args:
        plan: The plan being followed.
        folder: Where everything is written.
        validation: Batches `(x, y)` to validate on, indexable and sized.
        class_names: Name per class id.
        ignore_class: Value in masks that is no class.
        listener: Who is told.
        deadline: `time.monotonic()` value to stop at, or `None`.
        waited: Seconds this epoch has waited for data so far.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        validation: Sequence[Any],
        *,
        class_names: tuple[str, ...],
        ignore_class: int | None,
        listener: Listener,
        deadline: float | None = None,
        waited: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self.plan, self.folder, self.validation = plan, folder, validation
        self.class_names, self.ignore_class = class_names, ignore_class
        self.listener, self.deadline, self.waited = listener, deadline, waited or (lambda: 0.0)
        self.lines: list[dict[str, Any]] = list(folder.epochs())
        self.best, self.best_epoch = -1.0, 0
        for line in self.lines:
            if line["best"]:
                self.best, self.best_epoch = line["foreground_dice"] or 0.0, line["epoch"]
        self.stopped = ""
        self._batch = self._batches = 0
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's clock."""
        self._started, self._batch = time.monotonic(), 0
        self._batches = int(self.params.get("steps") or 0)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell the listener, and stop when time is up."""
        self._batch = batch + 1
        self.listener.batch(self._epoch() + 1, self.plan.epochs, batch + 1, self._batches, float((logs or {})["loss"]))
        if self.deadline is not None and time.monotonic() > self.deadline and not self.stopped:
            self.stopped = f"the {self.plan.minutes:g} minutes were used up"
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Validate, write the history line, the picture and the checkpoints."""
        logs = logs or {}
        training_seconds = time.monotonic() - self._started
        scores, val_loss = self._validate(epoch + 1)
        settles = self._settled(epoch + 1) and not self._settled(self.best_epoch)
        better = settles or (scores["foreground_dice"] or 0.0) > self.best
        line = {
            "epoch": epoch + 1,
            "steps": self._batch,
            "loss": float(logs["loss"]),
            "data_loss": float(logs["data_loss"]),
            "regularization": self._penalties(float(logs["loss"]) - float(logs["data_loss"])),
            "val_loss": val_loss,
            **{key: scores[key] for key in ("mean_iou", "mean_dice", "foreground_iou", "foreground_dice")},
            "iou": {name: entry["iou"] for name, entry in scores["per_class"].items()},
            "dice": {name: entry["dice"] for name, entry in scores["per_class"].items()},
            "learning_rate": float(ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "gradient_norm": float(ops.convert_to_numpy(self.model.optimizer.gradient_norm)),
            "best": better,
            "seconds": round(time.monotonic() - self._started, 3),
            "data_seconds": round(self.waited(), 3),
            "training_seconds": round(training_seconds, 3),
        }
        self.lines.append(line)
        if better:
            self.best, self.best_epoch = scores["foreground_dice"] or 0.0, epoch + 1
            self._save("best", epoch + 1)
        # The checkpoint is the last to be written: what it promises is already on disk.
        write_text(self.folder.history, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in self.lines))
        self._save("last", epoch + 1)
        self.listener.epoch(line, self.plan.epochs)
        patience = self.plan.patience
        if patience is not None and epoch + 1 - self.best_epoch >= patience and not self.stopped:
            self.stopped = f"no better validation score for {patience} epochs"
            self.model.stop_training = True

    def _save(self, name: str, epoch: int) -> None:
        optimizer = self.model.optimizer if name == "last" else None
        checkpoint.save(
            self.folder.checkpoint, name, epoch=epoch, model=self.model, optimizer=optimizer, facts={"best": self.best}
        )

    def _epoch(self) -> int:
        return len(self.lines)

    def _settled(self, epoch: int) -> bool:
        """Whether `epoch` is of the small steps that end an annealed schedule: once there are such, one of them is the
        best. Before them weights swing, and a few validation images find a lucky swing rather than a good model."""
        return self.plan.schedule in _ANNEALED and epoch > _SETTLED * self.plan.epochs

    def _penalties(self, mean: float) -> dict[str, float]:
        return {"weights": mean} if self.model.losses else {}

    def _validate(self, epoch: int) -> tuple[dict[str, Any], float]:
        num_classes = len(self.class_names)
        total = np.zeros((num_classes, num_classes), np.int64)
        losses: list[tuple[float, int]] = []
        rows: list[list[np.ndarray]] = []
        for index in range(len(self.validation)):
            x, y = self.validation[index][:2]
            outputs = self.model.predict_on_batch(x)
            outputs = outputs if isinstance(outputs, list) else [outputs]
            depths = [self.model.loss_of_one(y, np.asarray(logits, np.float32)) for logits in outputs]
            losses.append((float(np.mean([float(ops.convert_to_numpy(loss)) for loss in depths])), len(x)))
            mask = np.asarray(outputs[-1], np.float32).argmax(axis=-1)
            total += confusion(np.asarray(y), mask, num_classes, self.ignore_class)
            for image, truth, guess in zip(np.asarray(x), np.asarray(y), mask, strict=True):
                if len(rows) < _SHOWN:
                    seen = image.astype(np.uint8) if self.plan.intensity == (0.0, 255.0) else image
                    painted = [pictures.paint(ids, num_classes) for ids in (truth, guess)]
                    rows.append([pictures.grey_or_colour(seen), *painted, pictures.error(truth, guess, num_classes)])
        write_bytes(self.folder.pictures / f"epoch-{epoch:04d}.png", pictures.png(pictures.sheet(rows)))
        samples = sum(count for _, count in losses)
        return from_confusion(total, self.class_names), sum(value * count for value, count in losses) / samples
