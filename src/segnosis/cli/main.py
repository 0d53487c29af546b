"""The one command `segnosis`: its sub-commands are the modules of this folder."""

from __future__ import annotations

import os
import signal
import sys
from traceback import print_exc
from typing import NoReturn

import typer

from segnosis.core import discovery
from segnosis.core.errors import SegnosisError

HEALTHY, FINDINGS, FAILED = 0, 1, 2
"""Exit codes, as linters have them. What a signal stopped leaves with 128 and the signal's number, as shells count:
130 after Ctrl-C, 143 after SIGTERM."""


def application() -> typer.Typer:
    """Every command, found by its file."""
    app = typer.Typer(
        name="segnosis",
        help="Trains segmentation models, and explains why one does not learn.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def common(
        traceback: bool = typer.Option(False, "--traceback", help="Show Python's traceback of an error."),
        version: bool = typer.Option(False, "--version", is_eager=True, callback=_version, help="Show the version."),
    ) -> None:
        pass

    for name, module in discovery.units("segnosis.cli").items():
        settings = getattr(module, "SETTINGS", {})
        examples = "".join(f"\n  {line}" for line in getattr(module, "EXAMPLES", ()))
        app.command(name.rstrip("_").replace("_", "-"), epilog=f"\b\nExamples:{examples}", **settings)(module.command)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # TensorFlow's notes on its kernels are no news to the person at the terminal; her own setting wins.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    traceback = "--traceback" in arguments[: _own(arguments)]
    try:
        application()(args=arguments, standalone_mode=True)
    except SegnosisError as error:
        if traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        _leave(getattr(error, "exit_code", FAILED))
    except KeyboardInterrupt:
        print("error: stopped by you.", file=sys.stderr)
        _leave(128 + signal.SIGINT)
    except Exception:
        from segnosis.training import processes

        if not processes.met():
            raise
        print_exc()
        _leave(1)


def _leave(code: int) -> NoReturn:
    """End with an exit code; one of several processes that train together does not wait for the others."""
    from segnosis.training import processes  # not needed for `--help`, which has to be quick

    processes.leave(code)


def _version(wanted: bool) -> None:
    if wanted:
        from segnosis import __version__

        print(f"segnosis {__version__}")
        raise typer.Exit


def _own(arguments: list[str]) -> int:
    """How many arguments are ours: what follows a user's script belongs to the script."""
    script = next((i for i, word in enumerate(arguments) if word.endswith(".py")), len(arguments))
    return script + 1
