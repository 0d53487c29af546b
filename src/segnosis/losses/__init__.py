"""Losses for semantic segmentation: one file = one Keras loss, on the shared ground of `base.py`."""

from __future__ import annotations

from typing import Any

from segnosis.core import discovery

NOT_UNITS = ("base", "pixels", "region", "soft_max")


def __getattr__(name: str) -> Any:
    return discovery.member(__name__, name)


def __dir__() -> list[str]:
    return discovery.members(__name__)
