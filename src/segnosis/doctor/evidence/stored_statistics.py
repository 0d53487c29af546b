"""Which scaling of the images the stored statistics of a trained encoder were gathered on.

BatchNormalization keeps the mean and variance of what it saw in training. An encoder that comes trained tells by them
what its images looked like: under the right scaling its first layers see again what they saw.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import raised
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import images_of
from segnosis.doctor.graph import all_layers
from segnosis.doctor.listening import Enough, listening
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import untouched

PRICE = "batch"

AS_GIVEN = "x"
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406], "float32"), np.array([0.229, 0.224, 0.225], "float32")
_SCALINGS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    AS_GIVEN: lambda x: x,
    "255 * x": lambda x: 255 * x,
    "x / 255": lambda x: x / 255,
    "2 * x - 1": lambda x: 2 * x - 1,
    "(x + 1) / 2": lambda x: (x + 1) / 2,
    "127.5 * (x + 1)": lambda x: 127.5 * (x + 1),
    "x / 127.5 - 1": lambda x: x / 127.5 - 1,
    "(x - mean) / std": lambda x: (x - _MEAN) / _DEVIATION if x.shape[-1] == 3 else x,
    "(x / 255 - mean) / std": lambda x: (x / 255 - _MEAN) / _DEVIATION if x.shape[-1] == 3 else x,
    "(x - x.mean((0, 1, 2))) / x.std((0, 1, 2))": lambda x: (x - x.mean((0, 1, 2))) / (x.std((0, 1, 2)) + 1e-6),
    "x[..., ::-1]": lambda x: x[..., ::-1],
}
_LAYERS, _BATCHES, _IMAGES = 3, 2, 8


@dataclass(frozen=True)
class StoredStatistics:
    """Of the first three layers that come with statistics of a training.

    Attributes:
        layers: Their names.
        misfit: Scaling → how far means and deviations of what reaches them lie from the stored ones, in stored
            deviations: the mean over layers and channels.
    """

    layers: tuple[str, ...]
    misfit: Mapping[str, float]

    @property
    def best(self) -> str:
        """The scaling that fits best."""
        return min(self.misfit, key=lambda name: self.misfit[name])


def measure(model: keras.Model, batches: Sequence[Batch], optimizer: Any = None) -> StoredStatistics:
    """Raises `Unavailable` where no layer comes with statistics, or the model takes more than images."""
    if int(to_host(getattr(optimizer, "iterations", np.zeros(())))) > 0:
        raise Unavailable("the statistics are those of this training")
    norms = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    known = [layer for layer in norms if layer.built and to_host(layer.moving_mean).any()][:_LAYERS]
    if not known:
        raise Unavailable("no BatchNormalization comes with statistics of a training")
    images = [images_of(batch) for batch in list(batches)[:_BATCHES]]
    if any(image is None for image in images) or len(keras.tree.flatten(batches[0].x)) != 1:
        raise Unavailable("the model takes more than images")
    x = np.concatenate([image for image in images if image is not None])[:_IMAGES].astype("float32")
    found: dict[str, float] = {}
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a wrong scaling may overflow
        for name, scaling in _SCALINGS.items():
            scaled = scaling(x)
            if name == AS_GIVEN or not np.array_equal(scaled, x):
                found[name] = _misfit(model, scaled, known)
    return StoredStatistics(tuple(layer.name for layer in known), found)


def _misfit(model: keras.Model, x: np.ndarray, known: Sequence[Any]) -> float:
    seen: dict[int, float] = {}

    def note(layer: Any, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        if any(layer is one for one in known) and args:
            given = to_host(args[0]).astype("float64")
            mean, variance = to_host(layer.moving_mean), to_host(layer.moving_variance) + layer.epsilon
            away = np.abs(given.mean(axis=(0, 1, 2)) - mean) / np.sqrt(variance)
            wider = np.abs(np.log((given.std(axis=(0, 1, 2)) + 1e-6) / np.sqrt(variance)))
            seen[id(layer)] = float(np.mean(away + wider))
            if len(seen) == len(known):
                raise Enough
        return call()

    try:
        with listening(note):
            model(keras.ops.convert_to_tensor(x), training=False)
    except Exception as error:  # anything that anyone's model can raise; fit() raises the same
        raise Unavailable(f"the model cannot be called on these images ({raised(error).error})") from error
    if not seen:
        raise Unavailable("the layers with statistics are not called one by one")
    return float(np.mean(list(seen.values())))
