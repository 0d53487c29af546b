"""What the objects given to `fit` hold: files, ids, arrays of pictures; read once for all who ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segnosis.doctor.sources import Sources, sources_of

PRICE = "data"


@dataclass(frozen=True)
class HeldSources:
    """Of both sides; empty where nothing was given, or where it does not tell.

    Attributes:
        train, validation: What `x` and `validation_data` hold.
    """

    train: Sources
    validation: Sources


def measure(fit_arguments: Mapping[str, Any]) -> HeldSources:
    """Read the objects; nothing is drawn and nothing is called."""
    return HeldSources(sources_of(fit_arguments.get("x")), sources_of(fit_arguments.get("validation_data")))
