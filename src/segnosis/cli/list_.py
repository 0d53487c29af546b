"""`segnosis list`: what there is of a kind."""

from __future__ import annotations

import ast

import typer

EXAMPLES = ("segnosis list models",)

_FAMILIES = {
    "models": "segnosis.models",
    "backbones": "segnosis.models.backbones",
    "losses": "segnosis.losses",
    "metrics": "segnosis.metrics",
    "readers": "segnosis.data.readers",
    "transforms": "segnosis.data.transforms",
}


def command(
    kind: str = typer.Argument(
        ..., metavar="KIND", help="models, backbones, losses, metrics, readers, transforms, checks"
    ),
) -> None:
    """List what there is of a kind, one line each."""
    from segnosis.cli.pages import pages, source
    from segnosis.core import discovery
    from segnosis.core.errors import ArgumentError, did_you_mean

    if kind == "checks":
        for page in pages():
            print(f"{page.code}  {page.name:<38}{page.title}")
        return
    if kind not in _FAMILIES:
        raise ArgumentError(
            "`segnosis list` lists one kind.", received={"kind": kind}, cure=did_you_mean(kind, [*_FAMILIES, "checks"])
        )
    names = discovery.names(_FAMILIES[kind])
    width = max(map(len, names)) + 2
    for name in names:
        summary = (ast.get_docstring(source(f"{_FAMILIES[kind]}.{name}")) or "").split("\n", 1)[0]
        print(f"{name:<{width}}{summary}")
