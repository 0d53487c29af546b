"""`segnosis report`: report.html again."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = ("segnosis report runs/first",)


def command(run: Path = typer.Argument(..., metavar="RUN", help="Run folder.")) -> None:
    """Write RUN's report.html again from what the run folder holds."""
    from segnosis.core.run_folder import RunFolder
    from segnosis.jobs.run import fold_folders, opened
    from segnosis.report import folds_report, run_report

    print(folds_report.write(RunFolder(run)) if fold_folders(run) else run_report.write(opened(run).folder))
