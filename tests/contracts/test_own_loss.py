"""The loss inside a step of the user's own equals the same loss written out, with its slope, and nothing moves."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import segnosis as sg
from segnosis.doctor.autodiff import array_gradient
from segnosis.doctor.case import Batch
from segnosis.doctor.jax_steps import answered_by, batch_of, makers_replaced, objective_told
from segnosis.doctor.own_loss import OwnLoss, own_loss
from segnosis.doctor.patients import segmenter, squares

BACKEND = keras.backend.backend()


class Stepping(keras.Model):
    """As in many tutorials: a `compile` that takes a loss under a name of its own, and a step that uses it."""

    def __init__(self, activation: str | None = None) -> None:
        super().__init__()
        self.net, self.seen = segmenter(3, activation), 0

    def call(self, x: Any, training: bool = False) -> Any:
        return self.net(x, training=training)

    def compile(self, optimizer: Any, judge: Any) -> None:
        super().compile(optimizer=optimizer)
        self.judge = judge

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        self.seen += 1
        if BACKEND == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = self.judge(y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
        else:
            loss = self.judge(y, self(x, training=True))
            self.zero_grad()
            loss.backward()
            gradients = [variable.value.grad for variable in self.trainable_variables]
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"off": loss}


class Judging(keras.Model):
    """Overrides `compute_loss`."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True))


def stepping(activation: str | None = None) -> keras.Model:
    model = Stepping(activation)
    model(squares("ids")[0].x)
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def judging() -> keras.Model:
    net = segmenter(3)
    model = Judging(net.inputs, net.outputs[0])
    model.compile("adam")
    return model


def is_cross_entropy_of_logits(loss: OwnLoss, batch: Batch) -> None:
    """It has its value and its slope."""
    y_pred = np.random.default_rng(0).normal(size=(*batch.y.shape[:3], 3)).astype("float32")
    written = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found, slope = array_gradient(lambda tensor: loss(batch.y, tensor), y_pred)
    value, expected = array_gradient(lambda tensor: written(batch.y, tensor), y_pred)
    assert found == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(slope, expected, atol=1e-7)


@pytest.mark.skipif(BACKEND == "jax", reason="a step there is traced: nobody can be asked about one prediction")
@pytest.mark.parametrize("make", [stepping, judging])
def test_the_loss_inside_is_the_loss(make: Any) -> None:
    model, batch = make(), squares("ids")[0]
    loss = own_loss(model, batch)
    assert loss is not None
    is_cross_entropy_of_logits(loss, batch)


@pytest.mark.skipif(BACKEND == "jax", reason="a step there is traced: nobody can be asked about one prediction")
def test_other_sizes_of_batch_and_nothing_moves() -> None:
    model, batch = stepping(), squares("ids")[0]
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.variables]
    loss = own_loss(model, batch)
    assert loss is not None
    more = Batch(np.repeat(batch.x, 3, 0), np.repeat(batch.y, 3, 0))
    y_pred = keras.ops.zeros((*more.y.shape[:3], 3))
    assert float(keras.ops.convert_to_numpy(loss(more.y, y_pred))) == pytest.approx(np.log(3), rel=1e-5)
    after = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.skipif(BACKEND == "jax", reason="a step there is traced: nobody can be asked about one prediction")
def test_two_activations_are_found_inside_a_step() -> None:
    batches = squares("ids")
    x, y = (np.concatenate([getattr(batch, part) for batch in batches]) for part in ("x", "y"))
    assert "HED001" in [f.code for f in sg.diagnose(stepping("softmax"), (x, y), budget="probe").findings]
    assert "HED001" not in [f.code for f in sg.diagnose(stepping(), (x, y), budget="probe").findings]


def test_a_model_that_trains_by_what_was_compiled_has_none() -> None:
    assert own_loss(segmenter(3), squares("ids")[0]) is None


@pytest.mark.skipif(BACKEND != "jax", reason="stateless steps are JAX's")
def test_a_stateless_step_tells_its_batch_and_its_loss() -> None:
    import jax

    model, batch = segmenter(3), squares("ids")[0]
    state = [
        [variable.value for variable in part] for part in (model.trainable_variables, model.non_trainable_variables)
    ]

    def loss_of(trainable: Any, fixed: Any, x: Any, y: Any) -> Any:
        logits, fixed = model.stateless_call(trainable, fixed, x, training=True)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, logits), fixed

    with makers_replaced(lambda: True):
        differentiated = jax.value_and_grad(loss_of, has_aux=True)
        step = jax.jit(lambda state, x, y: differentiated(*state, x, y)[0][0])
        as_ever = float(step(state, batch.x, batch.y))
        told = batch_of(objective_told(lambda: step(state, batch.x, batch.y)), model)
        assert float(step(state, batch.x, batch.y)) == as_ever
    assert np.array_equal(told.batch.x, batch.x) and np.array_equal(told.batch.y, batch.y)
    assert float(told.objective.value()) == pytest.approx(as_ever, rel=1e-5)
    loss = OwnLoss("training_loop", answered_by(model, told), told.batch.x)
    is_cross_entropy_of_logits(loss, batch)
