"""Which network of keras.applications stands inside the model, by the names of its layers, and what it expects."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from segnosis.doctor.graph import all_layers

PRICE = "static"

_CAFFE = ("channels centred on ImageNet's means, −124 to 151", -124.0, 151.0)
_SIGNED = ("−1 to 1", -1.0, 1.0)
_TORCH = ("channels standardized by ImageNet's means, −2.2 to 2.7", -2.2, 2.7)
_FAMILIES = (
    ("Xception", "xception", ("block1_conv1", "block2_sepconv1"), _SIGNED),
    ("VGG", "vgg16", ("block1_conv1",), _CAFFE),
    ("ResNet V2", "resnet_v2", ("conv1_conv", "conv2_block1_preact_bn"), _SIGNED),
    ("ResNet", "resnet", ("conv1_conv", "conv2_block1_1_conv"), _CAFFE),
    ("MobileNetV2", "mobilenet_v2", ("Conv1", "expanded_conv_depthwise"), _SIGNED),
    ("MobileNet", "mobilenet", ("conv1", "conv_dw_1"), _SIGNED),
    ("DenseNet", "densenet", ("conv1_conv", "conv2_block1_0_bn"), _TORCH),
)


@dataclass(frozen=True)
class LayerNames:
    """What the names say.

    Attributes:
        family: Name of the network, or `None`.
        module: Its module in `keras.applications`.
        first: Its first layer.
        expects: The range it was trained on, in words.
        low, high: The same in numbers.
    """

    family: str | None = None
    module: str = ""
    first: str = ""
    expects: str | None = None
    low: float = 0.0
    high: float = 0.0


def measure(model: keras.Model) -> LayerNames:
    """Networks that scale their input themselves (EfficientNet, ConvNeXt, MobileNetV3) are left out."""
    names = {layer.name for layer in all_layers(model)}
    for family, module, needed, (expects, low, high) in _FAMILIES:
        if names.issuperset(needed):
            return LayerNames(family, module, needed[0], expects, low, high)
    return LayerNames()
