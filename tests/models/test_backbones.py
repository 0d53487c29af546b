"""Backbones: published sizes, strides, dilation that keeps the field of view, and Keras' own networks as reference."""

from __future__ import annotations

import functools
import json

import keras
import numpy as np
import pytest

from segnosis.core.errors import ArgumentError
from segnosis.models import backbones

# One of each family; the others differ in width and depth alone.
SAMPLE = ("resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_v2_b0", "convnext_tiny")


@functools.cache
def build(name: str | keras.Model, shape: tuple[int | None, ...] = (None, None, 3), **options) -> keras.Model:
    """Built once for all tests, which set all weights they rely on."""
    image = keras.Input(shape)
    return keras.Model(image, backbones.pyramid(name, image, **options))


def run(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray] | np.ndarray:
    """Without compiling: each network is used once or twice."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(x, training=False))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


# Trainable parameters as torchvision publishes them, less the classifier's (width + 1) · 1000.
@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 11_689_512 - 513_000), ("resnet34", 21_797_672 - 513_000), ("resnet50", 25_557_032 - 2_049_000)],
)
def test_resnets_have_the_published_number_of_parameters(name, count):
    assert sum(np.prod(weight.shape) for weight in build(name).trainable_weights) == count


@pytest.mark.parametrize("name", SAMPLE)
def test_level_k_has_stride_two_to_the_k_but_none_more_than_the_output_stride(name):
    features = run(build(name, output_stride=8), images(1, 70, 64, 3))
    for level, feature in features.items():
        stride = min(2 ** int(level[1:]), 8)
        assert feature.shape[1:3] == (-(-70 // stride), -(-64 // stride)), level
    assert set(features) == {f"P{level}" for level in range(2 if "convnext" in name else 1, 6)}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_dilation_computes_what_the_strided_network_computes_and_more(name):
    strided, dense = build(name, output_stride=32), build(name, output_stride=8)
    dense.set_weights(strided.get_weights())
    x = images(1, 65, 97, 3)
    coarse, fine = run(strided, x), run(dense, x)
    assert fine["P5"].shape[1:3] == (9, 13) and coarse["P5"].shape[1:3] == (3, 4)
    np.testing.assert_allclose(fine["P5"][:, ::4, ::4], coarse["P5"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "theirs", "size"),
    [
        ("mobilenet_v3_small", "MobileNetV3Small", 64),
        ("mobilenet_v3_small", "MobileNetV3Small", 65),
        ("efficientnet_v2_b0", "EfficientNetV2B0", 64),
        ("convnext_tiny", "ConvNeXtTiny", 64),
    ],
)
def test_last_level_is_what_keras_applications_computes(name, theirs, size):
    reference = getattr(keras.applications, theirs)(include_top=False, weights=None, input_shape=(size, size, 3))
    ours = build(name)
    ours.set_weights(reference.get_weights())
    x = images(1, size, size, 3)
    # Its own scaling of pixels, if it has one, is of no weights: the same output means the same scaling too.
    np.testing.assert_allclose(run(ours, x)["P5"], run(reference, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["convnext_tiny", "mobilenet_v3_small"])
def test_a_saved_backbone_is_made_of_what_keras_exports(name):
    modules = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if "class_name" in node and node.get("module"):
                modules.add(node["module"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(json.loads(build(name, output_stride=8).to_json()))
    assert modules
    assert not [module for module in modules if not module.startswith("keras") or "applications" in module]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_preprocessing_is_the_published_scaling_of_raw_pixels(name):
    inside, outside = build(name, levels=1), build(name, levels=1, preprocessing=False)
    outside.set_weights(inside.get_weights())
    x = images(1, 32, 32, 3)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scaled = (x / 255 - mean) / deviation if name == "resnet18" else x / 127.5 - 1
    np.testing.assert_allclose(run(inside, x)["P1"], run(outside, scaled.astype("float32"))["P1"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_channels(channels):
    model = build("resnet18", (None, None, channels), levels=2)
    assert run(model, images(1, 32, 32, channels))["P2"].shape == (1, 8, 8, 64)


def test_fewer_levels_leave_the_deeper_layers_out():
    shallow = build("mobilenet_v2", levels=3)
    assert set(shallow.output) == {"P1", "P2", "P3"}
    assert not [layer.name for layer in shallow.get_layer("backbone").layers if "expanded_conv_6" in layer.name]


def test_a_model_with_pyramid_outputs_is_a_backbone_too():
    pixels = keras.Input((None, None, 3))
    half = keras.layers.Conv2D(4, 3, strides=2, padding="same")(pixels)
    mine = keras.Model(pixels, {"P1": half, "P2": keras.layers.MaxPooling2D(2)(half)})
    assert build(mine).output["P2"].shape == (None, None, None, 4)
    with pytest.raises(ArgumentError, match="pyramid_outputs"):
        build(keras.Model(pixels, half))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet5", {}, "Did you mean `resnet50`"),
        ("resnet18", {"output_stride": 4}, "output_stride=8"),
        ("resnet18", {"levels": 6}, "levels=5"),
    ],
)
def test_wrong_arguments_are_told_with_the_cure(name, options, says):
    with pytest.raises(ArgumentError, match=says):
        build(name, **options)
