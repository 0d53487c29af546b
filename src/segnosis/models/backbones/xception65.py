"""Aligned Xception-65, the trunk of the published DeepLab v3+: Xception with every pooling replaced by a strided
separable convolution, a deeper middle flow, and normalization after each depthwise convolution.

38,052,512 parameters at three input channels, 132 batch normalizations.

Reference:
    Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic Image
    Segmentation. ECCV 2018, section 3.2. Chollet: Xception. CVPR 2017.
"""

from __future__ import annotations

from keras import KerasTensor, layers

from segnosis.models.backbones.atrous import Density, convolution, normalized, separable

NAMES = ("xception65",)
OUTPUT_STRIDES = (8, 16, 32)
EPSILON = 1e-3


def scaling(name: str) -> tuple[list[float], list[float]]:
    """Pixels 0–255 to −1…1."""
    return [1 / 127.5] * 3, [-1.0] * 3


def features(name: str, x: KerasTensor, *, output_stride: int) -> dict[str, KerasTensor]:
    """Levels: each the last tensor before the network strides again, as the reference decoder taps `P2`."""
    density = Density(output_stride)

    # Entry flow
    stride, rate = density.step(2)
    x = convolution(x, 32, 3, "entry_flow_conv1_1", stride=stride, rate=rate)
    x = normalized(x, "entry_flow_conv1_1", epsilon=EPSILON, activation="relu")
    x = convolution(x, 64, 3, "entry_flow_conv1_2")
    x = p1 = normalized(x, "entry_flow_conv1_2", epsilon=EPSILON, activation="relu")
    x, _ = _module(x, (128,) * 3, "entry_flow_block1_unit1", *density.step(2))
    x, p2 = _module(x, (256,) * 3, "entry_flow_block2_unit1", *density.step(2))
    x, p3 = _module(x, (728,) * 3, "entry_flow_block3_unit1", *density.step(2))

    # Middle flow
    for unit in range(1, 17):
        x, _ = _module(x, (728,) * 3, f"middle_flow_block1_unit{unit}", *density.step(1), shortcut="identity")

    # Exit flow
    x, p4 = _module(x, (728, 1024, 1024), "exit_flow_block1_unit1", *density.step(2))
    _, rate = density.step(1)
    for index, filters in enumerate((1536, 1536, 2048), start=1):
        x = separable(x, filters, f"exit_flow_block2_unit1_separable_conv{index}", epsilon=EPSILON, rate=rate)
    return {"P1": p1, "P2": p2, "P3": p3, "P4": p4, "P5": x}


def _module(
    x: KerasTensor, filters: tuple[int, ...], name: str, stride: int, rate: int, *, shortcut: str = "convolution"
) -> tuple[KerasTensor, KerasTensor]:
    """Three separable convolutions, the last with the stride, and a shortcut: `(output, after the second)`."""
    start = before_stride = x
    for index, width in enumerate(filters, start=1):
        before_stride = x
        part = f"{name}_separable_conv{index}"
        x = layers.Activation("relu", name=f"{part}_relu")(x)
        x = separable(x, width, part, epsilon=EPSILON, stride=stride if index == 3 else 1, rate=rate, activation=None)
    if shortcut == "convolution":
        start = convolution(start, filters[-1], 1, f"{name}_shortcut", stride=stride)
        start = normalized(start, f"{name}_shortcut", epsilon=EPSILON)
    return layers.Add(name=f"{name}_add")([x, start]), before_stride
