"""The engine: measures each evidence once, asks every check, folds symptoms under causes."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from types import ModuleType
from typing import Any

from segnosis.core import discovery
from segnosis.doctor.case import Case
from segnosis.doctor.check import Check, all_checks
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.verdict import AnyVerdict, Crashed, Finding, Healthy, NotApplicable

Progress = Callable[[str, int, int | None], None]
"""Called with (what is being measured, done, total or `None`)."""

_AFFORDS = {
    "static": {"static", "data", "history"},
    "probe": {"static", "data", "history", "batch", "gradient"},
    "train": {"static", "data", "history", "batch", "gradient", "train"},
}
_CASE_FIELDS = {field.name for field in fields(Case)}
_STOPPING = ("fit_error", "build_error", "pipeline_error")
_ALWAYS_THERE = {"seed", "budget", "extra"}


class Evidence:
    """Measures facts on a case, each once, on demand.

    A module in `evidence/` has a `PRICE` and either `measure(...)`, whose parameters name further evidence or
    fields of the case, or a class `Scan(...)` with `add(pair)` and `result()`: all scans share one pass over the pairs.
    A parameter whose default is `None` is optional.
    """

    def __init__(
        self, case: Case, *, progress: Progress | None = None, without: Mapping[str, str] | None = None
    ) -> None:
        """Measure on `case`; `without` names evidence that cannot be had here, and why: it is not even loaded."""
        self.case = case
        self.progress = progress or (lambda what, done, total: None)
        self._modules: dict[str, str] = {
            name.rsplit(".", 1)[-1]: name for name in discovery.names("segnosis.doctor.evidence")
        }
        self._facts: dict[str, Any] = {}
        self._problems: dict[str, Exception] = {name: Unavailable(why) for name, why in (without or {}).items()}

    def prepare(self, wanted: Iterable[str]) -> None:
        """Run the one pass over the stored pairs for every scan among `wanted` and what these need."""
        scans: dict[str, Any] = {}
        for name in self._closure(wanted):
            module = self._module(name)
            if module is None or not hasattr(module, "Scan") or name in self._facts or name in self._problems:
                continue
            if self.case.pairs is None:
                self._problems[name] = Unavailable("no stored images and masks were given")
                continue
            try:
                scans[name] = module.Scan(**self._arguments(module.Scan))
            except Exception as error:  # every check that needs this fact will report it
                self._problems[name] = error
        if not scans:
            return
        total = len(self.case.pairs) if hasattr(self.case.pairs, "__len__") else None  # type: ignore[arg-type]
        for done, pair in enumerate(self.case.pairs or (), start=1):
            for name, scan in list(scans.items()):
                try:
                    scan.add(pair)
                except Exception as error:
                    self._problems[name] = error
                    del scans[name]
            self.progress("reading images and masks", done, total)
        for name, scan in scans.items():
            try:
                self._facts[name] = scan.result()
            except Exception as error:
                self._problems[name] = error

    def get(self, name: str) -> Any:
        """The fact or case field `name`; raises `Unavailable` with the reason when there is none."""
        if name in self._facts:
            return self._facts[name]
        if name in self._problems:
            raise self._problems[name]
        if name in _CASE_FIELDS:
            value = getattr(self.case, name)
            if value is None and name not in _ALWAYS_THERE:
                raise Unavailable(f"no `{name}` was given")
            return value
        module = self._module(name)
        if module is None:
            raise LookupError(f"no evidence is called `{name}`")
        try:
            if module.PRICE not in _AFFORDS[self.case.budget]:
                raise Unavailable(f"`{name}` costs more than budget={self.case.budget!r} allows")
            if hasattr(module, "Scan"):
                self.prepare([name])
                return self.get(name)
            arguments = self._arguments(module.measure)
            self.progress(f"measuring {name.replace('_', ' ')}", 0, None)
            self._facts[name] = module.measure(**arguments)
        except Exception as error:
            self._problems[name] = error
            raise
        return self._facts[name]

    def behind(self, names: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Case fields that `names` rest on, required or optional, and the prices of all evidence between."""
        names = tuple(names)
        modules = [module for name in self._closure(names) if (module := self._module(name)) is not None]
        reached = set(names)
        for module in modules:
            reached |= set(inspect.signature(module.Scan if hasattr(module, "Scan") else module.measure).parameters)
        return frozenset(reached & _CASE_FIELDS), frozenset(module.PRICE for module in modules)

    def _arguments(self, function: Callable[..., Any]) -> dict[str, Any]:
        arguments = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.default is inspect.Parameter.empty:
                arguments[parameter.name] = self.get(parameter.name)
            elif parameter.default is None:
                try:
                    arguments[parameter.name] = self.get(parameter.name)
                except Unavailable:
                    arguments[parameter.name] = None
        return arguments

    def _module(self, name: str) -> ModuleType | None:
        dotted = self._modules.get(name)
        return discovery.imported(f"segnosis.doctor.evidence.{dotted}") if dotted else None

    def _closure(self, names: Iterable[str]) -> list[str]:
        seen: list[str] = []
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            module = self._module(name) if name not in _CASE_FIELDS and name not in self._problems else None
            if module is None or name in seen:
                continue
            seen.append(name)
            function = module.Scan if hasattr(module, "Scan") else module.measure
            waiting.extend(inspect.signature(function).parameters)
        return seen


def examine(
    case: Case,
    *,
    checks: Iterable[Check] | None = None,
    thresholds: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
    evidence: Evidence | None = None,
) -> Diagnosis:
    """Ask every check about `case`.

    Args:
        case: What was given.
        checks: Checks to ask; all of them when left out.
        thresholds: Check code → keyword thresholds to override.
        progress: Called while measuring.
        evidence: Of this case, when some of it was measured already.

    Returns:
        The diagnosis: one verdict per check, in causal order, folded.
    """
    start = time.perf_counter()
    asked = tuple(checks) if checks is not None else all_checks()
    evidence = evidence or Evidence(case, progress=progress)
    evidence.prepare(name for check in asked for name in (*check.needs, *check.wants))
    verdicts = [_ask(check, evidence, (thresholds or {}).get(check.code, {})) for check in asked]
    return Diagnosis(tuple(_fold(verdicts, asked)), _subject(case), round(time.perf_counter() - start, 3))


def merge(first: Diagnosis, second: Diagnosis) -> Diagnosis:
    """One diagnosis from two examinations of the same subject: per check the verdict that could judge, folded anew.

    Args:
        first: For instance what the data alone showed.
        second: For instance what the run showed; where both could judge, this one counts.
    """
    by_code = {verdict.code: verdict for verdict in first.verdicts}
    for verdict in second.verdicts:
        if verdict.code not in by_code or isinstance(verdict, Finding | Healthy):
            by_code[verdict.code] = verdict
    checks = tuple(check for check in all_checks() if check.code in by_code)
    verdicts = [by_code[check.code] for check in checks]
    subject = {**first.subject, **second.subject}
    return Diagnosis(tuple(_fold(verdicts, checks)), subject, round(first.seconds + second.seconds, 3))


def _ask(check: Check, evidence: Evidence, thresholds: Mapping[str, Any]) -> AnyVerdict:
    stamp = {"code": check.code, "name": check.name}
    try:
        arguments = {name: evidence.get(name) for name in check.needs}
    except Unavailable as reason:
        return NotApplicable(str(reason), **stamp)
    except Exception as error:
        return Crashed(f"{type(error).__name__}: {error}", traceback.format_exc(), **stamp)
    for name in check.wants:
        try:
            arguments[name] = evidence.get(name)
        except Unavailable:
            arguments[name] = None
        except Exception as error:
            return Crashed(f"{type(error).__name__}: {error}", traceback.format_exc(), **stamp)
    try:
        verdict = check.run(**arguments, **{**check.thresholds, **thresholds})
    except Unavailable as reason:
        return NotApplicable(str(reason), **stamp)
    except Exception as error:
        return Crashed(f"{type(error).__name__}: {error}", traceback.format_exc(), **stamp)
    if isinstance(verdict, Finding):
        # A check may call one case less grave than its usual; it cannot call it graver.
        severity = verdict.severity if verdict.severity != "error" else check.severity
        return replace(verdict, severity=severity, code=check.code, name=check.name)
    if isinstance(verdict, Healthy):
        return replace(verdict, code=check.code, name=check.name)
    if isinstance(verdict, NotApplicable):
        return replace(verdict, code=check.code, name=check.name)
    return Crashed(f"the check returned {type(verdict).__name__}, which is no verdict", "", **stamp)


def _fold(verdicts: list[AnyVerdict], checks: tuple[Check, ...]) -> list[AnyVerdict]:
    """Write into each cause the codes of the findings that it explains; a suspected one explains suspected ones."""
    explains: dict[str, list[str]] = {}
    causes = sorted((one for one in verdicts if isinstance(one, Finding)), key=lambda one: not one.certain)
    for check, verdict in zip(checks, verdicts, strict=True):
        if not isinstance(verdict, Finding) or verdict.independent:
            continue
        for cause in causes:
            if (
                (cause.certain or not verdict.certain)
                and cause.code != verdict.code
                and cause.code not in explains.get(verdict.code, ())
                and any(cause.code.startswith(prefix) for prefix in check.explained_by)
            ):
                explains.setdefault(cause.code, []).append(verdict.code)
                break
    return [
        replace(verdict, explains=tuple(explains.get(verdict.code, ()))) if isinstance(verdict, Finding) else verdict
        for verdict in verdicts
    ]


def _subject(case: Case) -> dict[str, Any]:
    subject: dict[str, Any] = {"budget": case.budget}
    if case.spec is not None:
        subject |= {"reader": case.spec.reader, "saw": case.spec.saw, "num_classes": case.spec.num_classes}
    if case.num_samples is not None:
        subject["num_samples"] = case.num_samples
    if case.model is not None:
        subject |= {"model": case.model.name, "parameters": int(case.model.count_params())}
    if case.script is not None:
        subject |= {
            "script": case.script.path,
            "fit_line": case.script.fit_line,
            "compile_line": case.script.compile_line,
        }
    stops = next((case.extra[name] for name in _STOPPING if case.extra.get(name) is not None), None)
    if stops is not None:
        from segnosis.doctor.ask import raised  # loads Keras, which a check of files does without

        subject["stops"] = raised(stops).error
    return subject
