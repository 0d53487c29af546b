"""MobileNetV2 without its classifier, as the published mobile DeepLab uses it: the last level has 320 channels.

1,843,264 parameters at three input channels.

Reference:
    Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018.
"""

from __future__ import annotations

from keras import KerasTensor, layers

from segnosis.models.backbones.atrous import Density, convolution, depthwise, normalized

NAMES = ("mobilenet_v2",)
OUTPUT_STRIDES = (8, 16, 32)
EPSILON = 1e-3

# (filters, stride of the first, how many), the paper's table 2.
_STAGES = ((16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3), (320, 1, 1))


def scaling(name: str) -> tuple[list[float], list[float]]:
    """Pixels 0–255 to −1…1."""
    return [1 / 127.5] * 3, [-1.0] * 3


def features(name: str, x: KerasTensor, *, output_stride: int) -> dict[str, KerasTensor]:
    """Levels: the last block before each stride. Blocks are `expanded_conv`, `expanded_conv_1`, … as published."""
    density = Density(output_stride)
    x = convolution(x, 32, 3, "conv", stride=density.step(2)[0])
    x = normalized(x, "conv", epsilon=EPSILON, activation="relu6")
    levels: list[KerasTensor] = []
    block = 0
    for filters, first_stride, count in _STAGES:
        for repeat in range(count):
            own_stride = first_stride if repeat == 0 else 1
            if own_stride == 2:
                levels.append(x)
            part = f"expanded_conv_{block}" if block else "expanded_conv"
            stride, rate = density.step(own_stride)
            x = _block(x, filters, part, stride=stride, rate=rate, expansion=6 if block else 1, repeats=repeat > 0)
            block += 1
    return {f"P{level}": tensor for level, tensor in enumerate([*levels, x], start=1)}


def _block(
    x: KerasTensor, filters: int, name: str, *, stride: int, rate: int, expansion: int, repeats: bool
) -> KerasTensor:
    start = x
    if expansion > 1:
        x = convolution(x, x.shape[-1] * expansion, 1, f"{name}_expand")
        x = normalized(x, f"{name}_expand", epsilon=EPSILON, activation="relu6")
    x = depthwise(x, f"{name}_depthwise", stride=stride, rate=rate)
    x = normalized(x, f"{name}_depthwise", epsilon=EPSILON, activation="relu6")
    x = convolution(x, filters, 1, f"{name}_project")
    x = normalized(x, f"{name}_project", epsilon=EPSILON)
    return layers.Add(name=f"{name}_add")([start, x]) if repeats else x
