"""U-Net: an encoder that halves, a decoder that doubles, and a skip connection at every level."""

from __future__ import annotations

import keras

from segnosis.models.blocks import Recipe, check_count, check_depth, check_shape, encoder
from segnosis.models.resize import crop_like


def unet(
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    *,
    width: int = 32,
    depth: int | None = None,
    upsampling: str = "nearest",
    normalization: str | None = "batch",
    dropout: float = 0.0,
    l2: float = 0.0,
    residual: bool = False,
    activation: str = "relu",
    backbone: str | keras.Model | None = None,
    preprocessing: str | keras.layers.Layer | None = "backbone",
    head_kernel: int = 1,
) -> keras.Model:
    """Build a U-Net that emits float32 logits, `(batch, height, width, num_classes)`.

    Layers are named after their place: `encoder1_conv1`, `encoder1_pool`, … `encoder{depth + 1}_conv2` at the bottom,
    `decoder2_up`, `decoder1_conv2`, … `head`; level 1 has the full resolution.

    Args:
        input_shape: `(height, width, channels)`. A fixed side must be divisible by `2**depth`; a side given as `None`
            takes any length: it is mirrored up to a multiple inside the network, and the logits are cropped back.
        num_classes: Number of classes, background included.
        width: Filters of the first level; each level below has twice as many.
        depth: How often the image is halved; `None` is 4, or all 5 levels of a backbone.
        upsampling: `"nearest"`, `"bilinear"` or `"transposed"` (a learned 2×2 transposed convolution).
        normalization: `None`, `"batch"` or `"group"`, between each convolution and its activation.
        dropout: Share of units dropped after each convolution.
        l2: L2 factor on every kernel.
        residual: Add each unit's input to its output.
        activation: Any activation that Keras knows by name.
        backbone: A name among `segnosis.models.backbones.names()`, or a Keras model with `pyramid_outputs`, to encode
            with: one nested model, `model.get_layer("backbone")`, at strides 2, 4, …; nothing is skipped at full size.
        preprocessing: The first layer, for a model that takes raw pixel values. `"backbone"`: what the backbone's
            published weights expect, none without a backbone; `"rescale"`: divide by 255; `"standardize"`: each
            image to mean 0, deviation 1; any Keras layer; or `None`.
        head_kernel: Side of the last convolution, 1, or 3 as the U-Nets of segmentation_models.pytorch have it.

    Raises:
        ArgumentError: An argument that cannot work, with the value that does.

    Example:
        The U-Net with filters 16-32-64-128-256 that was published for four-class cardiac MR, to the last parameter:

        >>> import segnosis as sg
        >>> model = sg.models.unet((256, 256, 1), num_classes=4, width=16, normalization=None)
        >>> model.count_params()
        1962388
        >>> model.output.shape
        (None, 256, 256, 4)

    Reference:
        Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015.
    """
    depth = check_depth(depth, backbone)
    check_count("width", width)
    check_count("num_classes", num_classes)
    check_count("head_kernel", head_kernel)
    recipe = Recipe(upsampling, normalization, activation, dropout, l2, residual)
    image = keras.Input(check_shape("unet", input_shape, halvings=depth), name="image")

    # Encoder
    *skips, x = encoder(image, recipe, width=width, depth=depth, backbone=backbone, preprocessing=preprocessing)

    # Decoder
    for level in range(depth, 0, -1):
        filters, skip = width * 2 ** (level - 1), skips[level - 1]
        x = recipe.up(x, filters, f"decoder{level}_up")
        if skip is not None:
            x = keras.layers.Concatenate(name=f"decoder{level}_concat")([skip, x])
        x = recipe.unit(x, filters, f"decoder{level}")

    # Head
    logits = crop_like(recipe.head(x, num_classes, kernel=head_kernel), image, "head_crop")
    return keras.Model(image, logits, name="unet")
