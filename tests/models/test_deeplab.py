"""DeepLab v3+: published sizes, features aligned to the pixel, any image size."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import segnosis as sg
from segnosis.core.errors import ArgumentError
from segnosis.models.freeze import leaves

LIGHT = {"backbone": "mobilenet_v2"}
FULL_HEAD = {"backbone": "mobilenet_v2", "decoder": True, "atrous_rates": (6, 12, 18)}


def run(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Without compiling: each network is used once or twice."""
    return keras.ops.convert_to_numpy(model(x, training=False))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def test_xception_variant_is_the_published_one_to_the_last_parameter():
    model = sg.models.deeplab_v3_plus((513, 513, 3), num_classes=21)
    assert model.count_params() == 41_258_213
    assert model.get_layer("backbone").count_params() == 38_052_512
    assert model.output.shape == (None, 513, 513, 21)
    assert model.get_layer("backbone").output["P5"].shape == (None, 33, 33, 2048)
    norms = [(path, one) for path, one in leaves(model) if isinstance(one, keras.layers.BatchNormalization)]
    trunk = [one.epsilon for path, one in norms if path.startswith("backbone/")]
    head = [one.epsilon for path, one in norms if not path.startswith("backbone/")]
    assert (len(norms), len(trunk)) == (146, 132)
    assert set(trunk) == {1e-3} and set(head) == {1e-5}


def test_mobile_variant_is_the_published_one_to_the_last_parameter():
    assert sg.models.deeplab_v3_plus((None, None, 3), 21, **LIGHT).count_params() == 2_146_645


@pytest.mark.parametrize(("output_stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_atrous_rates_follow_the_output_stride(output_stride, rates):
    model = sg.models.deeplab_v3_plus((64, 64, 3), 2, backbone="resnet18", output_stride=output_stride)
    assert [model.get_layer(f"aspp{i}_depthwise").dilation_rate[0] for i in (1, 2, 3)] == rates


@pytest.mark.parametrize("options", [LIGHT, FULL_HEAD], ids=["light", "full"])
def test_any_size_known_or_not_gives_the_same_logits(options):
    free = sg.models.deeplab_v3_plus((None, None, 3), 3, **options)
    fixed = sg.models.deeplab_v3_plus((70, 45, 3), 3, **options)
    fixed.set_weights(free.get_weights())
    x = images(2, 70, 45, 3)
    assert fixed.output.shape == (None, 70, 45, 3)
    logits = run(free, x)
    assert logits.shape == (2, 70, 45, 3) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, run(fixed, x), atol=1e-5)


def test_freezing_the_backbone_freezes_all_of_it():
    model = sg.models.deeplab_v3_plus((65, 65, 3), 2, **FULL_HEAD)
    sg.models.freeze(model, "backbone")
    backbone = model.get_layer("backbone")
    names = {weight.path for weight in backbone.weights}
    statistics = [one for _, one in leaves(backbone) if isinstance(one, keras.layers.BatchNormalization)]
    assert not [weight for weight in model.trainable_weights if weight.path in names]
    assert statistics and not any(one.trainable for one in statistics)
    assert model.trainable_weights


@pytest.fixture(scope="module")
def enlarge():
    """The layer that brings 9 × 6 logits of stride 16 back to an image."""
    return sg.models.deeplab_v3_plus((None, None, 3), 4, **LIGHT).get_layer("logits_resize")


@pytest.mark.parametrize("size", [(129, 81), (130, 95), (144, 96)])
def test_resizing_interpolates_at_the_pixels_that_features_lie_on(enlarge, size):
    x = np.random.default_rng(1).standard_normal((1, 9, 6, 4)).astype("float32")
    expected = np.empty((1, *size, 4))
    for row in range(size[0]):
        for column in range(size[1]):
            y, z = min(row / 16, 8), min(column / 16, 5)
            top, left = min(int(y), 7), min(int(z), 4)
            down, right = y - top, z - left
            upper = x[0, top, left] * (1 - right) + x[0, top, left + 1] * right
            lower = x[0, top + 1, left] * (1 - right) + x[0, top + 1, left + 1] * right
            expected[0, row, column] = upper * (1 - down) + lower * down
    result = keras.ops.convert_to_numpy(enlarge([x, np.zeros((1, *size, 3), "float32")]))
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_resizing_is_the_reference_s_aligned_corners_at_sizes_of_16_k_plus_1(enlarge):
    functional = pytest.importorskip("torch").nn.functional
    x = np.random.default_rng(1).standard_normal((1, 9, 6, 4)).astype("float32")
    torch = pytest.importorskip("torch")
    theirs = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    theirs = functional.interpolate(theirs, (129, 81), mode="bilinear", align_corners=True).numpy()
    ours = keras.ops.convert_to_numpy(enlarge([x, np.zeros((1, 129, 81, 3), "float32")]))
    np.testing.assert_allclose(ours, theirs.transpose(0, 2, 3, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"output_stride": 32, "backbone": "resnet18"}, "output_stride=16"),
        ({"output_stride": 4, **LIGHT}, "output_stride=8"),
        ({"backbone": "xception"}, "xception65"),
        ({"preprocessing": "normalise", **LIGHT}, "preprocessing"),
        ({"num_classes": 0, **LIGHT}, "num_classes"),
        ({"dropout": 1.5, **LIGHT}, "dropout"),
        ({"atrous_rates": (6, 0), **LIGHT}, "atrous_rates"),
    ],
)
def test_wrong_arguments_are_told_with_the_cure(options, says):
    with pytest.raises(ArgumentError, match=says):
        sg.models.deeplab_v3_plus((64, 64, 3), **{"num_classes": 2, **options})
