"""Folding changes how much is computed, never what comes out."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

import segnosis as sg
from segnosis.core.errors import ArgumentError

MODELS: dict[str, Callable[[], keras.Model]] = {
    "unet": lambda: sg.models.unet((None, None, 2), num_classes=3, width=4, depth=2, preprocessing="standardize"),
    "unet, residual": lambda: sg.models.unet((32, 32, 2), num_classes=3, width=4, depth=2, residual=True),
    "unet, no normalization": lambda: sg.models.unet((32, 32, 2), 3, width=4, depth=2, normalization=None),
    "unet, transposed": lambda: sg.models.unet((32, 32, 2), num_classes=3, width=4, depth=2, upsampling="transposed"),
    "unet++": lambda: sg.models.unet_plus_plus((32, 32, 2), num_classes=3, width=4, depth=3, deep_supervision=True),
    "deeplab": lambda: sg.models.deeplab_v3_plus((None, None, 3), num_classes=3, backbone="mobilenet_v2"),
}


def _trained(make: Callable[[], keras.Model]) -> keras.Model:
    """Weights and statistics that no longer are their start values."""
    keras.utils.set_random_seed(0)
    model = make()
    draw = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(draw.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(draw.normal(0.0, 0.3, weight.shape))
    return model


def _outputs(model: keras.Model, image: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(out, np.float32) for out in keras.tree.flatten(model.predict_on_batch(image))]


def _image(model: keras.Model, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, height, width, model.input_shape[-1])).astype(np.float32)


@pytest.mark.parametrize("upsampling", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_folded_models_say_the_same(name: str, upsampling: bool) -> None:
    model = _trained(MODELS[name])
    before = [np.array(weight) for weight in model.get_weights()]
    image = _image(model, *((37, 50) if model.input_shape[1] is None else (32, 32)))
    expected = _outputs(model, image)
    folded = sg.models.fold(model, upsampling=upsampling)
    for found, wanted in zip(_outputs(folded, image), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1.0, float(np.abs(wanted).max())))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)), "the model changed"


@pytest.mark.parametrize("name", MODELS)
def test_no_normalization_is_left_behind_a_convolution(name: str) -> None:
    kinds = [type(layer) for _, layer in _leaves(sg.models.fold(MODELS[name](), upsampling=True))]
    assert keras.layers.BatchNormalization not in kinds
    # A residual unit looks at the up-sampled map twice.
    assert keras.layers.UpSampling2D not in kinds or name in ("deeplab", "unet, residual")


def _leaves(model: keras.Model) -> list[tuple[str, keras.layers.Layer]]:
    from segnosis.models.freeze import leaves

    return list(leaves(model))


def test_what_cannot_be_folded_stays() -> None:
    image = keras.Input((8, 8, 2))
    twice = keras.layers.Conv2D(3, 3, padding="same", name="twice")(image)
    norm = keras.layers.BatchNormalization()(twice)
    bent = keras.layers.Conv2D(3, 3, padding="same", activation="relu")(keras.layers.Add()([norm, twice]))
    model = keras.Model(image, keras.layers.BatchNormalization()(bent))
    folded = sg.models.fold(_trained(lambda: model))
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers) == 2
    x = _image(model, 8, 8)
    np.testing.assert_allclose(folded.predict_on_batch(x), model.predict_on_batch(x), atol=1e-5)


def test_precision_is_that_of_the_middle_alone() -> None:
    model = MODELS["unet"]()
    half = sg.models.cast(model, "bfloat16")
    kinds = {layer.name: layer.compute_dtype for layer in half.layers}
    assert kinds["preprocess"] == kinds["head"] == "float32"
    assert kinds["encoder1_conv1"] == kinds["decoder1_conv2"] == "bfloat16"
    assert half.output.dtype == "float32"
    folded = sg.models.fold(model, precision="bfloat16", upsampling=True)
    sums = [layer for layer in folded.layers if isinstance(layer, keras.layers.Add)]
    assert sums and {layer.compute_dtype for layer in sums} == {"bfloat16"}, "else every sum is made, and held, twice"
    back = sg.models.cast(half, "float32")
    x = _image(model)
    np.testing.assert_allclose(back.predict_on_batch(x), model.predict_on_batch(x), atol=1e-6)


def test_a_model_without_a_graph_is_named() -> None:
    class Own(keras.Model):
        def call(self, x: object) -> object:
            return x

    with pytest.raises(ArgumentError, match="functional"):
        sg.models.fold(Own())
