"""Whatever the doctor does, the user's model, optimizer, data and random states are bit-identical afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import segnosis as sg
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import borrowed, model_copy, optimizer_copy, untouched

X = np.random.default_rng(0).random((8, 16, 16, 1)).astype("float32")
Y = (X[..., 0] > 0.5).astype("int32")


def functional() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((16, 16, 4)), keras.layers.Conv2D(4, 1), keras.layers.Lambda(lambda t: 2 * t)]
    )
    inner.trainable = False
    inputs = keras.Input((16, 16, 1))
    h = keras.layers.Conv2D(4, 3, padding="same", kernel_regularizer="l2")(inputs)
    h = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(h))
    return keras.Model(inputs, keras.layers.Conv2D(2, 1)(inner(h)))


class Subclassed(keras.Model):
    """Takes layers, so Keras cannot rebuild it from a config."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.stack = layers

    def call(self, inputs: Any, training: bool = False) -> Any:
        for layer in self.stack:
            inputs = layer(inputs, training=training) if isinstance(layer, keras.layers.Dropout) else layer(inputs)
        return inputs


def subclassed() -> keras.Model:
    model = Subclassed([keras.layers.Conv2D(4, 1), keras.layers.Dropout(0.5), keras.layers.Conv2D(2, 1)])
    model(X[:1])
    return model


def compiled(make: Any, *, trained: bool) -> keras.Model:
    model = make()

    def own_loss(y_true: Any, y_pred: Any) -> Any:  # a closure: Keras could not rebuild it
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

    model.compile("adam", own_loss, metrics=["accuracy"])
    if trained:
        model.fit(X, Y, batch_size=4, verbose=0)
    return model


def everything(model: keras.Model) -> dict[str, Any]:
    """All that a user could notice."""
    from keras.src.backend.common.global_state import get_global_attribute

    seed = get_global_attribute("global_seed_generator")
    return {
        "weights": [to_host(v) for v in model.variables],
        "optimizer": [to_host(v) for v in model.optimizer.variables],
        "metrics": [to_host(v) for metric in model.metrics for v in metric.variables],
        "trainable": [layer.trainable for layer in model._flatten_layers()],
        "compiled": [id(getattr(model, name)) for name in ("loss", "optimizer", "_compile_loss", "train_function")],
        "built": [model.optimizer.built, model._compile_metrics.built, model._compile_loss.built],
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].copy(),
        "keras": None if seed is None else to_host(seed.state),
        "names": dict(get_global_attribute("object_name_uids") or {}),
    }


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    keras.utils.set_random_seed(5)
    yield


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("make", [functional, subclassed])
def test_diagnose_changes_nothing(make: Any, trained: bool) -> None:
    model = compiled(make, trained=trained)
    before = everything(model)
    sg.diagnose(model, (X, Y), (X, Y))
    np.testing.assert_equal(everything(model), before)


@pytest.mark.parametrize("make", [functional, subclassed])
def test_the_guard_undoes_training_recompiling_and_freezing(make: Any) -> None:
    model = compiled(make, trained=True)
    before = everything(model)
    with pytest.raises(ZeroDivisionError), untouched(model):
        model.layers[0].trainable = False
        model.compile(optimizer_copy(model.optimizer), "mse", metrics=["mae"])
        model.fit(X, np.zeros((8, 16, 16, 2), "float32"), verbose=0)
        random.random(), np.random.random(), keras.random.uniform((1,))
        raise ZeroDivisionError
    np.testing.assert_equal(everything(model), before)
    model.fit(X, Y, verbose=0)


def test_a_copy_is_equal_and_apart() -> None:
    model = compiled(functional, trained=True)
    before = everything(model)
    copy = model_copy(model)
    np.testing.assert_equal([to_host(v) for v in copy.variables], before["weights"])
    assert [layer.trainable for layer in copy._flatten_layers()] == before["trainable"]
    optimizer = optimizer_copy(model.optimizer, copy.trainable_variables)
    np.testing.assert_equal([to_host(v) for v in optimizer.variables], before["optimizer"])
    copy.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    copy.fit(X, Y, verbose=0)
    np.testing.assert_equal(everything(model)["weights"], before["weights"])
    np.testing.assert_equal(everything(model)["optimizer"], before["optimizer"])


def test_a_model_that_cannot_be_copied_is_lent() -> None:
    model = compiled(subclassed, trained=False)
    with pytest.raises(Unavailable, match="cannot be copied"):
        model_copy(model)
    before = [to_host(v) for v in model.variables]
    with borrowed(model) as lent:
        assert lent is model
        for variable in lent.trainable_variables:
            variable.assign(variable + 1)
    np.testing.assert_equal([to_host(v) for v in model.variables], before)


def test_a_schedule_survives_the_copy_of_its_optimizer() -> None:
    class Mine(keras.optimizers.schedules.LearningRateSchedule):  # no get_config: people forget it
        def __call__(self, step: Any) -> Any:
            return 0.25

    schedule = Mine()
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
    copy = optimizer_copy(optimizer)
    assert copy._learning_rate is schedule is optimizer._learning_rate and copy.momentum == 0.9
