"""The metrics that a `test_step` of the user's own reports, as ones that can be asked like any other."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from segnosis.doctor.batches import as_tensors, resized
from segnosis.doctor.case import Batch
from segnosis.doctor.listening import listening
from segnosis.doctor.own_loss import ones_like, speaker_of
from segnosis.doctor.snapshot import untouched


class OwnMetric:
    """One number that a `test_step` reports, for a prediction that the model is made to answer.

    Args:
        name: As the step reports it.
        model: The user's model; what its metrics counted is to be put back by whoever asks.
        speaker: The layer that the step asks for the prediction.
        x: Images to hand to the step, over and over.
        weights: The weights beside them, where the program's samples have some; the step gets ones.
    """

    def __init__(self, name: str, model: keras.Model, speaker: Any, x: Any, weights: Any = None) -> None:
        self.name, self._model, self._speaker, self._x, self._weights = name, model, speaker, x, weights
        self._value: Any = None

    @property
    def variables(self) -> list[Any]:
        """What the step may count in."""
        return [variable for metric in self._model.metrics for variable in metric.variables]

    def reset_state(self) -> None:
        """Forget what was counted."""
        self._model.reset_metrics()

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        """Make the step, the model answering `y_pred`, both as tensors of the program's own shapes."""
        x = keras.tree.map_structure(lambda leaf: keras.ops.convert_to_tensor(resized(leaf, y_pred.shape[0])), self._x)
        with listening(lambda layer, args, call: y_pred if layer is self._speaker else call(), outermost=True):
            data = keras.utils.pack_x_y_sample_weight(x, y_true, ones_like(self._weights, y_pred.shape[0]))
            self._value = self._model.test_step(data)[self.name]

    def result(self) -> Any:
        """What the step reported."""
        return self._value


def own_metrics(model: keras.Model, batch: Batch) -> tuple[OwnMetric, ...]:
    """What the model's own `test_step` reports beside losses; nothing where there is none, or it cannot be asked.

    Args:
        model: The user's model, of one output.
        batch: As the model is given it.
    """
    if type(model).test_step is keras.Model.test_step or keras.backend.backend() == "jax":
        return ()
    x, y, weights = (as_tensors(part, slice(2)) for part in (batch.x, batch.y, batch.sample_weight))
    logs: dict[str, Any] = {}
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = tuple(model(x, training=False).shape)
            data = keras.utils.pack_x_y_sample_weight(x, y, weights)
            speaker = speaker_of(lambda: logs.update(model.test_step(data)), wanted)
        except Exception:  # anything that anyone's step can raise; `fit` says so when it validates
            return ()
    return tuple(
        OwnMetric(name, model, speaker, batch.x, batch.sample_weight) for name in logs if "loss" not in name.lower()
    )
