"""Gradients of the doctor against finite differences, on whichever backend runs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from segnosis.doctor.autodiff import array_gradient, model_gradients
from segnosis.doctor.patients import segmenter, squares


def test_model_gradients_equal_finite_differences() -> None:
    model = segmenter(3, "softmax", l2=0.1)
    batch = squares("one-hot", count=1)[0]
    loss = keras.losses.CategoricalCrossentropy()
    found = model_gradients(model, batch.x, lambda y_pred: loss(keras.ops.convert_to_tensor(batch.y), y_pred))
    head = next(i for i, variable in enumerate(model.trainable_variables) if "head" in variable.path)
    variable, start, step = model.trainable_variables[head], model.get_layer("head").get_weights()[0], 1e-2
    values = []
    for sign in (1, -1):
        moved = start.copy()
        moved[0, 0, 2, 1] += sign * step
        variable.assign(moved)
        values.append(float(keras.ops.convert_to_numpy(loss(batch.y, model(batch.x)))))
    assert found.data[head][0, 0, 2, 1] == pytest.approx((values[0] - values[1]) / (2 * step), rel=0.02, abs=1e-4)
    assert found.penalties[head][0, 0, 2, 1] == pytest.approx(0.2 * start[0, 0, 2, 1], rel=1e-4)
    assert found.penalty == pytest.approx(0.1 * sum((w**2).sum() for w in _kernels(model, start, variable)), rel=1e-4)


def _kernels(model: keras.Model, start: np.ndarray, variable: keras.Variable) -> list[np.ndarray]:
    variable.assign(start)
    return [weight for weight in model.get_weights() if weight.ndim == 4]


def test_an_arg_max_has_no_gradient() -> None:
    value, gradient = array_gradient(
        lambda p: keras.ops.sum(keras.ops.cast(keras.ops.argmax(p, axis=-1), "float32")), np.eye(3, dtype="float32")
    )
    assert value == 3.0
    assert not gradient.any()
