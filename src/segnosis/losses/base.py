"""What all losses share: their arguments, checked and saved, and the call. `pixels.py` reads the batch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from segnosis.core.errors import ArgumentError, did_you_mean, is_number, is_whole
from segnosis.losses.pixels import Pixels, Tensor


class SegmentationLoss(keras.losses.Loss):
    """A Keras loss over the pixels of a batch; a subclass gives the formula in `value`.

    Numbers are float32 inside, under mixed precision too. A formula never looks at the values of a tensor to decide
    what to do, so every loss runs unchanged under `jit_compile=True`. An illegal class id makes the loss NaN.

    Args:
        ignore_class: Value of `y_true` that is no class, 255 say; those pixels change neither value nor gradient.
        class_weights: One weight per class, or `None` for 1 each.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss; made from the class name by default.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if ignore_class is not None and not is_whole(ignore_class):
            raise ArgumentError(
                "`ignore_class` is one whole number, the value of ignored pixels in the mask.",
                received={"ignore_class": ignore_class},
                cure="Pass ignore_class=255, or None when every pixel is a class.",
            )
        if class_weights is not None:
            weights = list(class_weights) if np.ndim(class_weights) == 1 else []
            legal = all(is_number(weight) and 0 <= weight < float("inf") for weight in weights)
            if not (legal and any(weights)):
                raise ArgumentError(
                    "`class_weights` holds one finite number ≥ 0 per class, not all of them 0.",
                    received={"class_weights": class_weights},
                    cure="Leave it out to weigh all classes alike.",
                )
        self.ignore_class = ignore_class
        self.class_weights = class_weights
        self.from_logits = from_logits

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Loss of a batch, a scalar.

        Args:
            y_true: Class ids `(batch, *space)` or one-hot `(batch, *space, num_classes)`, told by shape.
            y_pred: `(batch, *space, num_classes)`; a single channel is the second class of two.
            sample_weight: One weight per image `(batch,)` or per pixel `(batch, *space)`; 0 leaves it out.
        """
        pixels = Pixels(y_true, y_pred, sample_weight, ignore_class=self.ignore_class, from_logits=self.from_logits)
        return pixels.checked(self.value(pixels))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Same as calling the loss without weights."""
        return self(y_true, y_pred)

    def value(self, pixels: Pixels) -> Tensor:
        """The formula: a scalar from the prepared pixels. Losses of a `Sum` are handed the same ones."""
        raise NotImplementedError

    def weight_per_class(self, num_classes: int) -> Tensor:
        """`class_weights` as a `(num_classes,)` tensor."""
        if self.class_weights is None:
            return ops.ones((num_classes,), dtype="float32")
        if len(self.class_weights) != num_classes:
            raise ArgumentError(
                f"`class_weights` holds one weight per class, and the prediction has {num_classes} classes.",
                received={"class_weights": self.class_weights, "num_classes": num_classes},
                cure=f"Pass {num_classes} weights.",
            )
        return ops.convert_to_tensor(np.asarray(self.class_weights, dtype="float32"))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; each is stored unchanged under its own name."""
        arguments = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {key: _plain(getattr(self, key)) for key in arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverse of `get_config`."""
        return cls(**config)


def check_choice(argument: str, value: str, choices: Sequence[str]) -> None:
    """Raise unless `value` is one of `choices`."""
    if value not in choices:
        raise ArgumentError(
            f"`{argument}` is one of {', '.join(f'{choice!r}' for choice in choices)}.",
            received={argument: value},
            cure=did_you_mean(value, choices),
        )


def check_range(argument: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise unless `low <= value <= high`."""
    if not (is_number(value) and low <= value <= high):
        bounds = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise ArgumentError(
            f"`{argument}` is {bounds}.", received={argument: value}, cure="Choose a value in that range."
        )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
