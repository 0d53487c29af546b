"""BatchNormalization statistics: the plain mean over batches, and back."""

from __future__ import annotations

import keras
import numpy as np

from segnosis.training import statistics


def test_statistics_are_the_means_over_the_batches_and_nothing_else_changes() -> None:
    rng = np.random.default_rng(0)
    batches = [(rng.normal(k, 1 + k, (4, 5, 5, 3)).astype(np.float32), None) for k in range(3)]
    inner = keras.Sequential([keras.Input((5, 5, 3)), keras.layers.BatchNormalization(momentum=0.7, name="learns")])
    frozen = keras.layers.BatchNormalization(name="frozen", trainable=False)
    model = keras.Sequential([keras.Input((5, 5, 3)), inner, frozen])
    before = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    kept = statistics.recompute(model, batches)
    layer = inner.get_layer("learns")
    mean = np.mean([x.mean(axis=(0, 1, 2)) for x, _ in batches], axis=0)
    variance = np.mean([x.var(axis=(0, 1, 2)) for x, _ in batches], axis=0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.moving_mean), mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.moving_variance), variance, rtol=1e-4)
    assert layer.momentum == 0.7
    assert np.array_equal(keras.ops.convert_to_numpy(frozen.moving_mean), np.zeros(3))
    statistics.put_back(kept)
    for variable, value in zip(model.variables, before, strict=True):
        assert np.array_equal(keras.ops.convert_to_numpy(variable), value)


def test_a_model_without_statistics_is_left_alone() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    assert statistics.recompute(model, [(np.zeros((1, 2), np.float32), None)]) == []
