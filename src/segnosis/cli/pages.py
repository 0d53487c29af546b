"""The pages of the checks, read without importing one: a check brings Keras, which takes seconds."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from segnosis.core import discovery
from segnosis.doctor.check import FAMILIES

_CHECKS = "segnosis.doctor.checks"


@dataclass(frozen=True)
class Page:
    """What the file of a check says.

    Attributes:
        code, name, severity: As `segnosis.doctor.check.Check` has them.
        text: The whole page.
    """

    code: str
    name: str
    severity: str
    text: str

    @property
    def title(self) -> str:
        """Its first line."""
        return self.text.split("\n", 1)[0].rstrip(".")


@cache
def pages() -> tuple[Page, ...]:
    """The page of every check, in causal order."""
    found = []
    for name in discovery.names(_CHECKS):
        module = source(f"{_CHECKS}.{name}")
        code, severity = next(
            ast.literal_eval(node.value)
            for node in module.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "(CODE, SEVERITY)"
        )
        short = name.rsplit(".", 1)[-1].replace("_", "-")
        found.append(Page(code, short, severity, ast.get_docstring(module) or ""))
    return tuple(sorted(found, key=lambda page: (FAMILIES.index(page.code[:3]), page.code)))


def source(module: str) -> ast.Module:
    """The parsed source of a module, which is not imported."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, "a module that discovery found has a file"
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
