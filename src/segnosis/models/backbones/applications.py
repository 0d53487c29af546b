"""Backbones of keras.applications: EfficientNetV2, ConvNeXt and MobileNetV3, with Keras' layer names, so that the files
Keras publishes load; without classifier, and always from random weights: nothing is downloaded.

Reference:
    Tan, Le: EfficientNetV2. ICML 2021. Liu et al.: A ConvNet for the 2020s. CVPR 2022. Howard et al.: Searching for
    MobileNetV3. ICCV 2019.
"""

from __future__ import annotations

import keras
from keras import KerasTensor

from segnosis.models.backbones.graph import dilated, levels

OUTPUT_STRIDES = (8, 16, 32)

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_IMAGENET = [1 / (255 * d) for d in _DEVIATION], [-m / d for m, d in zip(_MEAN, _DEVIATION, strict=True)]
_SYMMETRIC = [1 / 127.5] * 3, [-1.0] * 3

# name -> (function of keras.applications, scaling its published weights were trained with)
_VARIANTS = {
    **{f"efficientnet_v2_{size}": (f"EfficientNetV2{size.upper()}", _IMAGENET) for size in ("b0", "b1", "b2", "b3")},
    **{
        f"efficientnet_v2_{size}": (f"EfficientNetV2{size.upper()}", ([1 / 128] * 3, [-1.0] * 3))
        for size in ("s", "m", "l")
    },
    **{
        f"convnext_{size}": (f"ConvNeXt{'XLarge' if size == 'xlarge' else size.title()}", _IMAGENET)
        for size in ("tiny", "small", "base", "large", "xlarge")
    },
    "mobilenet_v3_small": ("MobileNetV3Small", _SYMMETRIC),
    "mobilenet_v3_large": ("MobileNetV3Large", _SYMMETRIC),
}
NAMES = tuple(_VARIANTS)


def scaling(name: str) -> tuple[list[float], list[float]]:
    """What Keras' own preprocessing of this network does to pixels 0–255."""
    return _VARIANTS[name][1]


def features(name: str, x: KerasTensor, *, output_stride: int) -> dict[str, KerasTensor]:
    """Levels: of each stride the last tensor; ConvNeXt divides by 4 at once and has no `P1`."""
    build = getattr(keras.applications, _VARIANTS[name][0])
    network = build(input_tensor=x, include_top=False, weights=None, include_preprocessing=False)
    tapped = keras.Model(keras.utils.get_source_inputs(x)[0], levels(network))
    return dilated(tapped, output_stride).output
