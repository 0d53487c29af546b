"""Segnosis trains semantic-segmentation models on Keras 3, and explains why one does not learn.

Importing the package is light: no backend is loaded until something needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "cross_validate": "segnosis.jobs.folds",
    "export": "segnosis.jobs.export",
    "predict": "segnosis.jobs.predict",
    "train": "segnosis.jobs.train",
    "Plan": "segnosis.training.plan",
    "diagnose": "segnosis.doctor.diagnose",
    "Watch": "segnosis.doctor.watch",
    "Diagnosis": "segnosis.doctor.diagnosis",
    "Finding": "segnosis.doctor.verdict",
}
_ROOMS = ("data", "losses", "metrics", "models", "core")

__all__ = ["Diagnosis", "Finding", "Plan", "Watch", "__version__", "core", "cross_validate", "data", "diagnose"]
__all__ += ["export", "losses", "metrics", "models", "predict", "train"]

if TYPE_CHECKING:
    from segnosis import core, data, losses, metrics, models
    from segnosis.doctor.diagnose import diagnose
    from segnosis.doctor.diagnosis import Diagnosis
    from segnosis.doctor.verdict import Finding
    from segnosis.doctor.watch import Watch
    from segnosis.jobs.export import export
    from segnosis.jobs.folds import cross_validate
    from segnosis.jobs.predict import predict
    from segnosis.jobs.train import train
    from segnosis.training.plan import Plan


def __getattr__(name: str) -> Any:
    from segnosis.core.discovery import imported

    if name in _ROOMS:
        return imported(f"segnosis.{name}")
    if name in _WHERE:
        return getattr(imported(_WHERE[name]), name)
    raise AttributeError(f"module 'segnosis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
