"""What U-shaped networks are built of: the convolution unit, up-sampling, head, and the words that describe them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import KerasTensor, layers

from segnosis.core.errors import ArgumentError, did_you_mean
from segnosis.models.backbones import pyramid
from segnosis.models.resize import pad_to_multiple

UPSAMPLINGS = ("nearest", "bilinear", "transposed")
NORMALIZATIONS = (None, "batch", "group")
PREPROCESSINGS = (None, "backbone", "rescale", "standardize")


@dataclass(frozen=True)
class Recipe:
    """How every unit of a network is made; wrong words are refused here, once for all architectures.

    Attributes:
        upsampling: `"nearest"`, `"bilinear"` or `"transposed"` (a learned 2×2 transposed convolution).
        normalization: `None`, `"batch"` or `"group"`; without one, convolutions carry a bias instead.
        activation: Any name that Keras knows.
        dropout: Share of units dropped after each convolution, `0 ≤ dropout < 1`.
        l2: L2 factor on every kernel, the head's and the transposed convolutions' too.
        residual: Add the unit's input to its output before the last activation.
    """

    upsampling: str = "nearest"
    normalization: str | None = "batch"
    activation: str = "relu"
    dropout: float = 0.0
    l2: float = 0.0
    residual: bool = False

    def __post_init__(self) -> None:
        check_word("upsampling", self.upsampling, UPSAMPLINGS)
        check_word("normalization", self.normalization, NORMALIZATIONS)
        _check_activation(self.activation)
        if not 0.0 <= self.dropout < 1.0:
            raise ArgumentError(
                "`dropout` is the share of units left out, from 0 to below 1.",
                received={"dropout": self.dropout},
                cure="Pass dropout=0.5 for one half, or dropout=0.0 for none.",
            )
        if not (0.0 <= self.l2 < math.inf):
            raise ArgumentError(
                "`l2` is the factor of the L2 penalty, 0 or more.",
                received={"l2": self.l2},
                cure="Pass l2=1e-4, or l2=0.0 for none.",
            )

    @property
    def _kernel(self) -> dict[str, object]:
        # A regularizer object each: Keras stores it inside the layer's configuration.
        return {
            "kernel_initializer": "he_normal",
            "kernel_regularizer": keras.regularizers.L2(self.l2) if self.l2 else None,
        }

    def convolution(self, x: KerasTensor, filters: int, name: str, index: int, *, activate: bool = True) -> KerasTensor:
        """3×3 convolution → normalization → activation, each a layer named `{name}_conv{index}` and so on."""
        # Without normalization the activation lives inside the convolution, which saves a layer and its memory.
        fused = activate and self.normalization is None
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=self.normalization is None,
            activation=self.activation if fused else None,
            name=f"{name}_conv{index}",
            **self._kernel,
        )(x)
        x = self._normalize(x, filters, f"{name}_norm{index}")
        if activate and not fused:
            x = layers.Activation(self.activation, name=f"{name}_activation{index}")(x)
        return x

    def unit(self, x: KerasTensor, filters: int, name: str) -> KerasTensor:
        """Two convolutions, each followed by dropout where it is asked for: `(batch, height, width, filters)`."""
        start = x
        x = self._drop(self.convolution(x, filters, name, 1), f"{name}_dropout1")
        x = self.convolution(x, filters, name, 2, activate=not self.residual)
        if self.residual:
            if start.shape[-1] != filters:
                start = layers.Conv2D(
                    filters, 1, use_bias=self.normalization is None, name=f"{name}_shortcut", **self._kernel
                )(start)
                start = self._normalize(start, filters, f"{name}_shortcut_norm")
            x = layers.Add(name=f"{name}_add")([start, x])
            x = layers.Activation(self.activation, name=f"{name}_activation2")(x)
        return self._drop(x, f"{name}_dropout2")

    def up(self, x: KerasTensor, filters: int, name: str) -> KerasTensor:
        """Double height and width. `filters` is what the transposed convolution emits; the others keep the channels."""
        if self.upsampling == "transposed":
            return layers.Conv2DTranspose(filters, 2, strides=2, padding="same", name=name, **self._kernel)(x)
        return layers.UpSampling2D(2, interpolation=self.upsampling, name=name)(x)

    def head(self, x: KerasTensor, num_classes: int, name: str = "head", kernel: int = 1) -> KerasTensor:
        """Convolution to logits, in float32 under every precision policy: losses need the digits."""
        return layers.Conv2D(num_classes, kernel, padding="same", dtype="float32", name=name, **self._kernel)(x)

    def _normalize(self, x: KerasTensor, filters: int, name: str) -> KerasTensor:
        if self.normalization == "batch":
            # Momentum 0.9: with Keras' 0.99 the start value still weighs 0.37 after 100 steps.
            return layers.BatchNormalization(momentum=0.9, name=name)(x)
        if self.normalization == "group":
            return layers.GroupNormalization(groups=math.gcd(8, filters), name=name)(x)
        return x

    def _drop(self, x: KerasTensor, name: str) -> KerasTensor:
        return layers.Dropout(self.dropout, name=name)(x) if self.dropout else x


def encoder(
    image: KerasTensor,
    recipe: Recipe,
    *,
    width: int,
    depth: int,
    backbone: str | keras.Model | None = None,
    preprocessing: str | layers.Layer | None = None,
) -> list[KerasTensor | None]:
    """Features at full resolution, half, a quarter, …: `depth` + 1 of them, `None` where a backbone has none.

    Without a backbone, level k is the unit `encoder{k}` with `width * 2**(k - 1)` filters, max-pooled to the next one.
    """
    if backbone is not None:
        own = preprocessing == "backbone"
        x = pad_to_multiple(image if own else preprocess(image, preprocessing), 2**depth)
        levels = pyramid(backbone, x, levels=depth, preprocessing=own)
        if f"P{depth}" not in levels:
            raise ArgumentError(
                f"A network of depth {depth} needs the level P{depth} of its backbone.",
                received={"levels": sorted(levels)},
                cure="Lower `depth` to the coarsest level that the backbone has.",
            )
        return [None, *(levels.get(f"P{level}") for level in range(1, depth + 1))]
    x = pad_to_multiple(preprocess(image, preprocessing), 2**depth)
    features: list[KerasTensor | None] = []
    for level in range(1, depth + 2):
        if features:
            x = layers.MaxPooling2D(2, name=f"encoder{level - 1}_pool")(x)
        x = recipe.unit(x, width * 2 ** (level - 1), f"encoder{level}")
        features.append(x)
    return features


def check_depth(depth: int | None, backbone: str | keras.Model | None) -> int:
    """`depth`, or where it is `None` what suits: 4 halvings, with a backbone all its 5."""
    depth = (4 if backbone is None else 5) if depth is None else depth
    check_count("depth", depth, **({} if backbone is None else {"least": 2, "most": 5}))
    return depth


def preprocess(x: KerasTensor, preprocessing: str | layers.Layer | None) -> KerasTensor:
    """Raw pixel values → what a network learns from, as a layer, so that it is saved with the model."""
    if isinstance(preprocessing, layers.Layer):
        return preprocessing(x)
    check_word("preprocessing", preprocessing, PREPROCESSINGS)
    if preprocessing == "rescale":
        return layers.Rescaling(1 / 255, name="preprocess")(x)
    if preprocessing == "standardize":
        # One group over height, width and channels: every image gets mean 0 and deviation 1. In float32, since
        # sixteen-bit images overflow what half precision holds.
        return layers.GroupNormalization(groups=1, center=False, scale=False, dtype="float32", name="preprocess")(x)
    return x


def check_shape(model: str, input_shape: Sequence[int | None], *, halvings: int) -> tuple[int | None, int | None, int]:
    """`(height, width, channels)` as ints or `None`; a fixed side that cannot be halved that often is an error."""
    shape = tuple(input_shape) if isinstance(input_shape, Sequence) else ()
    sides_fit = len(shape) == 3 and all(side is None or _positive(side) for side in shape[:2])
    if not sides_fit or not _positive(shape[2]):
        raise ArgumentError(
            "`input_shape` is (height, width, channels); height and width may be None, channels may not.",
            received={"input_shape": input_shape},
            cure="Pass input_shape=(256, 256, 1) for grey images, or (None, None, 3) for colour of any size.",
        )
    step = 2**halvings
    sides = [side for side in shape[:2] if side is not None]
    if any(side % step for side in sides):
        padded = tuple(side if side is None else -(-side // step) * step for side in shape[:2])
        fits = max(level for level in range(halvings) if all(side % 2**level == 0 for side in sides))
        lower = f", or lower `depth` to {fits}" if fits else ""
        raise ArgumentError(
            f"`{model}` halves the image {halvings} times, so height and width must be divisible by {step}.",
            received={"input_shape": shape},
            cure=f"Pad the images to {(*padded, shape[2])}{lower}; a side given as None is padded and cropped "
            "inside the network.",
        )
    return shape  # type: ignore[return-value]


def check_count(name: str, value: object, *, least: int = 1, most: float = math.inf) -> None:
    """Refuse anything but an int from `least` to `most`."""
    if not _positive(value, least=least) or value > most:  # type: ignore[operator]
        limits = f"an integer from {least} to {most}" if most < math.inf else f"an integer, {least} or more"
        raise ArgumentError(f"`{name}` is {limits}.", received={name: value}, cure=f"Pass {name}={max(least, 2)}.")


def check_word(name: str, value: object, known: Sequence[str | None]) -> None:
    """Refuse a word that is not among `known`, with a suggestion."""
    if value not in known:
        options = ", ".join(repr(word) for word in known)
        raise ArgumentError(
            f"`{name}` is one of {options}.",
            received={name: value},
            cure=did_you_mean(str(value), [word for word in known if word]),
        )


def _check_activation(activation: str) -> None:
    try:
        keras.activations.get(activation)
    except ValueError as error:
        known = [name for name in dir(keras.activations) if name.islower() and not name.startswith("_")]
        raise ArgumentError(
            "`activation` is a name that Keras knows.",
            received={"activation": activation},
            cure=did_you_mean(str(activation), set(known) - {"deserialize", "serialize", "get"}),
        ) from error


def _positive(value: object, *, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
