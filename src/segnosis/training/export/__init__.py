"""Formats a trained model is written in: one file a format, found by its name.

A format is a module with `SUFFIX` of its file (empty: a folder), the `PACKAGES` it needs and the `EXTRA` of ours that
brings them, `write(model, path, facts)` and `load(path)`, which gives a function from raw pixels to logits.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from segnosis.core import discovery
from segnosis.core.errors import ArgumentError, MissingPackageError, did_you_mean

if TYPE_CHECKING:
    import keras

Call = Callable[[np.ndarray], np.ndarray]
"""Raw pixel values `(batch, height, width, channels)` float32 → logits `(batch, height, width, num_classes)`."""


class Format(Protocol):
    """What the module of a format holds."""

    SUFFIX: str
    PACKAGES: tuple[str, ...]
    EXTRA: str

    def write(self, model: keras.Model, path: Path, facts: Mapping[str, str]) -> None:
        """Write `model` to `path`, with `facts` about it where the format keeps some."""

    def load(self, path: Path) -> Call:
        """The written model as a function, without Keras."""


def format_named(name: str) -> Format:
    """The format of that name, with its packages installed.

    Raises:
        ArgumentError: There is no such format.
        MissingPackageError: It needs a package that is not installed.
    """
    known = discovery.names(__name__)
    if name not in known:
        raise ArgumentError(
            f"A model is exported to one of {', '.join(known)}.", received={"to": name}, cure=did_you_mean(name, known)
        )
    module = cast(Format, discovery.load(__name__, name))
    for package in module.PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(package, purpose=f"export to {name}", extra=module.EXTRA)
    return module
