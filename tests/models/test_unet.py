from __future__ import annotations

import keras
import numpy as np
import pytest

from segnosis import models
from segnosis.core.errors import ArgumentError
from segnosis.models.resize import crop_like, pad_to_multiple


def test_the_published_cardiac_network_to_the_last_parameter() -> None:
    model = models.unet((256, 256, 1), 4, width=16, upsampling="nearest", normalization=None)
    assert model.count_params() == 1_962_388


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("normalization", [None, "batch", "group"])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_parameters_are_those_of_the_drawing(upsampling: str, normalization: str | None, residual: bool) -> None:
    model = models.unet(
        (32, 32, 3), 5, width=8, depth=2, upsampling=upsampling, normalization=normalization, residual=residual
    )
    per_filter = {None: 1, "batch": 4, "group": 2}[normalization]  # bias; gamma, beta, mean, variance; gamma, beta

    def unit(channels: int, filters: int) -> int:
        shortcut = (channels + per_filter) * filters if residual and channels != filters else 0
        return (9 * channels + per_filter + 9 * filters + per_filter) * filters + shortcut

    learned_up = upsampling == "transposed"
    from_32, from_16 = (16, 8) if learned_up else (32, 16)
    ups = (4 * 32 * 16 + 16) + (4 * 16 * 8 + 8) if learned_up else 0
    units = unit(3, 8) + unit(8, 16) + unit(16, 32) + unit(16 + from_32, 16) + unit(8 + from_16, 8)
    assert model.count_params() == units + ups + (8 + 1) * 5


def test_layers_are_named_after_their_place() -> None:
    model = models.unet((32, 32, 1), 2, width=4, depth=2, dropout=0.1)
    assert [layer.name for layer in model.layers if layer.name.startswith("encoder2")] == [
        "encoder2_conv1",
        "encoder2_norm1",
        "encoder2_activation1",
        "encoder2_dropout1",
        "encoder2_conv2",
        "encoder2_norm2",
        "encoder2_activation2",
        "encoder2_dropout2",
        "encoder2_pool",
    ]
    assert model.get_layer("decoder2_up").output.shape == (None, 16, 16, 16)
    assert model.get_layer("decoder1_conv2").output.shape == (None, 32, 32, 4)
    assert model.output_names == ["head"]


def test_l2_is_on_every_kernel_and_on_nothing_else() -> None:
    model = models.unet((16, 16, 1), 2, width=4, depth=2, upsampling="transposed", residual=True, l2=0.01)
    kernels = [weight.numpy() for weight in model.trainable_weights if weight.name == "kernel"]
    assert len(kernels) == 5 * 3 + 2 + 1  # a shortcut in every unit, for the channels always change
    expected = 0.01 * sum(float(np.square(kernel, dtype="float64").sum()) for kernel in kernels)
    assert keras.ops.convert_to_numpy(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (13, 9), (1, 3), (17, 40)])
def test_sides_of_unknown_length_are_mirrored_to_a_multiple_and_cut_back(size: tuple[int, int]) -> None:
    image = keras.Input((None, None, 2))
    padded = pad_to_multiple(image, 8)
    model = keras.Model(image, [padded, crop_like(padded, image, "crop")])
    x = np.random.default_rng(0).random((2, *size, 2), "float32")
    larger, back = model.predict_on_batch(x)
    np.testing.assert_array_equal(back, x)
    assert larger.shape[1:3] == tuple(-(-side // 8) * 8 for side in size)
    # Beyond one reflection, in images smaller than the pad, the first pixel is repeated.
    rows, columns = ([max(0, min(i, 2 * (side - 1) - i)) for i in range(-(-side // 8) * 8)] for side in size)
    np.testing.assert_array_equal(larger, x[:, rows][:, :, columns])


def test_an_odd_image_gets_the_logits_of_the_mirrored_one() -> None:
    flexible = models.unet((None, None, 1), 3, width=4, depth=2)
    fixed = models.unet((16, 24, 1), 3, width=4, depth=2)
    fixed.set_weights(flexible.get_weights())
    x = np.random.default_rng(0).random((2, 13, 21, 1), "float32")
    mirrored = np.pad(x, ((0, 0), (0, 3), (0, 3), (0, 0)), mode="reflect")
    expected = fixed.predict_on_batch(mirrored)[:, :13, :21]
    np.testing.assert_allclose(flexible.predict_on_batch(x), expected, atol=1e-5)


def test_one_fixed_and_one_free_side() -> None:
    model = models.unet((16, None, 1), 2, width=4, depth=2)
    assert model.predict_on_batch(np.zeros((1, 16, 19, 1), "float32")).shape == (1, 16, 19, 2)


def test_a_size_that_does_not_divide_names_the_ones_that_do() -> None:
    with pytest.raises(ArgumentError) as caught:
        models.unet((60, 64, 1), 2)
    assert str(caught.value) == (
        "`unet` halves the image 4 times, so height and width must be divisible by 16. "
        "Received: input_shape=(60, 64, 1). "
        "Pad the images to (64, 64, 1), or lower `depth` to 2; a side given as None is padded and cropped inside the "
        "network."
    )
    with pytest.raises(ArgumentError, match=r"Pad the images to \(64, 64, 1\); a side"):
        models.unet((63, 64, 1), 2)


def test_standardizing_takes_away_brightness_and_contrast() -> None:
    model = models.unet((16, 16, 3), 2, width=4, depth=1, preprocessing="standardize")
    x = np.random.default_rng(0).random((1, 16, 16, 3), "float32") * 50
    np.testing.assert_allclose(model.predict_on_batch(x), model.predict_on_batch(4 * x + 7), atol=1e-2)


def test_preprocessing_may_be_any_layer() -> None:
    plain = models.unet((16, 16, 1), 2, width=4, depth=1)
    scaled = models.unet((16, 16, 1), 2, width=4, depth=1, preprocessing=keras.layers.Rescaling(0.5, 1.0))
    scaled.set_weights(plain.get_weights())
    x = np.random.default_rng(0).random((1, 16, 16, 1), "float32")
    np.testing.assert_allclose(scaled.predict_on_batch(x), plain.predict_on_batch(0.5 * x + 1), atol=1e-5)


def test_a_backbone_is_one_nested_model_and_scales_raw_pixels_itself() -> None:
    model = models.unet((None, None, 3), 2, width=4, backbone="mobilenet_v2")
    assert isinstance(model.get_layer("backbone"), keras.Model)
    assert model.predict_on_batch(np.zeros((1, 35, 50, 3), "float32")).shape == (1, 35, 50, 2)
    assert "preprocess" in [layer.name for layer in model.get_layer("backbone").layers]


def test_a_backbone_without_the_half_resolution_serves() -> None:
    model = models.unet((32, 32, 3), 2, width=4, depth=3, backbone=_quarter_first())
    assert model.output.shape == (None, 32, 32, 2)
    skips = [layer.name for layer in model.layers if layer.name.endswith("_concat")]
    assert skips == ["decoder3_concat"]


def test_a_backbone_too_shallow_says_how_deep_it_is() -> None:
    with pytest.raises(ArgumentError, match=r"depth 5 needs the level P5 .* Received: levels=\['P2', 'P3'\]"):
        models.unet((32, 32, 3), 2, backbone=_quarter_first())


@pytest.mark.parametrize(
    ("argument", "value"),
    [("depth", 0), ("width", -1), ("width", 1.5), ("dropout", 1.0), ("dropout", -0.1), ("l2", -1e-4), ("l2", np.nan)],
)
def test_numbers_that_cannot_work_are_named(argument: str, value: float) -> None:
    with pytest.raises(ArgumentError, match=f"Received: {argument}="):
        models.unet((32, 32, 1), 2, **{argument: value})


def _quarter_first() -> keras.Model:
    image = keras.Input((None, None, 3))
    quarter = keras.layers.Conv2D(4, 4, 4)(image)
    return keras.Model(image, {"P2": quarter, "P3": keras.layers.Conv2D(8, 2, 2)(quarter)})
