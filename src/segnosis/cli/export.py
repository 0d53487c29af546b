"""`segnosis export`: the model for use without Keras."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = ("segnosis export runs/first --to onnx",)


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Run folder."),
    to: str = typer.Option("onnx", "--to", help="onnx, openvino or saved_model."),
    out: Path | None = typer.Option(None, "--out", metavar="FILE", help="File to write, if not one in RUN."),
    data: Path | None = typer.Option(None, "--data", metavar="DATA", help="Where the run's data lies now, if moved."),
    int8: bool = typer.Option(False, "--int8", help="Also write eight-bit ONNX, if it costs at most 0.01 mean IoU."),
) -> None:
    """Write RUN's model for use without Keras. It is checked on held-out images before it is kept."""
    from segnosis.cli.screen import Screen, load_keras
    from segnosis.jobs.export import export

    load_keras()
    screen = Screen()
    made = export(run, to, out=out, data=data, int8=int8, listener=screen)
    screen.close()
    print(f"{made.path}: {made.compared}")
    if made.int8 is not None:
        print(f"{made.int8.path}: {made.int8.compared}")
    elif made.note:
        print(made.note)
