"""Metrics for semantic segmentation: one file = one Keras metric, on the shared ground of `base.py`."""

from __future__ import annotations

from typing import Any

from segnosis.core import discovery

NOT_UNITS = ("base", "confusion", "statistics", "surface")
_FUNCTIONS = ("bootstrap_interval", "paired_comparison")


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        from segnosis.metrics import statistics

        return getattr(statistics, name)
    return discovery.member(__name__, name)


def __dir__() -> list[str]:
    return sorted([*discovery.members(__name__), *_FUNCTIONS])
