"""`segnosis evaluate`: a trained run on other data."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Run folder."),
    data: str = typer.Argument(..., metavar="DATA", help="Folder of images and masks."),
    json: Path | None = typer.Option(None, "--json", help="Write the scores here."),
) -> None:
    """Score RUN on every sample of DATA, whole images, per class."""
    from segnosis.cli.screen import Screen, load_keras
    from segnosis.core.run_folder import write_json
    from segnosis.jobs.evaluate import evaluate
    from segnosis.report.scores_text import table

    load_keras()
    screen = Screen()
    scores = evaluate(run, data, listener=screen)
    screen.close()
    if json is not None:
        write_json(json, scores)
    print(table(scores))
