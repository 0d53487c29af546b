"""Training a copy again and again from the same weights: what short trials and counterfactuals are made of."""

from __future__ import annotations

from typing import Any

import keras

from segnosis.doctor.batches import as_tensors
from segnosis.doctor.case import Batch
from segnosis.doctor.own_loss import OwnLoss
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import steps_itself


class OutOfTimeError(Exception):
    """A trial would take longer than a probe may."""


class Rehearsal:
    """A borrowed model, compiled for training that begins anew whenever asked.

    Args:
        model: A copy, or the user's own under guard; its weights now are the ones each training starts from.
        loss: As compiled by the user.
        optimizer: Must not be the user's own.
        loss_weights: As compiled by the user.
    """

    def __init__(self, model: keras.Model, loss: Any, optimizer: Any, loss_weights: Any = None) -> None:
        self.model, self.optimizer = model, optimizer
        loss = loss.whole if isinstance(loss, OwnLoss) else loss
        optimizer.build(model.trainable_variables)
        jit = "auto" if keras.backend.backend() == "jax" else False  # XLA slows convolutions down on a CPU
        keras.Model.compile(model, optimizer, loss, loss_weights=loss_weights, jit_compile=jit)  # not an own `compile`
        self._says_loss = not steps_itself(model)  # someone's own step may report it or not
        self._start = [(variable, to_host(variable)) for variable in (*model.variables, *optimizer.variables)]

    def restart(self) -> None:
        """Weights and optimizer as they were at first."""
        for variable, value in self._start:
            variable.assign(value)

    def step(self, batch: Batch) -> float:
        """One training step; the loss before it."""
        if not self._says_loss:
            before = self._loss(batch)
            own_step(self.model, batch)
            return before
        logs = self.model.train_on_batch(batch.x, batch.y, batch.sample_weight, return_dict=True)
        self.model.reset_metrics()
        return float(logs["loss"])

    def _loss(self, batch: Batch) -> float:
        """What Keras' own step would report; statistics and seeds move as they do in any step."""
        x, y, weight = (as_tensors(part) for part in (batch.x, batch.y, batch.sample_weight))
        y_pred = self.model(x, training=True)
        return float(to_host(self.model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight)))


def own_step(model: keras.Model, batch: Batch) -> None:
    """One step by anyone's `train_step`, which gets `(x, y)` where there are no weights, as `fit` gives it."""
    before = dict(vars(model))
    try:
        if keras.backend.backend() == "jax":  # its step takes and returns the state, which `fit` alone keeps
            count = len(keras.tree.flatten(batch.x)[0])
            model.fit(batch.x, batch.y, count, sample_weight=batch.sample_weight, verbose=0)
        else:
            parts = [part for part in (batch.x, batch.y, batch.sample_weight) if part is not None]
            model.make_train_function()
            model.train_function(iter([tuple(keras.tree.map_structure(keras.ops.convert_to_tensor, parts))]))
    finally:
        for name in set(vars(model)) - set(before):  # what `fit` leaves behind, such as a history
            del model.__dict__[name]
        plain = (bool, int, float, str, type(None))  # counters and the like, of the user's own
        kept = {name: value for name, value in before.items() if name == "history" or isinstance(value, plain)}
        model.__dict__.update({name: value for name, value in kept.items() if not name.endswith("_function")})
    model.reset_metrics()


def at_rate(optimizer: Any, rate: float) -> Any:
    """An optimizer that is nobody else's, with this rate in place of its own and of its schedule."""
    optimizer.__dict__["_learning_rate"] = None
    optimizer._learning_rate = keras.Variable(rate, dtype="float32", trainable=False, name="learning_rate")
    return optimizer


def loss_weights_of(model: keras.Model) -> Any:
    """The weights of the losses as the user compiled them."""
    return getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None)
