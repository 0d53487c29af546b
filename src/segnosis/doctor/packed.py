"""Targets that carry weights beside the mask, for a loss of one's own to take apart.

`(…, channels + k)` where the output has `channels`: the mask first, then maps such as the weight of each pixel. Whoever
looks at the target wants the mask, and whoever asks the loss must put the maps back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from segnosis.doctor.digest import digest
from segnosis.doctor.random_state import to_host


def planes_packed(target: Any, channels: int | None) -> int:
    """How many planes behind the first `channels` are no classes: those are 0 and 1, or shares, and the rest is not.

    Example:
        >>> mask = np.eye(4)[None, ..., None]
        >>> planes_packed(np.concatenate([mask, 1 + 4 * mask], -1), 1), planes_packed(mask, 1)
        (1, 0)
    """
    if not channels or np.ndim(target) != 4 or np.shape(target)[-1] <= channels:
        return 0
    array = np.asarray(target)
    if array.dtype.kind not in "uifb" or keras.config.image_data_format() == "channels_first":
        return 0
    mask, rest = array[..., :channels], array[..., channels:]
    binary, others_binary = (bool(np.isin(part[:, ::2, ::2], (0, 1)).all()) for part in (mask, rest))
    shares = mask.min() >= 0 and mask.max() <= 1 < rest.max()
    return int(rest.shape[-1]) if (binary and not others_binary) or shares else 0


class Packed:
    """A loss or metric that is given masks alone, and asks the user's with the maps beside them.

    Everything else is the user's own: its name, what it counted, its result.

    Args:
        asked: The user's loss or metric.
        targets: Whole targets, `(batch, height, width, channels + k)`: a mask that is met again gets its own maps,
            any other one the mean of each.
        planes: k.
    """

    def __init__(self, asked: Any, targets: Sequence[np.ndarray], planes: int) -> None:
        self.asked = asked
        self._maps = {digest(one[..., :-planes]): one[..., -planes:] for target in targets for one in target}
        self._mean = np.mean([maps.mean(axis=(0, 1)) for maps in self._maps.values()], axis=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["asked"], name)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss."""
        return self.asked(self._whole(y_true), y_pred, sample_weight)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count, as a metric does."""
        self.asked.update_state(self._whole(y_true), y_pred, sample_weight)

    def _whole(self, y_true: Any) -> Any:
        masks = to_host(y_true)
        maps = [
            self._maps.get(digest(mask), np.broadcast_to(self._mean, (*mask.shape[:-1], len(self._mean))))
            for mask in masks
        ]
        return keras.ops.convert_to_tensor(np.concatenate([masks, np.stack(maps)], -1).astype(masks.dtype))
