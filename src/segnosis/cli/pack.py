"""`segnosis pack`: a data set as a few large files of ready samples."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import typer

EXAMPLES = ("segnosis pack path/to/data --out path/to/shards",)


def command(
    data: str = typer.Argument(..., metavar="DATA", help="Folder of images and masks, in any layout that is read."),
    out: Path = typer.Option(..., "--out", help="Folder for the shards; run again, it goes on where it was stopped."),
    shard_megabytes: int = typer.Option(256, "--shard-megabytes", min=1, help="Size at which a shard is closed."),
    skip_unreadable: bool = typer.Option(False, "--skip-unreadable", help="Leave out samples that cannot be read."),
    nan: float | None = typer.Option(None, "--nan", help="Number to read NaN and infinite pixels as."),
) -> None:
    """Write a data set as shards, for fast streaming. They hold decoded samples with checksums."""
    from segnosis.cli.screen import Screen
    from segnosis.jobs.pack import pack

    screen = Screen()
    try:
        pack(data, out, shard_megabytes=shard_megabytes, skip_unreadable=skip_unreadable, nan=nan, listener=screen)
    finally:
        screen.close()
    print(f"{out}: packed; train with `segnosis train {quote(str(out))}`")
