"""Models with a `train_step` of their own, whose loss nobody sees from outside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from segnosis.doctor.case import Case
from segnosis.doctor.check import find
from segnosis.doctor.examine import Evidence, examine
from segnosis.doctor.own_loss import own_loss
from segnosis.doctor.own_metric import own_metrics
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable

pytestmark = pytest.mark.one_backend


class Stepping(keras.Model):
    """Trains on its own terms: `applies` its gradients or forgets to, on a soft loss or on a `hard` one.

    Or gives those of its head alone, or adds a `penalty` times the squares of its kernels.
    """

    def __init__(
        self, applies: bool = True, hard: bool = False, head_alone: bool = False, penalty: float = 0.0
    ) -> None:
        super().__init__()
        self.net, self.applies, self.hard = segmenter(3), applies, hard
        self.head_alone, self.penalty = head_alone, penalty

    def call(self, x: Any, training: bool = False) -> Any:
        return self.net(x, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            p = tf.nn.softmax(self(x, training=True))
            if self.hard:
                p = tf.one_hot(tf.argmax(p, -1), 3)
            loss = 1 - tf.reduce_mean(p * tf.one_hot(tf.cast(y, tf.int32), 3))
            if self.penalty:
                kernels = [v.value for v in self.trainable_variables if v.name == "kernel"]
                loss += self.penalty * tf.add_n([tf.reduce_sum(kernel**2) for kernel in kernels])
        weights = (self.net.layers[-1] if self.head_alone else self).trainable_variables
        gradients = tape.gradient(loss, weights)
        if self.applies:
            self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return {"total": loss}


def case_of(model: keras.Model) -> Case:
    batches = squares("ids")
    model(batches[0].x)
    optimizer = keras.optimizers.Adam(1e-3)
    model.compile(optimizer)
    return Case(model=model, optimizer=optimizer, batches=batches)


@pytest.mark.parametrize(
    ("code", "given", "expected"),
    [
        ("NRM003", {}, Healthy),
        ("NRM003", {"applies": False}, Finding),
        ("NRM003", {"head_alone": True}, Finding),
        ("NRM003", {"hard": True}, Healthy),
        ("LOS001", {}, NotApplicable),
        ("LOS001", {"applies": False}, NotApplicable),
        ("LOS001", {"hard": True}, Finding),
    ],
)
def test_what_a_step_gives_its_optimizer_tells(code: str, given: dict[str, Any], expected: type) -> None:
    assert isinstance(examine(case_of(Stepping(**given)), checks=[find(code)]).verdicts[0], expected)


def test_the_step_is_made_on_a_copy() -> None:
    case = case_of(Stepping())
    before = [np.array(variable) for variable in (*case.model.variables, *case.optimizer.variables)]
    names = set(vars(case.model))
    assert Evidence(case).get("own_step").moved == 4
    after = [np.array(variable) for variable in (*case.model.variables, *case.optimizer.variables)]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    assert set(vars(case.model)) == names


@pytest.mark.parametrize("penalty", [0.0, 0.01, 1e7])
def test_what_a_step_adds_for_its_kernels_is_no_part_of_its_data_term(penalty: float) -> None:
    model, batch = Stepping(penalty=penalty), squares("ids")[0]
    model(batch.x)
    model.compile(keras.optimizers.Adam(1e-3))
    loss = own_loss(model, batch)
    assert loss is not None
    kernels = [np.square(v.numpy()).sum() for v in model.trainable_variables if v.name == "kernel"]
    assert loss.penalty == pytest.approx(penalty * sum(kernels), rel=1e-4)
    y_pred = 20 * keras.ops.one_hot(batch.y[:2].astype("int32"), 3)
    assert float(loss(batch.y[:2], y_pred)) == pytest.approx(2 / 3, abs=1e-4)  # a third of all products is 1
    assert float(loss.whole(batch.y[:2], y_pred)) == pytest.approx(2 / 3 + loss.penalty, rel=1e-4)


def test_a_loss_that_lays_kernels_aside_can_be_traced() -> None:
    model, batch = Stepping(penalty=0.01), squares("ids")[0]
    model(batch.x)
    model.compile(keras.optimizers.Adam(1e-3))
    loss = own_loss(model, batch)
    assert loss is not None
    assert loss.penalty > 0
    kernels = [variable.numpy() for variable in model.trainable_variables]
    y_pred = 20 * keras.ops.one_hot(batch.y[:2].astype("int32"), 3)
    traced = tf.function(lambda: loss(batch.y[:2], y_pred))
    assert float(traced()) == pytest.approx(float(loss(batch.y[:2], y_pred)), abs=1e-5)
    assert all(np.array_equal(one, other) for one, other in zip(kernels, model.trainable_variables, strict=True))


class Reporting(Stepping):
    """Reports the accuracy of its scores, or of what a slip makes of them."""

    def __init__(self, slips: bool) -> None:
        super().__init__()
        self.slips, self.right = slips, keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    @property
    def metrics(self) -> list[Any]:
        return [self.right]

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        scores = self(x, training=False)
        self.right.update_state(y, -scores if self.slips else scores)
        return {"accuracy": self.right.result(), "loss": 0.0}


@pytest.mark.parametrize("slips", [False, True])
def test_what_a_test_step_reports_is_asked_about_known_predictions(slips: bool) -> None:
    case = case_of(Reporting(slips))
    case.model.right.update_state([1, 1], [[0.1, 0.9, 0.0], [0.1, 0.2, 0.7]])
    verdict = next(one for one in examine(case, checks=(find("MET001"),)).verdicts)
    assert isinstance(verdict, Finding if slips else Healthy)
    assert "accuracy" in verdict.measured
    assert float(case.model.right.result()) == 0.5  # what it had counted is still there


class Weighing(Stepping):
    """A step and a test that take images, targets and weights apart, and want all three."""

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, weight = data
        return super().train_step((x, tf.cast(y, "float32") * weight))

    def test_step(self, data: Any) -> dict[str, Any]:
        x, _, weight = data
        return {"share": tf.reduce_mean(tf.cast(weight, "float32")) * tf.reduce_mean(self(x))}


def test_a_step_that_takes_weights_apart_is_asked_with_ones() -> None:
    model, batch = Weighing(), squares("ids")[0]
    model(batch.x)
    model.compile(keras.optimizers.Adam(1e-3))
    weighed = replace(batch, sample_weight=np.full(batch.y.shape, 0.5, "float32"))
    loss = own_loss(model, weighed)
    assert loss is not None and own_loss(model, batch) is None
    y_pred = 20 * keras.ops.one_hot(batch.y[:2].astype("int32"), 3)
    assert float(loss(batch.y[:2], y_pred)) == pytest.approx(2 / 3, abs=1e-4)
    (metric,) = own_metrics(model, weighed)
    metric.update_state(batch.y[:2], y_pred)
    assert float(metric.result()) == pytest.approx(20 / 3, rel=1e-3)
