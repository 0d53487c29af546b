"""U-Net++: every level of the encoder is up-sampled into all the levels above, through nested, dense skips."""

from __future__ import annotations

import keras

from segnosis.models.blocks import Recipe, check_count, check_depth, check_shape, encoder
from segnosis.models.resize import crop_like


def unet_plus_plus(
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
    deep_supervision: bool = False,
) -> keras.Model:
    """Build a U-Net++ that emits float32 logits, `(batch, height, width, num_classes)`.

    With `deep_supervision` it has one output per depth, shallowest first, all of that shape, each from its own head
    and none from another's: `output_names` is `["head1", …, "head{depth}"]` (`"head1_crop"`, … where a side is
    `None`). Give Keras the loss and the mask once per output, and average:

        model.compile("adam", loss=[loss] * 4, loss_weights=[1 / 4] * 4)
        model.fit(x, [y] * 4)

    and `segnosis.models.prune(model, depth)` takes the network of any depth out of the trained one.

    Layers are named after their place: `encoder3_conv1` is in the third level's encoder unit, `decoder1_2_conv1` in the
    second nested unit of level 1 (node X^{0,2} of the paper), `head` or `head2` behind it.

    Args:
        input_shape: `(height, width, channels)`. A fixed side must be divisible by `2**depth`; a side given as `None`
            takes any length: it is mirrored up to a multiple inside the network, and the logits are cropped back.
        num_classes: Number of classes, background included.
        width: Filters of the first level; each level below has twice as many.
        depth: How often the image is halved; `None` is 4, or all 5 levels of a backbone.
        upsampling: `"nearest"`, `"bilinear"` or `"transposed"` (a learned 2×2 transposed convolution).
        normalization: `None`, `"batch"` or `"group"`, between each convolution and its activation.
        dropout: Share of units dropped after each convolution.
        l2: L2 factor on every kernel, the transposed convolutions' and the heads' too.
        residual: Add each unit's input to its output.
        activation: Any activation that Keras knows by name.
        backbone: A name among `segnosis.models.backbones.names()`, or a Keras model with `pyramid_outputs`, to encode
            with: one nested model, `model.get_layer("backbone")`, at strides 2, 4, …; nothing is skipped at full size.
        preprocessing: The first layer, for a model that takes raw pixel values. `"backbone"`: what the backbone's
            published weights expect, none without a backbone; `"rescale"`: divide by 255; `"standardize"`: each
            image to mean 0, deviation 1; any Keras layer; or `None`.
        deep_supervision: One output per depth instead of the deepest alone.

    Raises:
        ArgumentError: An argument that cannot work, with the value that does.

    Example:
        The nested network that was published for lesions, filters 32-64-128-256-512, to the last parameter:

        >>> import segnosis as sg
        >>> model = sg.models.unet_plus_plus(
        ...     (96, 96, 1), num_classes=2, upsampling="transposed", normalization=None, dropout=0.5, l2=1e-4
        ... )
        >>> model.count_params()
        9041634

    Reference:
        Zhou, Siddiquee, Tajbakhsh, Liang: UNet++: Redesigning Skip Connections to Exploit Multiscale Features in Image
        Segmentation. IEEE Transactions on Medical Imaging 39(6), 2020.
    """
    depth = check_depth(depth, backbone)
    check_count("width", width)
    check_count("num_classes", num_classes)
    recipe = Recipe(upsampling, normalization, activation, dropout, l2, residual)
    image = keras.Input(check_shape("unet_plus_plus", input_shape, halvings=depth), name="image")

    # Encoder
    features = encoder(image, recipe, width=width, depth=depth, backbone=backbone, preprocessing=preprocessing)
    if features[1] is None:  # a backbone that starts with a division by 4
        x = recipe.up(features[2], 2 * width, "encoder2_up")
        features[1] = recipe.unit(x, 2 * width, "encoder2")

    # Decoder
    nodes = [[] if feature is None else [feature] for feature in features]  # nodes[i] holds X^{i,0}, X^{i,1}, …
    for column in range(1, depth + 1):
        before = [row[-1] for row in nodes[1 : depth + 2 - column]]
        for level, below in enumerate(before, start=1):
            name, filters = f"decoder{level}_{column}", width * 2 ** (level - 1)
            x = recipe.up(below, filters, f"{name}_up")
            if nodes[level - 1]:
                x = keras.layers.Concatenate(name=f"{name}_concat")([*nodes[level - 1], x])
            nodes[level - 1].append(recipe.unit(x, filters, name))

    # Head
    heads = {"head": nodes[0][-1]}
    if deep_supervision:
        heads = {f"head{column}": x for column, x in enumerate(nodes[0][-depth:], start=1)}
    logits = [crop_like(recipe.head(x, num_classes, name), image, f"{name}_crop") for name, x in heads.items()]
    return keras.Model(image, logits if deep_supervision else logits[0], name="unet_plus_plus")
