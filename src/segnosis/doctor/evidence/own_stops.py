"""Callbacks of one's own that end the training when a number is high enough: read in their text, nothing is run."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segnosis.doctor.case import callbacks_of
from segnosis.doctor.program_text import held

PRICE = "static"

_ENDS = ("on_epoch_end", "on_train_batch_end", "on_batch_end", "on_test_end")


@dataclass(frozen=True)
class Stop:
    """One comparison that ends the training.

    Attributes:
        callback: Class of the callback.
        watched: What it looks at, as Keras names it.
        above: The number that has to be reached.
        where: File and line of the comparison.
    """

    callback: str
    watched: str
    above: float
    where: str


def measure(fit_arguments: Mapping[str, Any]) -> tuple[Stop, ...]:
    """Every `if logs["…"] > number` around a `stop_training = True` in the methods of the `fit`'s callbacks.

    The number may be a variable of the file or an attribute of the callback; `logs.get("…")`, and a name for either,
    are understood.
    """
    return tuple(
        stop
        for callback in callbacks_of(fit_arguments)
        for name in _ENDS
        if inspect.isfunction(method := getattr(type(callback), name, None)) and not _is_of_keras(method)
        for stop in _stops(callback, method)
    )


def _is_of_keras(method: Any) -> bool:
    return method.__module__.split(".")[0] == "keras"


def _stops(callback: Any, method: Any) -> Iterator[Stop]:
    try:
        lines, first = inspect.getsourcelines(method)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):  # no text of it is at hand
        return
    variables = {**method.__globals__, **inspect.getclosurevars(method).nonlocals, "self": callback}
    named = {
        target.id: watched
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and (watched := _watched(node.value, {})) is not None
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.If) or not any(_stops_training(part) for part in node.body):
            continue
        for test in ast.walk(node.test):
            if not isinstance(test, ast.Compare) or len(test.ops) != 1:
                continue
            left, right = test.left, test.comparators[0]
            if isinstance(test.ops[0], ast.Lt | ast.LtE):
                left, right = right, left
            elif not isinstance(test.ops[0], ast.Gt | ast.GtE):
                continue
            watched, above = _watched(left, named), held(right, variables)
            if watched is not None and isinstance(above, int | float) and not isinstance(above, bool):
                where = f"{Path(inspect.getsourcefile(method) or '').name}:{first + test.lineno - 1}"
                yield Stop(type(callback).__name__, watched, float(above), where)


def _watched(node: ast.expr, named: Mapping[str, str]) -> str | None:
    """The name in `logs["name"]`, `logs.get("name")`, or in what a variable was given."""
    if isinstance(node, ast.Name):
        return named.get(node.id)
    key: ast.expr | None = None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        key = node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        key = node.args[0]
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None


def _stops_training(node: ast.AST) -> bool:
    return any(
        isinstance(part, ast.Assign)
        and any(isinstance(target, ast.Attribute) and target.attr == "stop_training" for target in part.targets)
        and isinstance(part.value, ast.Constant)
        and part.value.value is True
        for part in ast.walk(node)
    )
