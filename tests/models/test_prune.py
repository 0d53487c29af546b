from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from segnosis import models
from segnosis.core.errors import ArgumentError


@pytest.fixture(scope="module")
def whole() -> keras.Model:
    return models.unet_plus_plus((None, None, 1), 2, width=4, depth=3, deep_supervision=True)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_logits_are_those_of_that_depth_and_nothing_deeper_is_kept(whole: keras.Model, depth: int) -> None:
    pruned = models.prune(whole, depth)
    x = np.random.default_rng(0).random((2, 13, 18, 1), "float32")
    np.testing.assert_allclose(pruned.predict_on_batch(x), whole.predict_on_batch(x)[depth - 1], atol=1e-6)
    assert pruned.count_params() == models.unet_plus_plus((None, None, 1), 2, width=4, depth=depth).count_params()


def test_training_the_pruned_network_leaves_the_whole_as_it_is(whole: keras.Model) -> None:
    before = [weight.tobytes() for weight in whole.get_weights()]
    pruned = models.prune(whole, 2)
    pruned.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    pruned.train_on_batch(np.ones((1, 8, 8, 1), "float32"), np.ones((1, 8, 8), "int32"))
    assert [weight.tobytes() for weight in whole.get_weights()] == before


def test_behind_preprocessing_and_after_saving(whole: keras.Model, tmp_path: Path) -> None:
    pixels = keras.Input((None, None, 1))
    wrapped = keras.Model(pixels, whole(keras.layers.Rescaling(1 / 255)(pixels)))
    wrapped.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).random((1, 9, 11, 1), "float32") * 255
    pruned = models.prune(opened, 1)
    np.testing.assert_allclose(pruned.predict_on_batch(x), wrapped.predict_on_batch(x)[0], atol=1e-6)
    assert pruned.count_params() == models.prune(whole, 1).count_params()


def test_a_backbone_is_cut_at_its_level() -> None:
    whole = models.unet_plus_plus((32, 32, 3), 2, width=4, depth=3, backbone="mobilenet_v2", deep_supervision=True)
    pruned = models.prune(whole, 2)
    x = np.random.default_rng(0).random((1, 32, 32, 3), "float32") * 255
    np.testing.assert_allclose(pruned.predict_on_batch(x), whole.predict_on_batch(x)[1], atol=1e-6)
    assert set(pruned.get_layer("backbone").output) == {"P1", "P2"}
    assert pruned.get_layer("backbone").count_params() < whole.get_layer("backbone").count_params() / 2


@pytest.mark.parametrize("depth", [0, 4, 1.0])
def test_a_depth_it_does_not_have(whole: keras.Model, depth: int) -> None:
    with pytest.raises(ArgumentError, match=rf"an integer from 1 to 3\. Received: depth={depth}"):
        models.prune(whole, depth)


def test_a_network_without_heads_says_how_to_get_them() -> None:
    with pytest.raises(ArgumentError, match="deep_supervision=True"):
        models.prune(models.unet((16, 16, 1), 2, width=4, depth=1), 1)
