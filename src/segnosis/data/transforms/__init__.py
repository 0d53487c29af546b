"""Joint geometry and image-only changes of an image and its mask: one file = one transform.

Every geometric transform adds to **one** coordinate map, which is sampled once: the image by its interpolation, the
mask by nearest. So image and mask cannot come apart, and ten transforms blur an image no more than one. Photometric
transforms follow, on the image alone.

The classes are found by name, `transforms.Rotate` in `rotate.py`; a new file is a new transform, nothing is registered.
"""

from __future__ import annotations

import re
from typing import Any

from segnosis.core import discovery

NOT_UNITS = ("augment", "base", "coordinate_map", "sampling")  # what the transforms share


def class_name(unit: str) -> str:
    """Name of the class in the module `unit`.

    Example:
        >>> class_name("flip_horizontal")
        'FlipHorizontal'
    """
    return "".join(part.capitalize() for part in unit.split("_"))


def __getattr__(name: str) -> Any:
    unit = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if name[:1].isupper() and unit in discovery.names(__name__):
        return getattr(discovery.load(__name__, unit), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *(class_name(unit) for unit in discovery.names(__name__))])
