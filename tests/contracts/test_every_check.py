"""What every check keeps to; a new check file is tested by being there."""

from __future__ import annotations

import ast
import copy
import inspect
import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from segnosis.doctor.check import FAMILIES, Check, all_checks
from segnosis.doctor.evidence import rate_trials
from segnosis.doctor.examine import Evidence, examine
from segnosis.doctor.verdict import AnyVerdict, Finding, Healthy


@pytest.fixture(scope="module", autouse=True)
def _a_machine_that_is_never_too_busy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rate_trials, "_WALL", 600.0)
        yield


CHECKS = {check.code: check for check in all_checks()}
FOLDERS = dict(
    zip(
        FAMILIES,
        (
            "data",
            "labels",
            "preprocessing",
            "head",
            "loss",
            "metric",
            "normalization",
            "optimization",
            "outcome",
            "evaluation",
        ),
        strict=True,
    )
)
HEADINGS = ("## What it looks for", "## Why the model does not learn", "## What to do")
EXTREMES = (-1e9, 0, 1, 1e9)
each_check = pytest.mark.parametrize("code", list(CHECKS))


def patients(code: str, kind: str) -> list[str]:
    """Names of a check's patients of a kind: `sick`, and any further `sick_…` it brings."""
    return [name for name in vars(CHECKS[code].module) if name == kind or name.startswith(f"{kind}_")]


def all_patients(code: str) -> list[str]:
    return patients(code, "sick") + patients(code, "healthy")


@cache
def patient(code: str, kind: str) -> Evidence:
    """A patient with its evidence, measured once for all tests of its check."""
    return Evidence(getattr(CHECKS[code].module, kind)())


def ask(check: Check, kind: str, **thresholds: Any) -> AnyVerdict:
    """The verdict of `check`, a mutant of it maybe, on its own sick or healthy patient."""
    evidence = patient(check.code, kind)
    diagnosis = examine(evidence.case, checks=[check], thresholds={check.code: thresholds}, evidence=evidence)
    return diagnosis.verdicts[0]


def what(verdict: AnyVerdict) -> tuple[object, ...]:
    """What a person would read of a verdict."""
    return type(verdict).__name__, *(getattr(verdict, part, None) for part in ("level", "severity", "says", "fix"))


def test_codes_are_unique() -> None:
    codes = [check.code for check in all_checks()]
    assert len(codes) == len(set(codes))


@each_check
def test_it_lies_in_the_folder_of_its_family(code: str) -> None:
    assert len(code) == 6 and code[3:].isdigit()
    assert CHECKS[code].module.__name__.split(".")[-2] == FOLDERS[code[:3]]
    assert CHECKS[code].severity in ("error", "warning", "note")


@each_check
def test_its_page_has_the_three_headings(code: str) -> None:
    page = CHECKS[code].page
    at = [page.find(heading) for heading in HEADINGS]
    assert -1 not in at and at == sorted(at)
    assert page.split("\n", 1)[0].endswith(".")


@each_check
def test_the_sick_patient_is_found(code: str) -> None:
    for name in patients(code, "sick"):
        verdict = ask(CHECKS[code], name)
        assert isinstance(verdict, Finding), verdict
        assert verdict.code == code
        assert verdict.level in ("proven", "confirmed", "suspected")
        assert verdict.fix and any(letter.isdigit() for letter in verdict.says), verdict.says


@each_check
def test_the_healthy_patient_is_left_alone(code: str) -> None:
    for name in patients(code, "healthy"):
        verdict = ask(CHECKS[code], name)
        assert isinstance(verdict, Healthy), verdict


@each_check
def test_it_tells_what_it_measured_in_plain_values(code: str) -> None:
    for name in all_patients(code):
        measured = ask(CHECKS[code], name).measured  # type: ignore[union-attr]
        assert measured
        assert json.loads(json.dumps(dict(measured), allow_nan=False)) == measured


@each_check
def test_every_threshold_is_used_and_decides_or_is_explained(code: str) -> None:
    check = CHECKS[code]
    read = {
        node.id
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(check.run))))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert set(check.thresholds) <= read
    numbers = {name: value for name, value in check.thresholds.items() if isinstance(value, int | float)}
    usual = {kind: what(ask(check, kind)) for kind in all_patients(code)}
    decides = {
        name
        for name, value in numbers.items()
        for extreme in EXTREMES
        for kind in usual
        if what(ask(check, kind, **{name: type(value)(extreme)})) != usual[kind]
    }
    explained = {name for name, value in numbers.items() if f"{value:g}" in check.page or f"`{name}`" in check.page}
    assert not numbers or decides or explained == set(numbers), (
        f"no patient of {code} notices an extreme value of {sorted(numbers)}, and the page does not speak of them"
    )


@each_check
def test_a_broken_check_is_noticed_by_a_patient(code: str) -> None:
    check = CHECKS[code]
    mutants = list(mutated(check.run))
    noticed = [
        what(ask(replace(check, run=mutant), kind)) != what(ask(check, kind))
        for mutant in mutants
        for kind in all_patients(code)
    ]
    assert not mutants or any(noticed), f"{len(mutants)} conditions of {code} were turned round, and no patient noticed"


@each_check
def test_its_healthy_patient_has_no_other_fault(code: str) -> None:
    case = replace(patient(code, "healthy").case, budget="static")
    certain = [finding for finding in examine(case).findings if finding.certain]
    assert not certain, [(finding.code, finding.says) for finding in certain]


def mutated(function: Callable[..., Any]) -> Any:
    """Copies of `function`, each with one condition of an `if` turned round."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    conditions = [number for number, node in enumerate(ast.walk(tree)) if isinstance(node, ast.If | ast.IfExp)]
    for number in conditions:
        mutant = copy.deepcopy(tree)
        node = next(node for k, node in enumerate(ast.walk(mutant)) if k == number)
        node.test = ast.UnaryOp(ast.Not(), node.test)  # type: ignore[attr-defined]
        ast.fix_missing_locations(mutant)
        scope = dict(function.__globals__)  # the mutant sees its module's names
        exec(compile(mutant, function.__code__.co_filename, "exec"), scope)
        yield scope[function.__name__]
