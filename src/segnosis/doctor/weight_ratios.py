"""How far weights move and how large their gradients are, relative to them: from a few thousand numbers per epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from segnosis.doctor.random_state import to_host

_KERNELS, _VALUES = 16, 4096


class WeightRatios:
    """Follows some kernels of a model, evenly taken over its depth, and some numbers of each.

    Args:
        model: A built, compiled model.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_initializer="ones")])
        >>> model.compile("sgd", "mse")
        >>> ratios = WeightRatios(model)
        >>> model.layers[0].kernel.assign(2 * np.ones((4, 2))) is None, ratios.update_ratio()
        (False, 1.0)
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        kernels = [variable for variable in model.trainable_variables if len(variable.shape) > 1]
        evenly = np.linspace(0, len(kernels) - 1, min(_KERNELS, len(kernels))).astype("int64")
        self._kernels = [kernels[index] for index in evenly]
        self._before = [_some(kernel) for kernel in self._kernels]

    def update_ratio(self) -> float | None:
        """Median over kernels of the way they made since the last call, relative to their length then."""
        now = [_some(kernel) for kernel in self._kernels]
        before, self._before = self._before, now
        return _median([_rms(new - old) / size for old, new in zip(before, now, strict=True) if (size := _rms(old))])

    def gradient_ratio(self) -> float | None:
        """Median over kernels of the gradient's size as the optimizer remembers it, relative to the kernel.

        Read from the mean squares that Adam and its kin, RMSprop and Adadelta keep anyway, so that no gradient has to
        be taken; `None` for optimizers that keep none.
        """
        optimizer: Any = getattr(self._model, "optimizer", None)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # inside a loss scale
        squares = getattr(optimizer, "_velocities", None) or getattr(optimizer, "_accumulated_grads", None)
        if not squares or isinstance(optimizer, keras.optimizers.SGD):
            return None
        steps = int(to_host(optimizer.iterations))
        decay = float(getattr(optimizer, "beta_2", getattr(optimizer, "rho", 0.0)) or 0.0)
        seen = 1.0 - decay**steps  # what of the mean is not its start at 0
        at = {id(variable): number for number, variable in enumerate(optimizer._trainable_variables)}
        ratios = []
        for kernel, values in zip(self._kernels, self._before, strict=True):
            number = at.get(id(kernel))
            if number is not None and seen > 0 and (size := _rms(values)):
                ratios.append(float(np.sqrt(_some(squares[number]).mean() / seen)) / size)
        return _median(ratios)


def _some(variable: Any) -> np.ndarray:
    """Evenly taken numbers of a variable."""
    flat = to_host(variable).ravel()
    return flat[:: max(1, len(flat) // _VALUES)].astype("float64")


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def _median(ratios: Sequence[float]) -> float | None:
    return float(np.median(ratios)) if ratios else None
