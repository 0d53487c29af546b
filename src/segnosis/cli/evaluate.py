"""`segnosis evaluate`: a trained run, scored anew."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = ("segnosis evaluate runs/first path/to/data --json scores.json",)


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Run folder."),
    data: str = typer.Argument(
        "",
        metavar="DATA",
        help="Folder of images and masks; the run's own held-out samples when left out.",
        show_default=False,
    ),
    json: Path | None = typer.Option(None, "--json", help="Write the scores here."),
) -> None:
    """Score RUN on samples with masks, whole images, per class; after deep supervision, each of its depths."""
    from segnosis.cli.screen import Screen, load_keras
    from segnosis.core.run_folder import write_json
    from segnosis.jobs.evaluate import evaluate
    from segnosis.report.scores_text import depth_table, table

    load_keras()
    screen = Screen()
    scores = evaluate(run, data, listener=screen)
    screen.close()
    if json is not None:
        write_json(json, scores)
    print(table(scores))
    if "depths" in scores:
        print(depth_table(scores["depths"]))
