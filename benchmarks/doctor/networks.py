"""Small networks in the styles people write them: functional, Sequential, subclassed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers


@dataclass
class Look:
    """What may differ within one architecture.

    Attributes:
        filters: Of the first level.
        normalization: `None`, `"batch"` or `"group"`.
        activation: Of hidden convolutions.
        initializer: Of all kernels.
        l2: Weight decay of all kernels.
        momentum: Of batch normalization.
        dropout: After each block.
        first: Layers between the input and the first convolution.
        after: Layers behind the head.
        activation_of_head: As the head's `activation=`.
        bias_of_head: Initializer of the head's bias.
        dtype_of_head: Its dtype policy.
    """

    filters: int = 8
    normalization: str | None = "batch"
    activation: str | None = "relu"
    initializer: Any = "he_normal"
    l2: float = 0.0
    momentum: float = 0.9
    dropout: float = 0.0
    first: list[layers.Layer] = field(default_factory=list)
    after: list[layers.Layer] = field(default_factory=list)
    activation_of_head: Any = None
    bias_of_head: Any = "zeros"
    dtype_of_head: Any = None

    def convolution(self, filters: int, size: int = 3, **settings: Any) -> layers.Layer:
        decay = keras.regularizers.L2(self.l2) if self.l2 else None
        shared = {"kernel_initializer": self.initializer, "kernel_regularizer": decay, "padding": "same"}
        return layers.Conv2D(filters, size, **{**shared, **settings})

    def block(self, filters: int, **settings: Any) -> list[layers.Layer]:
        """Convolution, normalization, activation, dropout."""
        found = [self.convolution(filters, use_bias=self.normalization is None, **settings)]
        if self.normalization == "batch":
            found.append(layers.BatchNormalization(momentum=self.momentum))
        elif self.normalization == "group":
            found.append(layers.GroupNormalization(4))
        found.append(layers.Activation(self.activation))
        return [*found, layers.Dropout(self.dropout)] if self.dropout else found

    def head(self, channels: int) -> list[layers.Layer]:
        settings = {"activation": self.activation_of_head, "bias_initializer": self.bias_of_head, "name": "head"}
        if self.dtype_of_head is not None:
            settings["dtype"] = self.dtype_of_head
        return [self.convolution(channels, 1, **settings), *self.after]


def _through(x: Any, chain: list[layers.Layer]) -> Any:
    for layer in chain:
        x = layer(x)
    return x


def unet(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    image = keras.Input(shape)
    x, skips = _through(image, look.first), []
    for level in range(2):
        x = _through(x, look.block(look.filters * 2**level) + look.block(look.filters * 2**level))
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = _through(x, look.block(look.filters * 4))
    for level in (1, 0):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skips[level]])
        x = _through(x, look.block(look.filters * 2**level))
    return keras.Model(image, _through(x, look.head(channels)), name="unet")


def unet_plus_plus(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    image = keras.Input(shape)
    x: dict[tuple[int, int], Any] = {}
    below = _through(image, look.first)
    for depth in range(3):
        x[depth, 0] = _through(
            below if depth == 0 else layers.MaxPooling2D()(below), look.block(look.filters * 2**depth)
        )
        below = x[depth, 0]
    for column in (1, 2):
        for depth in range(3 - column):
            raised = look.convolution(look.filters * 2**depth, 2)(layers.UpSampling2D()(x[depth + 1, column - 1]))
            joined = layers.Concatenate()([raised, *(x[depth, earlier] for earlier in range(column))])
            x[depth, column] = _through(joined, look.block(look.filters * 2**depth))
    return keras.Model(image, _through(x[0, 2], look.head(channels)), name="nested_unet")


def deeplab(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    image = keras.Input(shape)
    x = _through(_through(image, look.first), look.block(look.filters))
    low = x
    for level in (1, 2):
        x = layers.SeparableConv2D(look.filters * 2**level, 3, strides=2, padding="same", use_bias=False)(x)
        x = _through(x, look.block(look.filters * 2**level))
    branches = [_through(x, look.block(look.filters * 2, dilation_rate=rate)) for rate in (1, 2, 4)]
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
    pooled = _through(pooled, look.block(look.filters * 2))
    pooled = layers.UpSampling2D((x.shape[1], x.shape[2]), interpolation="bilinear")(pooled)
    x = _through(layers.Concatenate()([*branches, pooled]), look.block(look.filters * 2))
    x = layers.Concatenate()([layers.UpSampling2D(4, interpolation="bilinear")(x), low])
    x = _through(x, look.block(look.filters * 2))
    return keras.Model(image, _through(x, look.head(channels)), name="deeplab")


def chain(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    inner = [*look.block(look.filters), *look.block(look.filters * 2, strides=2)]
    inner += [*look.block(look.filters * 2, dilation_rate=2), layers.UpSampling2D(), *look.block(look.filters)]
    return keras.Sequential([keras.Input(shape), *look.first, *inner, *look.head(channels)], name="chain")


class SubclassedUNet(keras.Model):
    """The same U-Net with its layers as attributes and a `call`."""

    def __init__(self, channels: int, look: Look) -> None:
        super().__init__(name="my_unet")
        self.first = list(look.first)
        self.down = [look.block(look.filters), look.block(look.filters * 2)]
        self.middle = look.block(look.filters * 4)
        self.up = [look.block(look.filters), look.block(look.filters * 2)]
        self.pool, self.grow, self.join = layers.MaxPooling2D(), layers.UpSampling2D(), layers.Concatenate()
        self.ending = look.head(channels)

    def call(self, x: Any, training: bool | None = None) -> Any:
        def run(chain: list[layers.Layer], x: Any) -> Any:
            for layer in chain:
                takes = isinstance(layer, layers.BatchNormalization | layers.Dropout)
                x = layer(x, training=training) if takes else layer(x)
            return x

        skips = []
        x = run(self.first, x)
        for block in self.down:
            x = run(block, x)
            skips.append(x)
            x = self.pool(x)
        x = run(self.middle, x)
        for level in (1, 0):
            x = run(self.up[level], self.join([self.grow(x), skips[level]]))
        return run(self.ending, x)


def subclassed(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    return SubclassedUNet(channels, look)


def residual(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    """Strided residual encoder, transposed convolutions, leaky units; no max-pooling, no concatenation."""

    def unit(x: Any, filters: int, strides: int = 1) -> Any:
        y = _through(x, look.block(filters, strides=strides))
        y = look.convolution(filters)(y)
        short = x if strides == 1 and x.shape[-1] == filters else look.convolution(filters, strides, strides=strides)(x)
        return layers.LeakyReLU(negative_slope=0.1)(layers.add([short, y]))

    image = keras.Input(shape, name="picture")
    fine = unit(_through(_through(image, look.first), look.block(look.filters)), look.filters)
    middle = unit(fine, 2 * look.filters, 2)
    x = unit(middle, 4 * look.filters, 2)
    for skip in (middle, fine):
        x = layers.Conv2DTranspose(skip.shape[-1], 2, strides=2, kernel_initializer=look.initializer)(x)
        x = unit(layers.add([x, skip]), skip.shape[-1])
    return keras.Model(image, _through(x, look.head(channels)), name="res_net_segmenter")


def nested(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    """An encoder that is a model of its own inside the model, as a backbone is."""
    inside = keras.Input(shape)
    fine = _through(inside, look.block(look.filters))
    middle = _through(layers.AveragePooling2D(2)(fine), look.block(look.filters * 2))
    coarse = _through(layers.AveragePooling2D(2)(middle), look.block(look.filters * 4))
    encoder = keras.Model(inside, [fine, middle, coarse], name="encoder")
    image = keras.Input(shape)
    fine, middle, coarse = encoder(_through(image, look.first))
    x = layers.concatenate([layers.UpSampling2D(interpolation="bilinear")(coarse), middle])
    x = _through(x, look.block(look.filters * 2))
    x = layers.concatenate([layers.UpSampling2D(interpolation="bilinear")(x), fine])
    x = _through(x, look.block(look.filters))
    return keras.Model(image, _through(x, look.head(channels)))


class OwnStep(keras.Model):
    """A U-Net with a `train_step` of its own, in the words of whichever backend runs."""

    def __init__(self, net: keras.Model) -> None:
        super().__init__()
        self.net = net

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.net(x, training=training)

    def train_step(self, data: Any) -> Any:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        if keras.backend.backend() == "torch":
            self.zero_grad()
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight)
            loss.backward()
            self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
        else:
            import tensorflow as tf  # a train_step is written in the backend's own words

            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight)
            self.optimizer.apply_gradients(
                zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables, strict=True)
            )
        return self.compute_metrics(x, y, y_pred, sample_weight=weight)


def own_step(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    return OwnStep(unet(shape, channels, look))


def pyramid(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    """Feature pyramid: every level in one width, summed downwards, resized to the picture and added."""
    image = keras.layers.Input(shape=shape)
    x, levels = _through(image, look.first), []
    for level in range(3):
        x = _through(x, look.block(look.filters * 2**level, strides=1 if level == 0 else 2))
        x = _through(x, look.block(look.filters * 2**level))
        levels.append(look.convolution(2 * look.filters, 1, name=f"lateral{level}")(x))
    above = levels[-1]
    found = [above]
    for level in levels[-2::-1]:
        above = layers.Add()([layers.UpSampling2D(2)(above), level])
        found.append(above)
    size = shape[:2]
    found = [_through(level, look.block(look.filters)) for level in found]
    found = [layers.Resizing(*size, interpolation="bilinear")(level) for level in found]
    return keras.Model(image, _through(layers.Add()(found), look.head(channels)), name="fpn")


class Gate(layers.Layer):
    """Lets through of a skip what the level below asks for."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.of_skip, self.of_below = layers.Conv2D(filters, 1), layers.Conv2D(filters, 1)
        self.open = layers.Conv2D(1, 1, activation="sigmoid")

    def call(self, skip: Any, below: Any) -> Any:
        return skip * self.open(keras.ops.relu(self.of_skip(skip) + self.of_below(below)))


class AttentionUNet(keras.Model):
    """Sequential parts joined in `call`, skips gated by attention."""

    def __init__(self, channels: int, look: Look) -> None:
        super().__init__()
        self.start = keras.Sequential([*look.first, *look.block(look.filters)])
        self.lower = keras.Sequential([layers.MaxPooling2D(), *look.block(2 * look.filters)])
        self.bottom = keras.Sequential([layers.MaxPooling2D(), *look.block(4 * look.filters)])
        self.raise_two = layers.Conv2DTranspose(2 * look.filters, 2, 2)
        self.raise_one = layers.Conv2DTranspose(look.filters, 2, 2)
        self.gate_two, self.gate_one = Gate(look.filters), Gate(look.filters)
        self.join_two = keras.Sequential(look.block(2 * look.filters))
        self.join_one = keras.Sequential(look.block(look.filters))
        self.ending = keras.Sequential(look.head(channels))

    def call(self, x: Any, training: bool | None = None) -> Any:
        one = self.start(x, training=training)
        two = self.lower(one, training=training)
        x = self.raise_two(self.bottom(two, training=training))
        x = self.join_two(keras.ops.concatenate([self.gate_two(two, x), x], axis=-1), training=training)
        x = self.raise_one(x)
        x = self.join_one(keras.ops.concatenate([self.gate_one(one, x), x], axis=-1), training=training)
        return self.ending(x, training=training)


def attention(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    return AttentionUNet(channels, look)


def fcn(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    """Sequential blocks, scores at three depths, each made twice as large by a transposed convolution and added."""
    image, width = keras.Input(shape), 2 * look.filters
    x, depths = _through(image, look.first), []
    for level in range(3):
        inner = look.block(look.filters * 2**level) + look.block(look.filters * 2**level)
        x = keras.Sequential([*inner, layers.MaxPooling2D()], name=f"block_{level}")(x)
        depths.append(x)
    x = look.convolution(width, 1, name="score_2")(x)
    for level in (1, 0):
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", name=f"twice_{level}")(x)
        x = layers.Add()([x, look.convolution(width, 1, name=f"score_{level}")(depths[level])])
    x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", name="full")(x)
    x = _through(x, look.block(look.filters))
    return keras.Model(image, _through(x, look.head(channels)), name="fcn8s")


def mobile(shape: tuple[int, ...], channels: int, look: Look) -> keras.Model:
    """U-Net of inverted residuals: widened, filtered channel by channel, narrowed without an activation."""

    def unit(x: Any, filters: int, strides: int = 1) -> Any:
        y = _through(x, look.block(3 * x.shape[-1], size=1))
        start, has_bias = look.initializer, look.normalization is None
        y = layers.DepthwiseConv2D(3, strides, "same", depthwise_initializer=start, use_bias=has_bias)(y)
        y = _through(y, look.block(1)[1:])  # what comes behind a convolution
        y = look.convolution(filters, 1)(y)
        return layers.add([x, y]) if x.shape == y.shape else y

    image = keras.Input(shape=shape)
    fine = unit(_through(_through(image, look.first), look.block(look.filters)), look.filters)
    middle = unit(unit(fine, 2 * look.filters, 2), 2 * look.filters)
    x = unit(unit(middle, 4 * look.filters, 2), 4 * look.filters)
    for skip in (middle, fine):
        x = layers.concatenate([layers.UpSampling2D(interpolation="bilinear")(x), skip])
        x = unit(x, skip.shape[-1])
    x = _through(x, look.block(look.filters))
    return keras.Model(inputs=image, outputs=_through(x, look.head(channels)))


NETWORKS = {
    "unet": unet, "unet++": unet_plus_plus, "deeplab": deeplab, "chain": chain, "subclassed": subclassed,
    "residual": residual, "nested": nested, "own_step": own_step,
    "pyramid": pyramid, "attention": attention, "fcn": fcn, "mobile": mobile,
}  # fmt: skip
