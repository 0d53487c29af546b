"""Weighted sum of losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras

from segnosis.core.errors import ArgumentError
from segnosis.losses.base import SegmentationLoss
from segnosis.losses.pixels import Pixels, Tensor


@keras.saving.register_keras_serializable(package="segnosis.losses")
class Sum(SegmentationLoss):
    """`Σ weights[i] · losses[i]`; losses that read truth and prediction alike share the soft-max and all else.

    Args:
        losses: Losses of this package.
        weights: One factor per loss; 1 each by default.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> both = sg.losses.Sum([sg.losses.CrossEntropy(), sg.losses.Dice()], weights=[1.0, 0.5])
        >>> y_true, y_pred = np.array([[[0, 1], [1, 1]]]), np.zeros((1, 2, 2, 2), "float32")
        >>> parts = float(both.losses[0](y_true, y_pred)) + 0.5 * float(both.losses[1](y_true, y_pred))
        >>> abs(float(both(y_true, y_pred)) - parts) < 1e-6
        True
    """

    def __init__(
        self,
        losses: Sequence[SegmentationLoss],
        weights: Sequence[float] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        strangers = [type(loss).__name__ for loss in losses if not isinstance(loss, SegmentationLoss)]
        if not losses or strangers:
            raise ArgumentError(
                "`Sum` adds one or more losses of `segnosis.losses`, made with their arguments.",
                received={"losses": strangers or list(losses)},
                cure="Write Sum([CrossEntropy(), Dice()]).",
            )
        if weights is not None and len(weights) != len(losses):
            raise ArgumentError(
                f"`weights` holds one factor per loss, and there are {len(losses)} losses.",
                received={"weights": weights},
                cure=f"Pass {len(losses)} factors.",
            )
        self.losses = losses
        self.weights = weights

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Loss of a batch, a scalar; arguments as in any other loss."""
        read: dict[tuple[int | None, bool], Pixels] = {}
        total: Tensor = 0.0
        factors = [1.0] * len(self.losses) if self.weights is None else self.weights
        for loss, factor in zip(self.losses, factors, strict=True):
            if isinstance(loss, Sum):
                total = total + factor * loss(y_true, y_pred, sample_weight)
                continue
            key = (loss.ignore_class, loss.from_logits)
            if key not in read:
                read[key] = Pixels(
                    y_true, y_pred, sample_weight, ignore_class=loss.ignore_class, from_logits=loss.from_logits
                )
            total = total + factor * read[key].checked(loss.value(read[key]))
        return total

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, the losses serialized."""
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.losses]
        return {"losses": losses, "weights": self.weights, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverse of `get_config`."""
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})
