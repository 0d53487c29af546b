"""`segnosis report`: report.html again, a page that follows a run, or several runs on one page."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = (
    "segnosis report runs/first",
    "segnosis report runs/first --live",
    "segnosis report runs/first runs/second -o comparison.html",
)


def command(
    runs: list[Path] = typer.Argument(..., metavar="RUN", help="Run folder; two or more are compared."),
    live: bool = typer.Option(False, "--live", help="Serve a page that follows RUN while it trains, until Ctrl-C."),
    port: int = typer.Option(0, "--port", min=0, max=65535, help="Port of --live.", show_default="any free one"),
    host: str = typer.Option("127.0.0.1", "--host", help="Address of --live; others than this machine's own see it."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Page to write, if not RUN's report.html, or comparison.html of several."
    ),
) -> None:
    """Write RUN's report.html again. With --live follow a run; of two or more runs compare them on one page."""
    from segnosis.core.errors import ArgumentError
    from segnosis.core.run_folder import RunFolder
    from segnosis.jobs.run import fold_folders, opened
    from segnosis.report import comparison_report, folds_report, run_report

    if live:
        if len(runs) > 1:
            raise ArgumentError(
                "`--live` follows one run.", received={"runs": [str(run) for run in runs]}, cure="Name one of them."
            )
        follow(runs[0], host=host, port=port)
    elif len(runs) > 1:
        from segnosis.jobs.compare import compare_runs

        compared = compare_runs(runs)
        print(comparison_report.text(compared))
        print(comparison_report.write(compared, out or Path("comparison.html")))
    elif fold_folders(runs[0]):
        print(folds_report.write(RunFolder(runs[0]), out))
    else:
        print(run_report.write(opened(runs[0]).folder, out))


def follow(run: Path, *, host: str, port: int) -> None:
    """Serve the page of a run until the person has seen enough."""
    from segnosis.core.errors import RunError
    from segnosis.core.run_folder import RunFolder
    from segnosis.jobs.run import fold_folders
    from segnosis.report import live

    if folds := fold_folders(run):
        raise RunError(
            "This folder is a cross-validation; one of its folds is a run.",
            received={"run": str(run), "folds": len(folds)},
            cure=f"Follow a fold, as {folds[0]}.",
        )
    if not run.is_dir():
        raise RunError(
            "A run that is followed has a folder.",
            received={"run": str(run)},
            cure="Start it first: `segnosis train DATA --out RUN`.",
        )
    with live.LiveReport(RunFolder(run), host=host, port=port) as server:
        print(f"{server.address}   Ctrl-C ends it.", flush=True)
        if server.open_to_others:
            print("Whoever reaches this address can read the report.", flush=True)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print()
