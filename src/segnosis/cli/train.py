"""`segnosis train`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

EXAMPLES = (
    "segnosis train path/to/data --minutes 6 --out runs/first",
    "segnosis train --resume --out runs/first",
)


def command(
    data: str = typer.Argument("", metavar="DATA", help="Folder of images and masks.", show_default=False),
    out: Path | None = typer.Option(None, "--out", help="Run folder to make; runs/NAME-DATE when left out."),
    plan: Path | None = typer.Option(None, "--plan", help="Follow this plan (from `segnosis plan`)."),
    model: str | None = typer.Option(None, "--model", help="Architecture, as in `segnosis list models`."),
    backbone: str | None = typer.Option(None, "--backbone", help="Backbone to encode with, as resnet50."),
    weights: Path | None = typer.Option(None, "--weights", help="File of pretrained weights to start from."),
    minutes: float | None = typer.Option(None, "--minutes", help="Wall-clock budget of the whole command."),
    epochs: int | None = typer.Option(None, "--epochs", help="Epochs to train."),
    seed: int | None = typer.Option(None, "--seed", min=0, help="Seed of everything random."),
    folds: int | None = typer.Option(None, "--folds", help="Cross-validate: a run for each fold of whole groups."),
    nan: float | None = typer.Option(None, "--nan", help="Number to read NaN and infinite pixels as."),
    resume: bool = typer.Option(False, "--resume", help="Go on with the unfinished run, or folds, in --out."),
    anyway: bool = typer.Option(False, "--anyway", help="Train although the data has a proven error."),
    track: list[str] = typer.Option(
        [], "--track", metavar="NAME", help="Record also to tensorboard or mlflow; may be given twice."
    ),
) -> None:
    """Train on DATA, score, diagnose, and write a report. Scores are those of held-out samples."""
    from segnosis.cli import BEGAN
    from segnosis.cli.screen import Screen, load_keras, then
    from segnosis.core.errors import ArgumentError
    from segnosis.jobs.folds import cross_validate
    from segnosis.jobs.run import fold_folders
    from segnosis.jobs.train import train
    from segnosis.report.diagnosis_text import render
    from segnosis.report.folds_text import folds_table
    from segnosis.report.scores_text import depth_table, table
    from segnosis.report.stored import StoredRun
    from segnosis.training import processes
    from segnosis.training.plan import Plan
    from segnosis.training.tracking.tracked import known

    if not data and plan is None and not resume:
        raise ArgumentError(
            "`segnosis train` needs data or a plan.", cure="Name a folder of images and masks: `segnosis train DATA`."
        )
    known(track)
    load_keras()
    source = Plan.load(plan) if plan else data
    if isinstance(source, Plan) and data:
        source = source.with_(data=data)
    screen = Screen()
    asked: dict[str, Any] = {
        "out": out, "model": model, "backbone": backbone, "weights": weights, "minutes": minutes, "epochs": epochs,
        "resume": resume, "anyway": anyway, "seed": seed, "nan": nan, "track": track, "listener": screen,
    }  # fmt: skip
    if folds is not None or (resume and out is not None and fold_folders(out)):
        made = cross_validate(source, folds=folds, **asked)
        screen.close()
        print(folds_table(made.scores))
        print(f"report: {made.report}")
        print(then(made.out))
        return
    run = train(source, started=BEGAN, **asked)
    screen.close()
    if not processes.first():
        return
    print(table(run.scores))
    if "depths" in run.scores:
        print(depth_table(run.scores["depths"]))
    print(render(run.diagnosis))
    if StoredRun(run.folder).too_brief:
        print("Trained too briefly for the model to be judged: what was found healthy is the data and the plan.")
    print(f"report: {run.report}")
    print(then(run.out))
