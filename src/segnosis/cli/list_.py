"""`segnosis list`: what there is of a kind."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

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
    from segnosis.core import discovery
    from segnosis.core.errors import ArgumentError, did_you_mean

    if kind == "checks":
        from segnosis.cli.screen import load_keras

        load_keras()
        from segnosis.doctor.check import all_checks

        for check in all_checks():
            print(f"{check.code}  {check.name:<38}{check.title}")
        return
    if kind not in _FAMILIES:
        raise ArgumentError(
            "`segnosis list` lists one kind.", received={"kind": kind}, cure=did_you_mean(kind, [*_FAMILIES, "checks"])
        )
    names = discovery.names(_FAMILIES[kind])
    width = max(map(len, names)) + 2
    for name in names:
        print(f"{name:<{width}}{_summary(f'{_FAMILIES[kind]}.{name}')}")


def _summary(module: str) -> str:
    """First line of a module's docstring, read without importing it: a listing loads no backend."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    page = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return page.split("\n", 1)[0]
