"""From files to samples: readers, splits, fingerprints, transforms and feeds. Numpy only, until a feed is asked for."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from segnosis.core.discovery import imported

_WHERE = {
    "Dataset": "segnosis.data.dataset",
    "Fingerprint": "segnosis.data.fingerprint",
    "feed": "segnosis.data.feed",
    "fingerprint": "segnosis.data.fingerprint",
    "open": "segnosis.data.open",
    "open_images": "segnosis.data.open",
    "scan": "segnosis.data.scan",
    "split": "segnosis.data.split",
}
__all__ = ["Dataset", "Fingerprint", "feed", "fingerprint", "open", "open_images", "scan", "split"]

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset
    from segnosis.data.feed import feed
    from segnosis.data.fingerprint import Fingerprint, fingerprint
    from segnosis.data.open import open, open_images
    from segnosis.data.scan import scan
    from segnosis.data.split import split


class _Functions(ModuleType):
    """The package, on which `open` is the function even after its module `open.py` was imported."""

    def __getattribute__(self, name: str) -> Any:
        where = _WHERE.get(name) if not name.startswith("_") else None
        return getattr(imported(where), name) if where else super().__getattribute__(name)


sys.modules[__name__].__class__ = _Functions


def __dir__() -> list[str]:
    return sorted(__all__)
