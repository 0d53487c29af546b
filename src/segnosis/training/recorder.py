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
from segnosis.training import checkpoint, pictures, processes
from segnosis.training.listener import Listener
from segnosis.training.optimizer import averaged, end_in, gradient_norm, share_done
from segnosis.training.pace import Deadline, corrected
from segnosis.training.plan import Plan
from segnosis.training.scores import confusion, from_confusion

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 4
_ANNEALED = ("cosine", "polynomial")
_SETTLED = 0.7 + 1e-6
"""Share of an annealed schedule after which its steps are small: a cosine is down to a fifth."""
_LATE, _LEAVE = 1, 2
"""What a process may wish after a step: to end the training, its time being up, or to save and leave at once."""
_RECENT = 3
"""Epochs whose mean is the present pace."""


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
        super().compile(optimizer, loss=loss, **settings)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Keras' loss; remembers what of it is not regularization."""
        penalties = [ops.sum(ops.cast(penalty, "float32")) for penalty in self.losses]
        if isinstance(y_pred, list):
            # Keras would make a mean for every output in its first step, and trace the step a second time for it.
            data = sum(self.loss_of_one(y, output, sample_weight) for output in y_pred) / len(y_pred)
            total = sum(penalties, data)
        else:
            total = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
            data = total - sum(penalties[1:], penalties[0]) if penalties else total
        # Weighted as Keras weighs the whole loss: the last batch of an epoch may be a small one.
        self.data_term.update_state(ops.cast(data, "float32"), sample_weight=ops.shape(x)[0])
        return total


class Recorder(keras.callbacks.Callback):
    """Validates, records, pictures and checkpoints after every epoch; keeps training to its time.

    Args:
        plan: The plan to follow; `recorder.plan` is the one that is followed, corrected on the way.
        folder: Where everything is written.
        validation: Batches `(x, y)` to validate on, indexable and sized.
        class_names: Name per class id.
        ignore_class: Value in masks that is no class.
        listener: Who is told.
        deadline: When to stop, or `None`.
        feed: Where the training batches come from: it knows how long it held training up, and what it left out.
        may_grow: Whether there may be more epochs than planned where they are faster than foretold.
        stop: Asked after every step whether to save and leave.
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
        deadline: Deadline | None = None,
        feed: Any = None,
        may_grow: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.plan, self.folder, self.validation = plan, folder, validation
        self.class_names, self.ignore_class = class_names, ignore_class
        self.listener, self.deadline, self.feed = listener, deadline, feed
        self.may_grow, self.stop = may_grow, stop
        self.lines: list[dict[str, Any]] = list(folder.epochs())
        self.best_line: dict[str, Any] | None = next((line for line in reversed(self.lines) if line["best"]), None)
        self.within: checkpoint.Checkpoint | None = None
        self.stopped = ""
        self._batch = self._batches = 0
        self._started = self._ended = 0.0
        self._steps: list[float] = []
        self._pace: list[float] = []

    @property
    def best_epoch(self) -> int:
        """Epoch whose weights are the run's; 0 before there is one."""
        return self.best_line["epoch"] if self.best_line else 0

    @property
    def progress(self) -> float:
        """Share of the learning-rate schedule that is done."""
        return self.lines[-1]["progress"] if self.lines else 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's clock, or go on within it."""
        self._started, self._batch, self._steps = time.monotonic(), 0, []
        if self.within is not None:
            checkpoint.restore_within(self.within, self.model)
            self._batch, self.within = self.within.step, None
        self._batches = self._batch + int(self.params.get("steps") or 0)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell the listener; stop when time is up; save and leave when asked to."""
        self._batch += 1
        self._steps.append(time.monotonic())
        loss = float((logs or {})["loss"])
        self.listener.batch(self._epoch() + 1, self.plan.epochs, self._batch, self._batches, loss)
        late = self.deadline is not None and self.deadline.seconds < 0
        wish = processes.strongest(_LEAVE if self.stop() else _LATE if late else 0)
        if wish == _LATE and not self.stopped:
            self.stopped = f"the {self.plan.minutes:g} minutes were used up"
            self.model.stop_training = True
        elif wish == _LEAVE and self._batch < self._batches:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()  # within an epoch the numbers are not in the variables
            self._save("last", self._epoch(), step=self._batch)
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Validate, write the history line, the picture and the checkpoints; correct the pace."""
        logs = logs or {}
        training_seconds = time.monotonic() - self._started
        with averaged(self.model.optimizer):
            measured = self.validate(picture=epoch + 1)
            line = processes.from_first(lambda: self._line(epoch + 1, logs, *measured, training_seconds))
            self.lines.append(line)
            if line["best"]:
                self.best_line = line
                self._save("best", epoch + 1)
        patience = self.plan.patience
        if patience is not None and epoch + 1 - self.best_epoch >= patience and not self.stopped:
            self.stopped = f"no better validation score for {patience} epochs"
        self._keep_time(training_seconds)
        if processes.first():
            # The checkpoint is the last to be written: what it promises is already on disk.
            history = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in self.lines)
            write_text(self.folder.history, history)
        self._save("last", epoch + 1)
        self.listener.epoch(line, self.plan.epochs)
        if processes.strongest(int(self.stop())):
            raise KeyboardInterrupt

    def _line(
        self, epoch: int, logs: dict[str, Any], scores: dict[str, Any], val_loss: float, training_seconds: float
    ) -> dict[str, Any]:
        """What `history.jsonl` gets."""
        line = {
            "epoch": epoch,
            "steps": self._batch,
            "progress": share_done(self.model.optimizer),
            "loss": float(logs["loss"]),
            "data_loss": float(logs["data_loss"]),
            "regularization": self._penalties(float(logs["loss"]) - float(logs["data_loss"])),
            "val_loss": val_loss,
            **{key: scores[key] for key in ("mean_iou", "mean_dice", "foreground_iou", "foreground_dice")},
            "iou": {name: entry["iou"] for name, entry in scores["per_class"].items()},
            "dice": {name: entry["dice"] for name, entry in scores["per_class"].items()},
            "learning_rate": float(ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "gradient_norm": gradient_norm(self.model.optimizer),
            "unreadable": len(getattr(self.feed, "skipped", ())),
            "seconds": round(time.monotonic() - self._started, 3),
            "data_seconds": round(float(getattr(self.feed, "waited_seconds", 0.0)), 3),
            "training_seconds": round(training_seconds, 3),
        }
        return {**line, "best": self._better(line)}

    def _keep_time(self, training_seconds: float) -> None:
        """Where the epochs left no longer fit into the time left, make them fewer, and let the rate fall accordingly.

        The checkpoint of this epoch holds the new number and the new pace, so that a resumed run goes the same way.
        """
        now = time.monotonic()
        began, self._ended = self._ended or self._started, now
        self._pace = [*self._pace, now - began - self._compiling(training_seconds)][-_RECENT:]
        if self.deadline is None or self.stopped:
            return
        if len(self._steps) > 1:
            self.deadline.see((self._steps[-1] - self._steps[0]) / (len(self._steps) - 1))
        plan = corrected(
            self.plan,
            done=self._epoch(),
            epoch_seconds=sum(self._pace) / len(self._pace),
            seconds=self.deadline.seconds,
            may_grow=self.may_grow,
        )
        epochs = processes.from_first(lambda: (plan or self.plan).epochs)
        if epochs != self.plan.epochs:
            self.listener.say(
                f"an epoch takes {self._pace[-1]:.1f} s: {epochs} instead of {self.plan.epochs} epochs fit"
            )
            self.plan = plan if plan is not None and processes.first() else self.plan.with_(epochs=epochs)
            end_in(self.model.optimizer, (epochs - self._epoch()) * self._batches)
            if processes.first():
                self.plan.save(self.folder.plan)

    def _compiling(self, training_seconds: float) -> float:
        """Seconds by which the first step was slower than the others: it compiles, and the next epoch will not."""
        if len(self._steps) < 2:
            return 0.0
        first, *others = self._steps
        usual = (training_seconds - (first - self._started)) / len(others)
        return max(first - self._started - usual, 0.0)

    def _save(self, name: str, epoch: int, *, step: int = 0) -> None:
        if not processes.first():
            return
        facts = {
            "epochs": self.plan.epochs,
            "stopped": self.stopped,
            "unreadable": dict(getattr(self.feed, "skipped", {})),
        }
        optimizer = self.model.optimizer if name == "last" else None
        checkpoint.save(
            self.folder.checkpoint, name, epoch=epoch, step=step, model=self.model, optimizer=optimizer, facts=facts
        )

    def _epoch(self) -> int:
        return len(self.lines)

    def _better(self, line: dict[str, Any]) -> bool:
        """Whether the run keeps these weights: the best score so far, or the first of the small steps that end an
        annealed schedule. Before those weights swing, and a few validation images find a lucky swing rather than a
        good model."""
        if self.best_line is None:
            return True
        if self._settled(line) != self._settled(self.best_line):
            return self._settled(line)
        return (line["foreground_dice"] or 0.0) > (self.best_line["foreground_dice"] or 0.0)

    def _settled(self, line: dict[str, Any]) -> bool:
        return self.plan.schedule in _ANNEALED and line["progress"] > _SETTLED

    def _penalties(self, mean: float) -> dict[str, float]:
        return {"weights": mean} if self.model.losses else {}

    def validate(self, *, picture: int | None = None) -> tuple[dict[str, Any], float]:
        """Scores and mean loss of the model as it is, on the validation batches.

        Args:
            picture: Epoch to paint a picture for.
        """
        num_classes = len(self.class_names)
        total = np.zeros((num_classes, num_classes), np.int64)
        losses: list[tuple[float, int]] = []
        rows: list[list[np.ndarray]] = []
        for index in range(len(self.validation)):
            x, y = self.validation[index][:2]
            outputs = self.model.predict_on_batch(x)
            outputs = outputs if isinstance(outputs, list) else [outputs]
            if not processes.first():
                continue  # who asks for scores gets those of the first process
            depths = [self.model.loss_of_one(y, np.asarray(logits, np.float32)) for logits in outputs]
            losses.append((float(np.mean([float(ops.convert_to_numpy(loss)) for loss in depths])), len(x)))
            mask = np.asarray(outputs[-1], np.float32).argmax(axis=-1)
            total += confusion(np.asarray(y), mask, num_classes, self.ignore_class)
            for image, truth, guess in zip(np.asarray(x), np.asarray(y), mask, strict=True):
                if len(rows) < _SHOWN:
                    seen = image.astype(np.uint8) if self.plan.intensity == (0.0, 255.0) else image
                    painted = [pictures.paint(ids, num_classes) for ids in (truth, guess)]
                    rows.append([pictures.grey_or_colour(seen), *painted, pictures.error(truth, guess, num_classes)])
        if not processes.first():
            return {}, 0.0
        if picture is not None:
            write_bytes(self.folder.pictures / f"epoch-{picture:04d}.png", pictures.png(pictures.sheet(rows)))
        samples = sum(count for _, count in losses)
        return from_confusion(total, self.class_names), sum(value * count for value, count in losses) / samples
