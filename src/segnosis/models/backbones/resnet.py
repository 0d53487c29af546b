"""ResNet with the stride in the 3×3 convolution of a block, as torchvision and the published PyTorch weights have it.

23,508,032 parameters that training changes in `resnet50`, as in torchvision without its classifier.

Reference:
    He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016. Goyal et al.: Accurate, Large
    Minibatch SGD, 2017 (for the place of the stride).
"""

from __future__ import annotations

from keras import KerasTensor, layers

from segnosis.models.backbones.atrous import Density, convolution, normalized

OUTPUT_STRIDES = (8, 16, 32)
EPSILON = 1e-5

# name -> (blocks per stage, three convolutions a block)
_VARIANTS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
NAMES = tuple(_VARIANTS)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def scaling(name: str) -> tuple[list[float], list[float]]:
    """Pixels 0–255 to mean 0 and deviation 1 over ImageNet."""
    return [1 / (255 * d) for d in _DEVIATION], [-m / d for m, d in zip(_MEAN, _DEVIATION, strict=True)]


def features(name: str, x: KerasTensor, *, output_stride: int) -> dict[str, KerasTensor]:
    """Levels: the stem before its pooling, then the four stages."""
    counts, bottleneck = _VARIANTS[name]
    density = Density(output_stride)
    x = convolution(x, 64, 7, "conv1", stride=density.step(2)[0])
    x = normalized(x, "conv1", epsilon=EPSILON, activation="relu")
    levels = [x]
    # After a ReLU zeros pad as well as minus infinity does.
    x = layers.ZeroPadding2D(1, name="pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=density.step(2)[0], name="pool")(x)
    for stage, count in enumerate(counts, start=1):
        for block in range(1, count + 1):
            stride, rate = density.step(2 if stage > 1 and block == 1 else 1)
            width, part = 64 * 2 ** (stage - 1), f"layer{stage}_block{block}"
            if bottleneck:
                x = _bottleneck(x, width, part, stride, rate, shortcut=block == 1)
            else:
                # Its second convolution comes after the stride, and so after what has become of it.
                x = _basic(x, width, part, stride, (rate, density.rate))
        levels.append(x)
    return {f"P{level}": tensor for level, tensor in enumerate(levels, start=1)}


def _bottleneck(x: KerasTensor, width: int, name: str, stride: int, rate: int, *, shortcut: bool) -> KerasTensor:
    start = _shortcut(x, 4 * width, name, stride) if shortcut else x
    x = convolution(x, width, 1, f"{name}_conv1")
    x = normalized(x, f"{name}_conv1", epsilon=EPSILON, activation="relu")
    x = convolution(x, width, 3, f"{name}_conv2", stride=stride, rate=rate)
    x = normalized(x, f"{name}_conv2", epsilon=EPSILON, activation="relu")
    x = convolution(x, 4 * width, 1, f"{name}_conv3")
    return _joined(start, normalized(x, f"{name}_conv3", epsilon=EPSILON), name)


def _basic(x: KerasTensor, width: int, name: str, stride: int, rates: tuple[int, int]) -> KerasTensor:
    start = x if x.shape[-1] == width else _shortcut(x, width, name, stride)
    x = convolution(x, width, 3, f"{name}_conv1", stride=stride, rate=rates[0])
    x = normalized(x, f"{name}_conv1", epsilon=EPSILON, activation="relu")
    x = convolution(x, width, 3, f"{name}_conv2", rate=rates[1])
    return _joined(start, normalized(x, f"{name}_conv2", epsilon=EPSILON), name)


def _shortcut(x: KerasTensor, filters: int, name: str, stride: int) -> KerasTensor:
    x = convolution(x, filters, 1, f"{name}_shortcut", stride=stride)
    return normalized(x, f"{name}_shortcut", epsilon=EPSILON)


def _joined(start: KerasTensor, x: KerasTensor, name: str) -> KerasTensor:
    return layers.Activation("relu", name=f"{name}_relu")(layers.Add(name=f"{name}_add")([start, x]))
