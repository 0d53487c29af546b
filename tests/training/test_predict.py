"""Whole images of any size: the same answer a plain call of the model gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segnosis.training.plan import Plan
from segnosis.training.predict import Ensemble, Predictor


class Identity:
    """Stands for a model whose logits are the pixels themselves, so that geometry alone is tested."""

    shapes: list[tuple[int, ...]]

    def __init__(self) -> None:
        self.shapes = []

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        self.shapes.append(x.shape)
        return np.concatenate([np.zeros_like(x), x], axis=-1)


def _expected(image: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-image.astype(np.float64)))


@pytest.mark.parametrize("size", [(32, 32), (50, 71), (9, 100), (33, 32)])
@pytest.mark.parametrize("mirror", [False, True])
def test_tiles_make_the_whole_image(size: tuple[int, int], mirror: bool) -> None:
    image = np.random.default_rng(0).normal(size=(*size, 1)).astype(np.float32)
    model: Any = Identity()
    found = Predictor(model, window=(32, 32), mirror=mirror).probabilities(image)
    assert found.shape == (*size, 2)
    np.testing.assert_allclose(found[..., 1:], _expected(image), atol=1e-5)
    assert len(set(model.shapes)) == 1, "one shape: the backend compiles once"


@pytest.mark.parametrize("classes", [2, 4, 9])
def test_probabilities_are_the_softmax_of_the_logits(classes: int) -> None:
    import keras

    image = np.random.default_rng(0).normal(size=(40, 50, 1)).astype(np.float32)
    pixels = keras.Input((None, None, 1))
    head = keras.layers.Conv2D(classes, 1)
    model = keras.Model(pixels, head(pixels))
    steep = np.linspace(-300.0, 300.0, classes)  # far beyond what `exp` can hold
    head.set_weights([steep.reshape(1, 1, 1, -1), np.zeros(classes)])
    found = Predictor.planned(Plan(data="", size=(32, 32)), model).probabilities(image)
    logits = image.astype(np.float64) * steep
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    np.testing.assert_allclose(found, odds / odds.sum(axis=-1, keepdims=True), atol=1e-4)


def test_a_model_from_a_file_may_hold_operations_of_any_name(tmp_path: Path) -> None:
    import keras

    keras.backend.clear_session()  # as in a new process, where names are counted from the start
    pixels = keras.Input((None, None, 1))
    odds = keras.ops.exp(keras.ops.subtract(keras.ops.transpose(pixels, (0, 1, 2, 3)), 0.5))
    shares = keras.ops.divide(odds, keras.ops.sum(odds, axis=-1, keepdims=True) + keras.ops.max(odds))
    logits = keras.layers.Conv2D(2, 1)(shares)
    keras.Model(pixels, logits).save(tmp_path / "model.keras")
    keras.backend.clear_session()
    model = keras.models.load_model(tmp_path / "model.keras")
    found = Predictor.planned(Plan(data="", size=(32, 32)), model).probabilities(np.zeros((32, 32, 1), np.float32))
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-6)


def test_means_over_scales_and_models_are_means() -> None:
    image = np.random.default_rng(0).normal(size=(32, 48, 1)).astype(np.float32)
    model: Any = Identity()
    one, half = (Predictor(model, window=(32, 32), scales=(scale,)) for scale in (1.0, 0.5))
    both = Predictor(model, window=(32, 32), scales=(1.0, 0.5))
    expected = (one.probabilities(image) + half.probabilities(image)) / 2
    np.testing.assert_allclose(both.probabilities(image), expected, atol=1e-6)
    np.testing.assert_allclose(Ensemble([one, half]).probabilities(image), expected, atol=1e-6)


def test_a_tile_and_its_mirror_images_are_one_batch() -> None:
    model: Any = Identity()
    Predictor(model, window=(32, 32), mirror=True).probabilities(np.zeros((32, 32, 1), np.float32))
    assert model.shapes == [(3, 32, 32, 1)]


def test_batches_grow_with_the_images_and_never_shrink() -> None:
    model: Any = Identity()
    predictor = Predictor(model, window=(32, 32), overlap=0.0, batch_size=4)
    for width in (32, 160, 32):
        predictor.probabilities(np.zeros((32, width, 1), np.float32))
    assert [shape[0] for shape in model.shapes] == [1, 4, 4, 4]


def test_stretched_images_come_back_at_their_size_and_place() -> None:
    image = np.zeros((60, 90, 1), np.float32)
    image[15:30, 45:75] = 8.0
    image -= 4.0
    model: Any = Identity()
    mask = Predictor(model, window=(32, 32), fit="resize").mask(image)
    assert mask.shape == (60, 90)
    assert np.mean(mask == (image[..., 0] > 0)) > 0.97
    assert model.shapes[0][1:3] == (32, 32)
