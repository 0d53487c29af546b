"""DeepLab v3+: dilated features looked at in several scales at once, and a small decoder that sharpens the borders."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers, ops

from segnosis.core.errors import ArgumentError
from segnosis.models.backbones import pyramid
from segnosis.models.backbones.atrous import convolution, normalized, separable
from segnosis.models.blocks import Recipe, check_count, check_shape, preprocess

EPSILON = 1e-5  # of the head's batch normalizations; the trunk has its own
_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}


def deeplab_v3_plus(
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    *,
    backbone: str | keras.Model = "xception65",
    output_stride: int = 16,
    atrous_rates: Sequence[int] | None = None,
    decoder: bool | None = None,
    dropout: float = 0.1,
    preprocessing: str | layers.Layer | None = "backbone",
) -> keras.Model:
    """Build a DeepLab v3+ that emits float32 logits, `(batch, height, width, num_classes)`.

    The backbone is one nested model, `model.get_layer("backbone")`. Head layers have the reference's names:
    `image_pooling`, `aspp0` … `aspp3_pointwise`, `concat_projection`, `decoder_conv0_depthwise`, `logits`. Features are
    aligned to the pixel for every size; with sides of 16·k + 1, as in the published 513 × 513, the resizing is the
    reference's.

    Args:
        input_shape: `(height, width, channels)`; height and width of any length, or `None`.
        num_classes: Number of classes, background included.
        backbone: A name among `segnosis.models.backbones.names()`, or a Keras model with `pyramid_outputs`.
        output_stride: Pixels per feature where the pyramid pooling looks: 16, or 8 for finer and slower.
        atrous_rates: Dilation of each pooling branch; `()` for none. `None` takes what was published: 6-12-18 at
            stride 16, 12-24-36 at stride 8, none for `mobilenet_v2`.
        decoder: Merge features of stride 4 before the logits. `None` takes what was published: no decoder for
            `mobilenet_v2`, one for all others.
        dropout: Share of units dropped before the decoder, in training.
        preprocessing: The first layer, for a model that takes raw pixel values 0–255. `"backbone"`: what the
            backbone's published weights expect; `"rescale"`: divide by 255; `"standardize"`: each image to mean 0,
            deviation 1; any Keras layer; or `None`.

    Raises:
        ArgumentError: An argument that cannot work, with the value that does.

    Example:
        The published mobile variant, to the last parameter:

        >>> import segnosis as sg
        >>> model = sg.models.deeplab_v3_plus((None, None, 3), num_classes=21, backbone="mobilenet_v2")
        >>> model.count_params()
        2146645

    Reference:
        Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic Image
        Segmentation. ECCV 2018.
    """
    shape = check_shape("deeplab_v3_plus", input_shape, halvings=0)
    check_count("num_classes", num_classes)
    Recipe(dropout=dropout)  # refuses what is no share
    light = backbone == "mobilenet_v2"
    decoder = not light if decoder is None else decoder
    if atrous_rates is None:
        atrous_rates = () if light else _published_rates(output_stride)
    for rate in atrous_rates:
        check_count("atrous_rates", rate)

    # Encoder
    image = keras.Input(shape, name="image")
    own_scaling = preprocessing == "backbone"
    levels = pyramid(
        backbone,
        image if own_scaling else preprocess(image, preprocessing),
        output_stride=output_stride,
        preprocessing=own_scaling,
    )
    x = _pyramid_pooling(levels["P5"], atrous_rates)
    if dropout:
        x = layers.Dropout(dropout, name="concat_projection_dropout")(x)

    # Decoder
    stride = output_stride
    if decoder:
        fine = convolution(levels["P2"], 48, 1, "feature_projection0")
        fine = normalized(fine, "feature_projection0", epsilon=EPSILON, activation="relu")
        x = _enlarged(x, like=fine, factor=stride // 4, name="decoder_resize")
        x = layers.Concatenate(name="decoder_concat")([x, fine])
        x = separable(x, 256, "decoder_conv0", epsilon=EPSILON)
        x = separable(x, 256, "decoder_conv1", epsilon=EPSILON)
        stride = 4

    # Head
    start = keras.initializers.TruncatedNormal(stddev=0.01)
    x = layers.Conv2D(num_classes, 1, kernel_initializer=start, dtype="float32", name="logits")(x)
    logits = _enlarged(x, like=image, factor=stride, name="logits_resize")
    return keras.Model(image, logits, name="deeplab_v3_plus")


def _published_rates(output_stride: int) -> tuple[int, ...]:
    if output_stride not in _RATES:
        raise ArgumentError(
            "DeepLab v3+ was published with an output stride of 16 or 8.",
            received={"output_stride": output_stride},
            cure="Pass output_stride=16, or `atrous_rates` of your own, say (3, 6, 9) at 32.",
        )
    return _RATES[output_stride]


def _pyramid_pooling(x: KerasTensor, rates: Sequence[int]) -> KerasTensor:
    """The whole image's mean, a 1×1 convolution and one 3×3 convolution per rate, side by side, projected to 256."""
    pooled = layers.GlobalAveragePooling2D(keepdims=True, name="image_pooling_mean")(x)
    pooled = convolution(pooled, 256, 1, "image_pooling")
    pooled = normalized(pooled, "image_pooling", epsilon=EPSILON, activation="relu")
    here = convolution(x, 256, 1, "aspp0")
    here = normalized(here, "aspp0", epsilon=EPSILON, activation="relu")
    # Adding to zeros spreads the one pixel over a map whose size is only known with the image.
    branches = [layers.Add(name="image_pooling_spread")([ops.zeros_like(here), pooled]), here]
    for index, rate in enumerate(rates, start=1):
        branches.append(separable(x, 256, f"aspp{index}", epsilon=EPSILON, rate=rate))
    x = layers.Concatenate(name="aspp_concat")(branches)
    x = convolution(x, 256, 1, "concat_projection")
    return normalized(x, "concat_projection", epsilon=EPSILON, activation="relu")


def _enlarged(x: KerasTensor, *, like: KerasTensor, factor: int, name: str) -> KerasTensor:
    """Bilinear interpolation of `x` at pixel / `factor`, for every pixel of `like`; one nested model named `name`.

    Keras' resizing takes the size in advance and half-pixel centres. Here the size follows from each batch, and feature
    i lies on pixel `factor`·i, where the backbone computed it. Two small matrices do it, one per axis: a feature's
    weight falls linearly from 1 at its own pixel to 0 at the next feature's.
    """
    small, big = keras.Input(x.shape[1:], name="features"), keras.Input(like.shape[1:], name="like")
    rows = _interpolation(small[0, :, 0, 0], big[0, :, 0, 0], factor)
    columns = _interpolation(small[0, 0, :, 0], big[0, 0, :, 0], factor)
    # Channels first for the two products: three times as fast as products over the middle axes.
    planes = ops.transpose(ops.cast(small, "float32"), (0, 3, 1, 2))
    planes = ops.matmul(ops.matmul(rows, planes), ops.transpose(columns))
    full = ops.transpose(planes, (0, 2, 3, 1))
    return keras.Model([small, big], ops.cast(full, x.dtype), name=name)([x, like])


def _interpolation(features: KerasTensor, pixels: KerasTensor, factor: int) -> KerasTensor:
    """`(pixels, features)` weights. Positions are counted, since a symbolic length cannot be taken."""
    at = ops.cumsum(ops.ones_like(features, dtype="float32")) - 1.0
    looks_at = ops.minimum((ops.cumsum(ops.ones_like(pixels, dtype="float32")) - 1.0) / factor, ops.max(at))
    return ops.relu(1.0 - ops.abs(ops.expand_dims(looks_at, 1) - ops.expand_dims(at, 0)))
