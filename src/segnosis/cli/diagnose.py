"""`segnosis diagnose`: why does it not learn?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

EXAMPLES = (
    "segnosis diagnose train.py",
    "segnosis diagnose train.py --html why.html -- --my-option 3",
    "segnosis diagnose runs/first",
)

SETTINGS = {"context_settings": {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}}
"""Options we do not know belong to the user's script; after `--` all do."""


def command(
    words: list[str] = typer.Argument(
        ..., metavar="SCRIPT.py [ARGS ...] | RUN", help="A Keras script, or a run folder."
    ),
    budget: str = typer.Option("probe", "--budget", help="Dearest evidence allowed: static, probe or train."),
    prove: bool = typer.Option(False, "--prove", help="The same as --budget train: try the fix on a copy."),
    continue_: bool = typer.Option(False, "--continue", help="Let the script train on, watched."),
    json: Path | None = typer.Option(None, "--json", help="Write the diagnosis here as JSON."),
    html: Path | None = typer.Option(None, "--html", help="Write the diagnosis here as HTML."),
) -> None:
    """Name the cause, prove it, say the line to change. Leaves with 0 when healthy, 1 with findings, 2 when it failed.

    A script runs up to its first fit(), unchanged, is examined there and stopped. Options after `--` are the script's.
    """
    from segnosis.cli.screen import Screen, ends_in, load_keras
    from segnosis.core.errors import ArgumentError
    from segnosis.doctor.backend_choice import chosen_backend

    ends_in(json, "--json", ".json")
    ends_in(html, "--html", ".html", ".htm")
    if prove:
        budget = "train"
    if budget not in ("static", "probe", "train"):
        raise ArgumentError(
            "A budget is `static`, `probe` or `train`.", received={"budget": budget}, cure="Pass `--budget probe`."
        )
    target = Path(words[0])
    if target.is_dir() and (budget != "probe" or continue_):
        raise ArgumentError(
            "The diagnosis of a run is read from what it left: nothing is trained or tried for it.",
            received={"run": str(target), "budget": budget, "continue": continue_},
            cure="Leave `--budget`, `--prove` and `--continue` to scripts.",
        )
    if target.is_dir() and words[1:]:
        raise ArgumentError(
            "A run takes no arguments.",
            received={"run": str(target), "arguments": " ".join(words[1:])},
            cure="Leave them out; a script's come behind its name.",
        )
    if not target.is_dir() and (backend := chosen_backend(target)) is not None:
        os.environ["KERAS_BACKEND"] = backend
    load_keras()
    screen = Screen()
    examined = _run_folder(target, screen) if target.is_dir() else _script(target, words[1:], budget, continue_, screen)
    diagnosis, code = examined
    for path in (json, html):
        if path is not None and diagnosis is not None:
            diagnosis.save(path)
    raise typer.Exit(code)


def _run_folder(folder: Path, screen: Any) -> tuple[Any, int]:
    from segnosis.cli.main import FINDINGS, HEALTHY
    from segnosis.jobs.diagnose import diagnose
    from segnosis.report.diagnosis_text import render

    diagnosis = diagnose(folder, listener=screen)
    screen.close()
    print(render(diagnosis))
    return diagnosis, HEALTHY if diagnosis.healthy else FINDINGS


def _script(path: Path, arguments: list[str], budget: Any, continue_: bool, screen: Any) -> tuple[Any, int]:
    import sys

    from segnosis.doctor.script import diagnose_script
    from segnosis.report.diagnosis_text import render

    def show(diagnosis: Any) -> None:
        screen.close()
        print(render(diagnosis), flush=True)

    outcome = diagnose_script(
        path, arguments, budget=budget, continue_=continue_, on_diagnosis=show, progress=screen.step
    )
    screen.close()
    if outcome.traceback:
        print(outcome.traceback, file=sys.stderr, end="")
    if outcome.message:
        print(outcome.message, file=sys.stderr)
    return (outcome.diagnoses[-1] if outcome.diagnoses else None), outcome.exit_code
