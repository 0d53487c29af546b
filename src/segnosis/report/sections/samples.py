"""Best, median and worst held-out samples, all of them by score, and the same ones over the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segnosis.core.run_folder import RunFolder
from segnosis.report import page
from segnosis.report.run_report import worst_first
from segnosis.report.stored import StoredRun, css
from segnosis.training.pictures import ERROR_COLOURS

TITLE, ORDER = "Samples", 50
_STRIP = 4
"""Epochs shown in the film strip, first and last among them."""


def section(run: StoredRun) -> dict[str, Any] | None:
    """Pictures of samples, and the list of all."""
    if not run.scores:
        return None
    return {
        "samples": [{**shown, "pictures": run.pictures(shown["files"])} for shown in run.scores["shown"]],
        "ranked": sorted(run.scores["samples"], key=worst_first),
        "error_key": [(meaning, css(colour)) for meaning, colour in ERROR_COLOURS.items()],
        "strip": [(epoch, page.inline_photo(picture)) for epoch, picture in _strip(run.folder)],
    }


def _strip(folder: RunFolder) -> list[tuple[int, Path]]:
    files = sorted(folder.pictures.glob("epoch-*.png"))
    count = min(_STRIP, len(files))
    chosen = sorted({round(i * (len(files) - 1) / max(count - 1, 1)) for i in range(count)})
    return [(int(files[i].stem.removeprefix("epoch-")), files[i]) for i in chosen]
