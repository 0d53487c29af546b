"""Architectures: functions that return a plain functional `keras.Model` of stock layers, emitting float32 logits.

One file is one architecture, found by its name: `segnosis.models.unet` is the function `unet` of `unet.py`.
Importing this package loads no Keras; naming a function does.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from segnosis.core import discovery
from segnosis.core.errors import did_you_mean

# Modules that are no architecture; discovery leaves them out.
NOT_UNITS = ("backbones", "blocks", "fold", "freeze", "nodes", "prune", "resize", "summary", "weights")
_WHERE = {
    "cast": "fold",
    "fold": "fold",
    "freeze": "freeze",
    "unfreeze": "freeze",
    "prune": "prune",
    "trainable_summary": "summary",
    "load_weights": "weights",
}

if TYPE_CHECKING:
    from segnosis.models.deeplab_v3_plus import deeplab_v3_plus
    from segnosis.models.fold import cast, fold
    from segnosis.models.freeze import freeze, unfreeze
    from segnosis.models.prune import prune
    from segnosis.models.summary import trainable_summary
    from segnosis.models.unet import unet
    from segnosis.models.unet_plus_plus import unet_plus_plus
    from segnosis.models.weights import load_weights

__all__ = ["cast", "deeplab_v3_plus", "fold", "freeze", "load_weights", "prune", "trainable_summary", "unet"]
__all__ += ["unet_plus_plus", "unfreeze"]


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name, name)
    if name.startswith("_") or (name not in _WHERE and name not in discovery.names(__name__)):
        hint = "" if name.startswith("_") else f" {did_you_mean(name, __dir__())}"
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{hint}")
    return getattr(discovery.imported(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*discovery.names(__name__), *_WHERE})


class _Family(ModuleType):
    """Importing `models/unet.py` makes Python bind the module as `models.unet`; here the function is bound instead."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and value.__name__ == f"{__name__}.{name}":
            value = getattr(value, name, value)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Family
