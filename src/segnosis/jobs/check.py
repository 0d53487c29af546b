"""Data and labels only: open, look once at every file, judge."""

from __future__ import annotations

from pathlib import Path

from segnosis import data
from segnosis.doctor.check_data import check_data
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.training.listener import Listener


def check(source: str | Path, *, reader: str | None = None, listener: Listener | None = None) -> Diagnosis:
    """Look for faults in a folder of images and masks; unreadable files are findings, not errors.

    Args:
        source: The folder.
        reader: Reader to use instead of the one that recognises the folder.
        listener: Who is told of the progress.
    """
    listener = listener or Listener()
    return check_data(data.open(source, reader=reader), progress=listener.step)
