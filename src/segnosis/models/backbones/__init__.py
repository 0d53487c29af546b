"""Backbones: what a network sees with, as a pyramid `{"P1": …, "P5": …}` of ever coarser features.

One file is one backbone or one family, and says of itself:

- `NAMES`: the backbones it builds;
- `OUTPUT_STRIDES`: how coarse its last level can be made; below 32, strides become dilation;
- `scaling(name)`: `(scale, offset)`, per channel or for all, that turn raw pixel values 0–255 into what its published
  weights were trained on;
- `features(name, x, *, output_stride)`: the levels, from its input on.
"""

from __future__ import annotations

from types import ModuleType

import keras
from keras import KerasTensor

from segnosis.core import discovery
from segnosis.core.errors import ArgumentError, did_you_mean

# Modules that are no backbone: what several of them are built with.
NOT_UNITS = ("atrous", "graph")


def names() -> list[str]:
    """Names of all backbones, sorted."""
    return sorted(_families())


def check(backbone: str) -> None:
    """Raise `ArgumentError` with a suggestion where there is no backbone of this name."""
    if backbone not in (known := names()):
        raise ArgumentError(
            "`backbone` names a backbone that Segnosis builds.",
            received={"backbone": backbone},
            cure=did_you_mean(str(backbone), known),
        )


def pyramid(
    backbone: str | keras.Model,
    inputs: KerasTensor,
    *,
    output_stride: int = 32,
    levels: int = 5,
    preprocessing: bool = True,
) -> dict[str, KerasTensor]:
    """Put a backbone on `inputs`, as one nested model named `backbone`, and return its levels.

    Being one nested model, it is frozen, loaded and looked at as a whole: `model.get_layer("backbone")`.

    Args:
        backbone: A name among `names()`; or a Keras model with `pyramid_outputs`, as keras-hub's backbones have, which
            is taken as it is, at its own stride.
        inputs: `(batch, height, width, channels)`; raw pixel values when `preprocessing` is on.
        output_stride: Pixels of the image per pixel of the coarsest level: 8, 16 or 32. Below 32 the last strides
            become dilation, so that every layer keeps its weights and its field of view.
        levels: The finest so many levels; what only coarser ones need is left out of the network.
        preprocessing: Put the scaling that the backbone's published weights expect in front, as a layer.

    Returns:
        `{"P1": …, "P5": …}`: level k has stride 2^k, but none coarser than `output_stride`. A backbone whose first
        layer already divides by 4 has no `P1`.

    Raises:
        ArgumentError: An unknown backbone, or an output stride it cannot have.

    Example:
        >>> image = keras.Input((64, 64, 3))
        >>> levels = pyramid("mobilenet_v2", image, output_stride=16)
        >>> {name: tuple(level.shape[1:]) for name, level in levels.items()}
        {'P1': (32, 32, 16), 'P2': (16, 16, 24), 'P3': (8, 8, 32), 'P4': (4, 4, 96), 'P5': (4, 4, 320)}

    Reference:
        Lin et al.: Feature Pyramid Networks for Object Detection. CVPR 2017 (for the names of the levels).
    """
    if levels not in range(1, 6):
        raise ArgumentError("A pyramid has 1 to 5 levels.", received={"levels": levels}, cure="Pass levels=5.")
    wanted = [f"P{level}" for level in range(1, levels + 1)]
    if isinstance(backbone, keras.Model):
        images, outputs = backbone.inputs, _outputs(backbone)
    else:
        family = _family(backbone, output_stride)
        images = x = keras.Input(inputs.shape[1:], name="pixels")
        if preprocessing:
            scale, offset = family.scaling(backbone)
            x = _layer(scale, offset, x.shape[-1])(x)
        outputs = family.features(backbone, x, output_stride=output_stride)
    return keras.Model(images, {name: outputs[name] for name in wanted if name in outputs}, name="backbone")(inputs)


def preprocessing(backbone: str, channels: int, *, intensity: tuple[float, float] = (0.0, 255.0)) -> keras.layers.Layer:
    """The layer that turns pixel values into what a backbone's published weights were trained on.

    Args:
        backbone: A name among `names()`.
        channels: Channels of the images.
        intensity: Pixel values that stand for black and white: 0 and 255 in 8-bit images.

    Returns:
        One stock layer, named `preprocess`; `pyramid(…, preprocessing=False)` goes behind it.

    Example:
        >>> layer = preprocessing("mobilenet_v2", 1, intensity=(0.0, 1000.0))
        >>> [float(value) for value in keras.ops.ravel(layer([[0.0], [500.0], [1000.0]]))]
        [-1.0, 0.0, 1.0]
    """
    scale, offset = _family(backbone, 32).scaling(backbone)
    low, high = intensity
    stretch = 255.0 / max(high - low, 1e-12)
    shifted = [b - a * stretch * low for a, b in zip(scale, offset, strict=True)]
    return _layer([a * stretch for a in scale], shifted, channels)


def _families() -> dict[str, ModuleType]:
    return {name: module for module in discovery.units(__name__).values() for name in module.NAMES}


def _family(backbone: str, output_stride: int) -> ModuleType:
    check(backbone)
    families = _families()
    possible = families[backbone].OUTPUT_STRIDES
    if output_stride not in possible:
        raise ArgumentError(
            f"The backbone `{backbone}` has an output stride of {' or '.join(map(str, possible))}.",
            received={"output_stride": output_stride},
            cure=f"Pass output_stride={min(possible, key=lambda stride: abs(stride - output_stride))}.",
        )
    return families[backbone]


def _outputs(backbone: keras.Model) -> dict[str, KerasTensor]:
    outputs = getattr(backbone, "pyramid_outputs", None) or backbone.output
    if not isinstance(outputs, dict) or not any(str(name).startswith("P") for name in outputs):
        raise ArgumentError(
            'A backbone given as a model has its levels as a dictionary {"P1": …}, in `pyramid_outputs` or as outputs.',
            received={"backbone": backbone.name},
            cure='Build it as `keras.Model(inputs, {"P2": …, "P5": …})`.',
        )
    return outputs


def _layer(scale: list[float], offset: list[float], channels: int) -> keras.layers.Layer:
    """One stock layer: `x * scale + offset`, in float32 since 16-bit images overflow half precision.

    Published constants are for red, green and blue; other channel counts take their mean.
    """
    if channels != 3:
        scale, offset = [sum(scale) / 3] * channels, [sum(offset) / 3] * channels
    if len(set(zip(scale, offset, strict=True))) == 1:
        return keras.layers.Rescaling(scale[0], offset[0], dtype="float32", name="preprocess")
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocess")
