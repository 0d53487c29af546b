"""A run folder as one HTML file, readable without network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from segnosis.core import discovery
from segnosis.core.run_folder import RunFolder, write_text
from segnosis.report import page
from segnosis.report.stored import StoredRun

_SECTIONS = "segnosis.report.sections"


class Section(NamedTuple):
    """A part of a page: what links lead to, its heading, its content."""

    name: str
    title: str
    html: Markup


def write(folder: RunFolder, out: Path | None = None) -> Path:
    """Write `report.html`, or `out`, from what the folder holds; nothing is computed anew."""
    return write_text(out or folder.report, render(StoredRun(folder)))


def render(run: StoredRun) -> str:
    """The page of a finished run."""
    return page.render("run.html", run=run, scores=run.scores, diagnosis=run.diagnosis, sections=sections(run))


def sections(run: StoredRun, only: Sequence[str] | None = None) -> list[Section]:
    """The sections that the run has something for, in their order.

    Args:
        run: The run.
        only: Names of sections; all when left out.
    """
    made = []
    units = discovery.units(_SECTIONS)
    for name, module in sorted(units.items(), key=lambda item: item[1].ORDER):
        values = module.section(run) if only is None or name in only else None
        if values is not None:
            made.append(Section(name, module.TITLE, Markup(page.render(f"sections/{name}.html", run=run, **values))))
    return made


def worst_first(row: Mapping[str, Any]) -> tuple[bool, float, str]:
    """Key that sorts samples by foreground Dice; those without foreground come last."""
    score = row["foreground_dice"]
    return score is None, score or 0.0, row["id"]


def confusion_rows(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each true class with the share of its pixels given to every class; `None` where it has no pixel."""
    return [
        {"name": name, "shares": [count / sum(row) if sum(row) else None for count in row]}
        for name, row in zip(scores["per_class"], scores["confusion"], strict=True)
    ]
