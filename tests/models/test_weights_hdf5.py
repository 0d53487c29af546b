"""Keras' HDF5 files: the community's DeepLab, and whatever keras.applications saves, in all three layouts of Keras."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from tests.references import deeplab_tensorflow as reference

import segnosis as sg
from segnosis.core.errors import DataError
from segnosis.models import backbones
from segnosis.models.weights.mapping import WeightsError


def run(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray] | np.ndarray:
    """Without compiling: each network is used once or twice."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(x, training=False))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def write_keras_2(path: Path, layers: dict[str, dict[str, np.ndarray]]) -> None:
    """`{layer: {weight: array}}` as Keras 2's `save_weights` lays it out."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in ("input_1", *layers)]
        file.create_group("input_1").attrs["weight_names"] = []
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{weight}:0".encode() for weight in weights]
            for weight, array in weights.items():
                group[f"{layer}/{weight}:0"] = array


def community_layers(tensors: reference.Tensors) -> dict[str, dict[str, np.ndarray]]:
    """The tensors of a checkpoint under the names that the community's converter gave them."""
    kinds = {"weights": "kernel", "biases": "bias", "depthwise_weights": "depthwise_kernel"}
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in tensors.items():
        scope, kind = name.rsplit("/", 1)
        layer = re.sub(r"^(xception_65|MobilenetV2|decoder)/", "", scope).replace("BatchNorm", "BN")
        layer = re.sub(r"^(entry_flow|exit_flow)/(block\d)/unit_1/xception_module", r"\1/\2", layer)
        layer = re.sub(r"^middle_flow/block1/(unit_\d+)/xception_module", r"middle_flow/\1", layer)
        layers.setdefault(layer.replace("/", "_"), {})[kinds.get(kind, kind)] = array
    return layers


def test_the_community_s_mobile_deeplab(tmp_path):
    tensors = reference.mobilenet_tensors(4)
    layers = community_layers(tensors)
    assert {"Conv", "Conv_BN", "expanded_conv_depthwise_BN", "expanded_conv_16_project", "logits_semantic"} <= set(
        layers
    )
    write_keras_2(tmp_path / "deeplab.h5", layers)
    model = sg.models.deeplab_v3_plus((65, 65, 3), 4, backbone="mobilenet_v2")
    loaded = sg.models.load_weights(model, tmp_path / "deeplab.h5")
    assert (loaded.format, loaded.weights) == ("deeplab_hdf5", model.count_params())
    pytest.importorskip("tensorflow", reason="the reference computes with TensorFlow")
    x = images(1, 65, 65, 3)
    np.testing.assert_allclose(run(model, x), reference.mobilenet_logits(tensors, x), rtol=1e-3, atol=1e-4)


def test_the_community_s_xception_deeplab_with_classes_of_its_own(tmp_path):
    tensors = {name: np.zeros(array.shape, "float32") for name, array in reference.xception_tensors(3).items()}
    for number, name in enumerate(sorted(tensors)):
        tensors[name].flat[0] = number
    layers = community_layers(tensors)
    layers["custom_logits_semantic"] = layers.pop("logits_semantic")
    assert {"entry_flow_block1_shortcut_BN", "middle_flow_unit_16_separable_conv3_pointwise"} <= set(layers)
    assert {"feature_projection0", "decoder_conv1_pointwise_BN", "exit_flow_block2_separable_conv3_depthwise"} <= set(
        layers
    )
    write_keras_2(tmp_path / "deeplab.h5", layers)
    model = sg.models.deeplab_v3_plus((65, 65, 3), 3)
    assert sg.models.load_weights(model, tmp_path / "deeplab.h5").tensors == len(tensors)
    numbers = sorted(
        float(keras.ops.convert_to_numpy(weight).flat[0]) for weight in model.weights if "seed" not in weight.path
    )
    assert numbers == list(range(len(tensors)))
    backbone = model.get_layer("backbone")
    moved = sorted(tensors).index(
        "xception_65/middle_flow/block1/unit_9/xception_module/separable_conv2_depthwise/depthwise_weights"
    )
    kernel = backbone.get_layer("middle_flow_block1_unit9_separable_conv2_depthwise").get_weights()[0]
    assert kernel.flat[0] == moved


@pytest.mark.parametrize(
    ("name", "theirs", "suffix"),
    [
        ("mobilenet_v3_small", "MobileNetV3Small", ".h5"),
        ("convnext_tiny", "ConvNeXtTiny", ".h5"),
        ("convnext_tiny", "ConvNeXtTiny", ".weights.h5"),
    ],
)
def test_keras_applications(name, theirs, suffix, tmp_path):
    network = getattr(keras.applications, theirs)(include_top=False, weights=None, input_shape=(64, 64, 3))
    (network.save_weights if suffix == ".weights.h5" else network.save)(tmp_path / f"theirs{suffix}")
    pixels = keras.Input((64, 64, 3))
    model = keras.Model(pixels, backbones.pyramid(name, pixels))
    assert sg.models.load_weights(model, tmp_path / f"theirs{suffix}").weights == model.count_params()
    x = images(1, 64, 64, 3)
    np.testing.assert_allclose(run(model, x)["P5"], run(network, x), rtol=1e-3, atol=1e-4)


def test_keras_own_names_of_mobilenet_v2(tmp_path):
    theirs = keras.applications.MobileNetV2(include_top=True, weights=None, input_shape=(65, 65, 3))
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    pixels = keras.Input((65, 65, 3))
    ours = keras.Model(pixels, backbones.pyramid("mobilenet_v2", pixels, preprocessing=False)["P5"])
    sg.models.load_weights(ours, tmp_path / "theirs.weights.h5", only="backbone")
    features = keras.Model(theirs.input, theirs.get_layer("block_16_project_BN").output)
    x = images(1, 65, 65, 3) / 127.5 - 1
    np.testing.assert_allclose(run(ours, x), run(features, x), rtol=1e-3, atol=1e-4)


def test_slashes_and_capitals_of_keras_2(tmp_path):
    theirs = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(64, 64, 3))
    layers = {}
    for layer in theirs.layers:
        if layer.weights:
            old = re.sub(r"_bn$", "/BatchNorm", layer.name)
            old = re.sub(r"^(expanded_conv(?:_\d+)?)_(expand|depthwise|project|squeeze_excite)", r"\1/\2", old)
            old = re.sub(r"squeeze_excite_conv", "squeeze_excite/Conv", re.sub(r"^conv", "Conv", old))
            layers[old] = {weight.name: keras.ops.convert_to_numpy(weight) for weight in layer.weights}
    assert {"Conv", "Conv/BatchNorm", "expanded_conv/squeeze_excite/Conv_1"} <= set(layers)
    write_keras_2(tmp_path / "old.h5", layers)
    pixels = keras.Input((64, 64, 3))
    model = keras.Model(pixels, backbones.pyramid("mobilenet_v3_small", pixels))
    sg.models.load_weights(model, tmp_path / "old.h5")
    x = images(1, 64, 64, 3)
    np.testing.assert_allclose(run(model, x)["P5"], run(theirs, x), rtol=1e-3, atol=1e-4)


def test_an_earlier_model_of_ours_fills_a_new_one_or_its_backbone(tmp_path):
    arguments = {"width": 2, "depth": 2, "backbone": "mobilenet_v2", "dropout": 0.1}
    earlier = sg.models.unet((None, None, 1), 3, **arguments)
    earlier.save(tmp_path / "model.keras")
    later = sg.models.unet((None, None, 1), 3, **arguments)
    loaded = sg.models.load_weights(later, tmp_path / "model.keras")
    assert (loaded.format, loaded.tensors) == ("keras_archive", len(earlier.weights))
    assert all(np.array_equal(a, b) for a, b in zip(earlier.get_weights(), later.get_weights(), strict=True))
    other_classes = sg.models.unet((None, None, 1), 5, **arguments)
    with pytest.raises(WeightsError, match='only="backbone"'):
        sg.models.load_weights(other_classes, tmp_path / "model.keras")
    sg.models.load_weights(other_classes, tmp_path / "model.keras", only="backbone")
    ours, theirs = (model.get_layer("backbone").get_weights() for model in (other_classes, earlier))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_damaged_archive_is_told(tmp_path):
    sg.models.unet((None, None, 1), 3, width=2, depth=1).save(tmp_path / "model.keras")
    whole = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        sg.models.load_weights(sg.models.unet((None, None, 1), 3, width=2, depth=1), tmp_path / "half.keras")


def test_another_network_s_file_is_refused_whole(tmp_path):
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="odd")]).save_weights(tmp_path / "odd.weights.h5")
    model = sg.models.deeplab_v3_plus((65, 65, 3), 2, backbone="mobilenet_v2")
    with pytest.raises(WeightsError, match="left over: odd/0, odd/1") as error:
        sg.models.load_weights(model, tmp_path / "odd.weights.h5")
    assert len(error.value.missing) == len([weight for weight in model.weights if "seed" not in weight.path])
    assert len(str(error.value)) < 2000


def test_hdf5_of_something_else_is_told(tmp_path):
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["image"] = np.zeros(3)
    model = sg.models.deeplab_v3_plus((65, 65, 3), 2, backbone="mobilenet_v2")
    with pytest.raises(DataError, match="of no known format"):
        sg.models.load_weights(model, tmp_path / "image.h5")
    with pytest.raises(DataError, match="named group per layer"):
        sg.models.load_weights(model, tmp_path / "image.h5", format="keras_hdf5")
