"""DeepLab's TensorFlow checkpoints: true names, full size, and the logits that TensorFlow itself computes from them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from tests.references import deeplab_tensorflow as reference

import segnosis as sg
from segnosis.core.errors import ArgumentError, DataError
from segnosis.models.weights import tensorflow_checkpoint
from segnosis.models.weights.mapping import WeightsError

pytest.importorskip("tensorflow", reason="TensorFlow writes and reads its checkpoints")


def run(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Without compiling: each network is used once or twice."""
    return keras.ops.convert_to_numpy(model(x, training=False))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def mobile(num_classes: int = 4, channels: int = 3) -> keras.Model:
    return sg.models.deeplab_v3_plus((None, None, channels), num_classes, backbone="mobilenet_v2")


@pytest.fixture(scope="module")
def tensors():
    return reference.mobilenet_tensors(4)


@pytest.fixture(scope="module")
def checkpoint(tensors, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("mobile") / "model.ckpt"
    training = {"global_step": np.array(30000), "logits/semantic/biases/Momentum": np.zeros(4, "float32")}
    reference.save({**tensors, **training}, str(prefix))
    return prefix


def test_mobile_deeplab_computes_what_the_checkpoint_computes(tensors, checkpoint):
    model = mobile()
    loaded = sg.models.load_weights(model, checkpoint)
    assert (loaded.format, loaded.tensors, loaded.notes) == ("tensorflow_checkpoint", len(tensors), ())
    assert loaded.weights == model.count_params()
    x = images(1, 65, 81, 3)
    expected = reference.mobilenet_logits(tensors, x)
    assert expected.std() > 0.05
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-3, atol=1e-4)


def test_xception_deeplab_computes_what_the_checkpoint_computes(tmp_path):
    tensors = reference.xception_tensors(21)
    assert sum(array.size for array in tensors.values()) == 41_258_213
    reference.save(tensors, str(tmp_path / "model.ckpt"))
    model = sg.models.deeplab_v3_plus((65, 65, 3), 21)
    assert sg.models.load_weights(model, tmp_path / "model.ckpt").tensors == len(tensors)
    x = images(1, 65, 65, 3)
    expected = reference.xception_logits(tensors, x)
    assert expected.std() > 0.05
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-3, atol=1e-4 * expected.std())


def test_every_misfit_is_listed_at_once_and_nothing_is_loaded(tensors, tmp_path):
    wrong = dict(tensors)
    del wrong["MobilenetV2/expanded_conv_3/expand/weights"], wrong["aspp0/BatchNorm/gamma"]
    wrong["decoder/feature_projection0/weights"] = np.zeros((1, 1, 24, 48), "float32")
    wrong["MobilenetV2/Conv/weights"] = np.zeros((5, 5, 3, 32), "float32")
    reference.save(wrong, str(tmp_path / "model.ckpt"))
    model = mobile()
    before = model.get_weights()
    with pytest.raises(WeightsError) as error:
        sg.models.load_weights(model, tmp_path / "model.ckpt")
    assert error.value.missing == ["MobilenetV2/expanded_conv_3/expand/weights", "aspp0/BatchNorm/gamma"]
    assert error.value.left_over == ["decoder/feature_projection0/weights"]
    assert error.value.misshapen == {"MobilenetV2/Conv/weights": ((5, 5, 3, 32), (3, 3, 3, 32))}
    for name in (*error.value.missing, *error.value.left_over, *error.value.misshapen):
        assert name in str(error.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_a_checkpoint_s_own_files_name_it_too(checkpoint, suffix):
    assert tensorflow_checkpoint.recognises(checkpoint.with_name(f"{checkpoint.name}{suffix}"))


def test_other_classes_take_the_backbone_alone(tensors, checkpoint):
    model = mobile(num_classes=7)
    with pytest.raises(WeightsError, match='only="backbone"') as error:
        sg.models.load_weights(model, checkpoint)
    assert set(error.value.misshapen) == {"logits/semantic/weights", "logits/semantic/biases"}
    head = model.get_layer("logits").get_weights()
    sg.models.load_weights(model, checkpoint, only="backbone")
    kernel = model.get_layer("backbone").get_layer("conv").get_weights()[0]
    np.testing.assert_array_equal(kernel, tensors["MobilenetV2/Conv/weights"])
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], head[0])


def test_an_imagenet_classifier_fills_a_backbone(tensors, tmp_path):
    trunk = {name: array for name, array in tensors.items() if name.startswith("MobilenetV2/")}
    classifier = {"MobilenetV2/Logits/Conv2d_1c_1x1/biases": np.zeros(1001, "float32")}
    reference.save({**trunk, **classifier}, str(tmp_path / "model.ckpt"))
    loaded = sg.models.load_weights(mobile(), tmp_path / "model.ckpt", only="backbone")
    assert loaded.tensors == len(trunk)
    reference.save({**trunk, "MobilenetV2/extra/weights": np.zeros(3, "float32")}, str(tmp_path / "other.ckpt"))
    with pytest.raises(WeightsError, match="MobilenetV2/extra/weights"):
        sg.models.load_weights(mobile(), tmp_path / "other.ckpt", only="backbone")


def test_grey_images_act_as_equal_colours_and_it_is_said(checkpoint):
    grey, colour = mobile(channels=1), mobile()
    loaded = sg.models.load_weights(grey, checkpoint)
    sg.models.load_weights(colour, checkpoint)
    assert "summed over 3 colours" in str(loaded)
    x = images(1, 33, 33, 1)
    expected = run(colour, np.repeat(x, 3, axis=3))
    np.testing.assert_allclose(run(grey, x), expected, rtol=1e-3, atol=1e-4)


def test_many_channels_repeat_the_colours_at_the_same_strength_and_it_is_said(tensors, checkpoint):
    model = mobile(channels=5)
    loaded = sg.models.load_weights(model, checkpoint, only="backbone")
    assert "repeated for 5" in loaded.notes[0]
    kernel = model.get_layer("backbone").get_layer("conv").get_weights()[0]
    published = tensors["MobilenetV2/Conv/weights"]
    for channel in range(5):
        np.testing.assert_allclose(kernel[:, :, channel], published[:, :, channel % 3] * 3 / 5, rtol=1e-6)


def test_a_broken_checkpoint_is_told(checkpoint, tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes((checkpoint.parent / "model.ckpt.index").read_bytes())
    with pytest.raises(DataError, match="index and its data files"):
        sg.models.load_weights(mobile(), tmp_path / "model.ckpt")


def test_only_names_a_part_of_the_model(checkpoint):
    with pytest.raises(ArgumentError, match="`only` names"):
        sg.models.load_weights(mobile(), checkpoint, only="trunk")
