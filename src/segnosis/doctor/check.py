"""Loading checks: one file in `checks/<family>/` is one check, and its signature says what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from segnosis.core import discovery
from segnosis.core.errors import ArgumentError, did_you_mean
from segnosis.doctor.verdict import Severity

FAMILIES = ("DAT", "LAB", "PRE", "HED", "LOS", "MET", "NRM", "OPT", "OUT", "EVA")
"""Causal order: what comes first can cause what comes later."""


@dataclass(frozen=True)
class Check:
    """One check as its module declares it.

    Attributes:
        code: Permanent code, `LAB001`.
        name: The module's name with hyphens, `label-out-of-range`.
        severity: `"error"`, `"warning"` or `"note"`.
        needs: Names of the evidence it cannot do without.
        wants: Names of evidence it uses when there is some; `None` is passed otherwise.
        thresholds: Keyword thresholds and their defaults.
        explained_by: Codes or families whose certain findings explain this one.
        run: The function itself.
        module: The module, for its page and its patients.
    """

    code: str
    name: str
    severity: Severity
    needs: tuple[str, ...]
    wants: tuple[str, ...]
    thresholds: dict[str, Any]
    explained_by: tuple[str, ...]
    run: Callable[..., Any]
    module: ModuleType

    @property
    def title(self) -> str:
        """First line of the page."""
        return (inspect.getdoc(self.module) or "").split("\n", 1)[0].rstrip(".")

    @property
    def page(self) -> str:
        """The whole page: what it looks for, why the model does not learn, what to do."""
        return inspect.getdoc(self.module) or ""


def from_module(module: ModuleType) -> Check:
    """Read a check from its module."""
    needs, wants, thresholds = [], [], {}
    for parameter in inspect.signature(module.check).parameters.values():
        if parameter.default is inspect.Parameter.empty:
            needs.append(parameter.name)
        elif parameter.default is None:
            wants.append(parameter.name)
        else:
            thresholds[parameter.name] = parameter.default
    return Check(
        code=module.CODE,
        name=module.__name__.rsplit(".", 1)[-1].replace("_", "-"),
        severity=module.SEVERITY,
        needs=tuple(needs),
        wants=tuple(wants),
        thresholds=thresholds,
        explained_by=tuple(getattr(module, "EXPLAINED_BY", ())),
        run=module.check,
        module=module,
    )


def all_checks(*families: str) -> tuple[Check, ...]:
    """Every check there is, or those of these folders, in causal order."""
    packages = [f"segnosis.doctor.checks.{family}" for family in families] or ["segnosis.doctor.checks"]
    found = [from_module(module) for package in packages for module in discovery.units(package).values()]
    return tuple(sorted(found, key=lambda check: (FAMILIES.index(check.code[:3]), check.code)))


def find(code_or_name: str) -> Check:
    """The check of this code or name; anything else raises `ArgumentError` with a suggestion.

    Example:
        >>> find("lab001").name
        'label-out-of-range'
    """
    checks = {check.code: check for check in all_checks()}
    return checks[code_of(code_or_name, {check.name: code for code, check in checks.items()})]


def code_of(code_or_name: str, codes: Mapping[str, str]) -> str:
    """The code that is meant.

    Args:
        code_or_name: What a user wrote.
        codes: Name → code of every check.

    Raises:
        ArgumentError: It means none of them.

    Example:
        >>> code_of("Label-Out-Of-Range", {"label-out-of-range": "LAB001"})
        'LAB001'
    """
    wanted = code_or_name.strip()
    if wanted.upper() in codes.values():
        return wanted.upper()
    if wanted.lower() in codes:
        return codes[wanted.lower()]
    by_code = wanted[:3].upper() in FAMILIES
    close = did_you_mean(wanted.upper(), codes.values()) if by_code else did_you_mean(wanted, [*codes.values(), *codes])
    raise ArgumentError(
        "A check is named by its code or its name.",
        received={"check": wanted},
        cure=f"{close} `segnosis list checks` shows all.",
    )
