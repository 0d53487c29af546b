"""`segnosis predict`: masks for new images."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = ("segnosis predict runs/first path/to/new/images -o masks --overlay",)


def command(
    runs: list[Path] = typer.Argument(..., metavar="RUN... IMAGES", help="Run folders, then an image or a folder."),
    output: Path = typer.Option(..., "-o", "--output", metavar="DIR", help="Folder for the masks."),
    probabilities: bool = typer.Option(False, "--probabilities", help="Also write the probability of every class."),
    overlay: bool = typer.Option(False, "--overlay", help="Also write a picture of the mask over the image."),
    postprocess: bool = typer.Option(False, "--postprocess", help="Apply what helps on the run's validation images."),
    mirror: bool | None = typer.Option(
        None, "--mirror/--no-mirror", help="Average over mirror images; else as planned."
    ),
    scales: str = typer.Option("1", "--scales", help="Average over the image at these sizes, such as 0.75,1,1.25."),
    precision: str | None = typer.Option(None, "--precision", help="float32 or bfloat16; else as trained."),
    workers: int = typer.Option(1, "--workers", help="Processes that predict side by side."),
    engine: str | None = typer.Option(None, "--engine", help="dask://host:port of a scheduler, in place of processes."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Predict again what is in the folder already."),
    nan: float | None = typer.Option(None, "--nan", help="Number to read NaN and infinite pixels as; else as planned."),
) -> None:
    """Write a mask for every image. PNG with palette, TIFF for a TIFF, volumes with their own affine.

    Several RUNs are an ensemble. Masks that are there already are kept, so that the same command goes on with what was
    stopped. areas.csv has a line an image and class. A TIFF larger than memory is predicted by windows.
    """
    from segnosis.cli.screen import Screen, load_keras
    from segnosis.core.errors import ArgumentError
    from segnosis.jobs.predict import predict

    *folders, images = runs
    if not folders:
        raise ArgumentError(
            "`segnosis predict` needs a run and images.",
            received={"arguments": str(images)},
            cure="Type `segnosis predict RUN IMAGES -o DIR`.",
        )
    try:
        sizes = [float(scale) for scale in scales.split(",")]
    except ValueError as error:
        raise ArgumentError(
            "`--scales` are numbers with commas between.", received={"scales": scales}, cure="Try 0.75,1,1.25."
        ) from error
    load_keras()
    screen = Screen()
    written = predict(
        folders,
        images,
        output,
        probabilities=probabilities,
        overlay=overlay,
        postprocess=postprocess,
        mirror=mirror,
        scales=sizes,
        precision=precision,
        workers=workers,
        engine=engine,
        overwrite=overwrite,
        nan=nan,
        listener=screen,
    )
    screen.close()
    count = "1 mask" if len(written) == 1 else f"{len(written)} masks"
    print(f"{count} in {output}, areas in {output / 'areas.csv'}")
