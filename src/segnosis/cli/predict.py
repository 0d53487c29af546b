"""`segnosis predict`: masks for new images."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Run folder."),
    images: Path = typer.Argument(..., metavar="IMAGES", help="An image, a volume, or a folder of them."),
    output: Path = typer.Option(..., "-o", "--output", metavar="DIR", help="Folder for the masks."),
) -> None:
    """Write a mask for every image: PNG with palette, or NIfTI with the volume's own affine."""
    from segnosis.cli.screen import Screen, load_keras
    from segnosis.jobs.predict import predict

    load_keras()
    screen = Screen()
    written = predict(run, images, output, listener=screen)
    screen.close()
    print(f"{len(written)} masks in {output}")
