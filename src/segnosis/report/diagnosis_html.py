"""A diagnosis as one HTML page."""

from __future__ import annotations

from segnosis.doctor.diagnosis import Diagnosis
from segnosis.report import page


def render(diagnosis: Diagnosis) -> str:
    """One self-contained page; whatever a file or layer is called is escaped."""
    return page.render("diagnosis.html", diagnosis=diagnosis)
