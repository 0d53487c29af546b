"""`segnosis demo`: the whole main job on data it makes itself."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    out: Path = typer.Option(Path("runs/demo"), "--out", help="Run folder to make; an older demo there is replaced."),
    minutes: float = typer.Option(2.5, "--minutes", help="Wall-clock budget."),
) -> None:
    """Make hearts, train on them, score, diagnose and report: about two minutes on two cores."""
    from segnosis.cli.screen import Screen, load_keras
    from segnosis.jobs.demo import demo
    from segnosis.report.diagnosis_text import render
    from segnosis.report.scores_text import table

    load_keras()
    screen = Screen()
    run = demo(out, minutes=minutes, listener=screen)
    screen.close()
    print(table(run.scores))
    print(render(run.diagnosis))
    print(f"report: {run.report}")
