"""`segnosis plan`: what train would do, readable and editable."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import typer

EXAMPLES = ("segnosis plan path/to/data --minutes 6 -o plan.yaml",)


def command(
    data: str = typer.Argument(..., metavar="DATA", help="Folder of images and masks."),
    output: Path | None = typer.Option(None, "-o", "--output", help="Write the plan here instead of printing it."),
    model: str | None = typer.Option(None, "--model", help="Architecture, as in `segnosis list models`."),
    backbone: str | None = typer.Option(None, "--backbone", help="Backbone to encode with, as resnet50."),
    weights: Path | None = typer.Option(None, "--weights", help="File of pretrained weights to start from."),
    minutes: float | None = typer.Option(None, "--minutes", help="Wall-clock budget of the whole job."),
    epochs: int | None = typer.Option(None, "--epochs", help="Epochs to train."),
    range_test: bool = typer.Option(False, "--range-test", help="Measure the learning rate by a short training."),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of everything random."),
    nan: float | None = typer.Option(None, "--nan", help="Number to read NaN and infinite pixels as."),
) -> None:
    """Print what `segnosis train DATA` would do. Each decision has its reason."""
    from segnosis.cli.screen import Screen, load_keras
    from segnosis.jobs.plan import plan

    load_keras()
    screen = Screen()
    made = plan(
        data,
        model=model,
        backbone=backbone,
        weights=weights,
        minutes=minutes,
        epochs=epochs,
        range_test=range_test,
        seed=seed,
        nan=nan,
        listener=screen,
    )
    screen.close()
    if output is None:
        print(made.to_yaml(), end="")
    else:
        made.save(output)
        print(f"{output}: edit it, then `segnosis train --plan {quote(str(output))}`")
