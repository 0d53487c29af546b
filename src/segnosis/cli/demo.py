"""`segnosis demo`: the whole main job on data it makes itself."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = ("segnosis demo --out runs/demo",)


def command(
    out: Path = typer.Option(Path("runs/demo"), "--out", help="Run folder to make; an older demo there is replaced."),
    epochs: int = typer.Option(15, "--epochs", help="Epochs to train, 20 steps each."),
) -> None:
    """Train on hearts that it makes itself. Scores, diagnoses and reports: about two minutes on two cores."""
    from segnosis.cli.screen import Screen, load_keras, then
    from segnosis.jobs.demo import demo
    from segnosis.report.diagnosis_text import render
    from segnosis.report.scores_text import table

    load_keras()
    screen = Screen()
    run = demo(out, epochs=epochs, listener=screen)
    screen.close()
    print(table(run.scores))
    print(render(run.diagnosis))
    print(f"report: {run.report}")
    print(then(run.out, run.plan.data))
    print("        segnosis train path/to/your/data --minutes 6")
