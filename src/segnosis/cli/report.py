"""`segnosis report`: report.html again."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = ("segnosis report runs/first",)


def command(run: Path = typer.Argument(..., metavar="RUN", help="Run folder.")) -> None:
    """Write RUN's report.html again from what the run folder holds."""
    from segnosis.jobs.run import opened
    from segnosis.report import run_report

    print(run_report.write(opened(run).folder))
