"""`segnosis explain`: the page of a check."""

from __future__ import annotations

import typer

EXAMPLES = ("segnosis explain LAB002",)


def command(check: str = typer.Argument(..., metavar="CODE", help="Code or name of a check, as LAB002.")) -> None:
    """Say what a check looks for, why it matters and what to do."""
    from segnosis.cli.screen import load_keras

    load_keras()  # the checks bring it, and its notes would stand above the page
    from segnosis.doctor.check import find

    found = find(check)
    print(f"{found.code} {found.name} ({found.severity})\n\n{found.page}")
