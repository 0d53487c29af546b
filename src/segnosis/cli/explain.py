"""`segnosis explain`: the page of a check."""

from __future__ import annotations

import typer

EXAMPLES = ("segnosis explain LAB002",)


def command(check: str = typer.Argument(..., metavar="CODE", help="Code or name of a check, as LAB002.")) -> None:
    """Say what a check looks for, why it matters and what to do."""
    from segnosis.cli.pages import pages
    from segnosis.doctor.check import code_of

    known = {page.code: page for page in pages()}
    found = known[code_of(check, {page.name: code for code, page in known.items()})]
    print(f"{found.code} {found.name} ({found.severity})\n\n{found.text}")
