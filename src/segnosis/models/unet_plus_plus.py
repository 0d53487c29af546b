"""U-Net++: every level of the encoder is up-sampled into all the levels above, through nested, dense skips."""

from __future__ import annotations

import keras

from segnosis.models.blocks import Recipe, check_count, check_shape, preprocess
from segnosis.models.resize import crop_like, pad_to_multiple


def unet_plus_plus(
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    *,
    width: int = 32,
    depth: int = 4,
    upsampling: str = "nearest",
    normalization: str | None = "batch",
    dropout: float = 0.0,
    l2: float = 0.0,
    residual: bool = False,
    activation: str = "relu",
    preprocessing: str | keras.layers.Layer | None = None,
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
        depth: How often the image is halved.
        upsampling: `"nearest"`, `"bilinear"` or `"transposed"` (a learned 2×2 transposed convolution).
        normalization: `None`, `"batch"` or `"group"`, between each convolution and its activation.
        dropout: Share of units dropped after each convolution.
        l2: L2 factor on every kernel, the transposed convolutions' and the heads' too.
        residual: Add each unit's input to its output.
        activation: Any activation that Keras knows by name.
        preprocessing: `None`, `"rescale"` (divide by 255), `"standardize"` (each image to mean 0, deviation 1) or any
            layer; it becomes the first of the model, which then takes raw pixel values.
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
    check_count("depth", depth)
    check_count("width", width)
    check_count("num_classes", num_classes)
    recipe = Recipe(upsampling, normalization, activation, dropout, l2, residual)
    image = keras.Input(check_shape("unet_plus_plus", input_shape, halvings=depth), name="image")
    x = pad_to_multiple(preprocess(image, preprocessing), 2**depth)

    # Encoder
    nodes: list[list[keras.KerasTensor]] = []  # nodes[i][j] is X^{i,j}: level i + 1, j-th nested unit
    for level in range(1, depth + 2):
        if nodes:
            x = keras.layers.MaxPooling2D(2, name=f"encoder{level - 1}_pool")(x)
        x = recipe.unit(x, width * 2 ** (level - 1), f"encoder{level}")
        nodes.append([x])

    # Decoder
    for column in range(1, depth + 1):
        for level in range(1, depth + 2 - column):
            name, filters = f"decoder{level}_{column}", width * 2 ** (level - 1)
            below = recipe.up(nodes[level][column - 1], filters, f"{name}_up")
            x = keras.layers.Concatenate(name=f"{name}_concat")([*nodes[level - 1], below])
            nodes[level - 1].append(recipe.unit(x, filters, name))

    # Head
    heads = {f"head{column}": nodes[0][column] for column in range(1, depth + 1)}
    if not deep_supervision:
        heads = {"head": nodes[0][depth]}
    logits = [crop_like(recipe.head(x, num_classes, name), image, f"{name}_crop") for name, x in heads.items()]
    return keras.Model(image, logits if deep_supervision else logits[0], name="unet_plus_plus")
