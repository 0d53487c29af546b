"""`segnosis check`: data and labels only, no model, seconds."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = ("segnosis check path/to/data --html faults.html",)


def command(
    data: str = typer.Argument(..., metavar="DATA", help="Folder of images and masks."),
    json: Path | None = typer.Option(None, "--json", help="Write the diagnosis here as JSON."),
    html: Path | None = typer.Option(None, "--html", help="Write the diagnosis here as HTML."),
) -> None:
    """Look for faults in images and masks. Leaves with 0 when healthy, 1 when something is proven."""
    from segnosis.cli.main import FINDINGS, HEALTHY
    from segnosis.cli.screen import Screen, ends_in
    from segnosis.jobs.check import check
    from segnosis.report.diagnosis_text import render

    ends_in(json, "--json", ".json")
    ends_in(html, "--html", ".html", ".htm")
    screen = Screen()
    diagnosis = check(data, listener=screen)
    screen.close()
    for path in (json, html):
        if path is not None:
            diagnosis.save(path)
    print(render(diagnosis))
    raise typer.Exit(HEALTHY if diagnosis.healthy else FINDINGS)
