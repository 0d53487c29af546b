"""Convolutions whose stride can become dilation, and that sample at pixels 0, s, 2s, … whatever the image's size.

`padding="same"` with a stride pads an even image on one side only, which shifts the features by half a step at every
level. Here both sides are padded alike, as the reference DeepLab and PyTorch do, so that a feature of stride s at index
i always looks at pixel s·i.
"""

from __future__ import annotations

from dataclasses import dataclass

from keras import KerasTensor, initializers, layers


@dataclass
class Density:
    """Keeps count of the stride while a network is built, and turns what goes beyond `output_stride` into dilation.

    A unit that would stride too far is applied at stride 1 with the dilation so far; those after it are dilated by what
    it did not stride. Weights, and what each of them looks at, stay the same.

    Example:
        >>> density = Density(output_stride=16, stride=8)
        >>> [density.step(2), density.step(1), density.step(2), density.step(1)]
        [(2, 1), (1, 1), (1, 1), (1, 2)]
    """

    output_stride: int
    stride: int = 1
    rate: int = 1

    def step(self, stride: int) -> tuple[int, int]:
        """`(stride, dilation)` for the next unit, which by itself has `stride`."""
        if self.stride < self.output_stride:
            self.stride *= stride
            return stride, self.rate
        rate = self.rate
        self.rate *= stride
        return 1, rate


def convolution(
    x: KerasTensor, filters: int, kernel: int, name: str, *, stride: int = 1, rate: int = 1, bias: bool = False
) -> KerasTensor:
    """Convolution padded alike on both sides."""
    x, padding = _padded(x, kernel, stride, rate, name)
    return layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        dilation_rate=rate,
        padding=padding,
        use_bias=bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def depthwise(x: KerasTensor, name: str, *, stride: int = 1, rate: int = 1) -> KerasTensor:
    """3×3 depthwise convolution padded alike on both sides."""
    x, padding = _padded(x, 3, stride, rate, name)
    # Keras would count all channels as inputs of each output and start far too small: 1/3 keeps the variance.
    start = initializers.TruncatedNormal(stddev=1 / 3)
    return layers.DepthwiseConv2D(
        3,
        strides=stride,
        dilation_rate=rate,
        padding=padding,
        use_bias=False,
        depthwise_initializer=start,
        name=name,
    )(x)


def normalized(x: KerasTensor, name: str, *, epsilon: float, activation: str | None = None) -> KerasTensor:
    """Batch normalization named `{name}_norm`, and the activation after it."""
    # Momentum 0.9: with the reference's 0.9997 the start value would still weigh 0.97 after 100 steps.
    x = layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=f"{name}_norm")(x)
    return layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def separable(
    x: KerasTensor,
    filters: int,
    name: str,
    *,
    epsilon: float,
    stride: int = 1,
    rate: int = 1,
    activation: str | None = "relu",
) -> KerasTensor:
    """Depthwise then pointwise convolution, both normalized, both followed by `activation` if there is one."""
    x = depthwise(x, f"{name}_depthwise", stride=stride, rate=rate)
    x = normalized(x, f"{name}_depthwise", epsilon=epsilon, activation=activation)
    x = convolution(x, filters, 1, f"{name}_pointwise")
    return normalized(x, f"{name}_pointwise", epsilon=epsilon, activation=activation)


def _padded(x: KerasTensor, kernel: int, stride: int, rate: int, name: str) -> tuple[KerasTensor, str]:
    if stride == 1 or kernel == 1:
        return x, "same"
    return layers.ZeroPadding2D(rate * (kernel - 1) // 2, name=f"{name}_pad")(x), "valid"
