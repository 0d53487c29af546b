"""With what a program means to train on once the `fit` that is examined is over: read in its text, nothing is run."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from segnosis.doctor.case import Script
from segnosis.doctor.program_text import Function, calls_behind, held, holds, name_of

PRICE = "static"

_SCHEDULED = ("initial_learning_rate", "warmup_target")
_DEPTH = 8


@dataclass(frozen=True)
class StageAhead:
    """One later stage.

    Attributes:
        line: Where its optimizer is compiled, or its rate is set.
        optimizer: Class of the optimizer; empty where the one in use goes on at another rate.
        rate: Its learning rate, the highest that its schedule says.
    """

    line: int
    optimizer: str
    rate: float


def measure(script: Script, variables: Mapping[str, Any] | None = None) -> tuple[StageAhead, ...]:
    """Every `compile`, and every rate set by hand, between this `fit` and another in the same function or module.

    Where that function is called again further on, every `compile` in it too, with that call's arguments. A rate is
    understood where it is a number, a variable or attribute that holds one now or is given one on the way, or
    arithmetic of those.

    Example:
        >>> text = "model.fit(x, y)\\nmodel.compile(keras.optimizers.Adam(100 * rate), 'mse')\\nmodel.fit(x, y)"
        >>> measure(Script("train.py", fit_line=1, source=text), {"rate": 1e-3})
        (StageAhead(line=2, optimizer='Adam', rate=0.1),)
    """
    try:
        tree = ast.parse(Path(script.fit_file).read_text("utf-8") if script.fit_file else script.source)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ()
    scopes = [node for node in ast.walk(tree) if isinstance(node, Function) and holds(node, script.fit_line)]
    scope = max(scopes, key=lambda node: node.lineno, default=tree)
    calls = [call for call in calls_behind(scope, script.fit_line) if call.lineno > script.fit_line]
    last_fit = max((call.lineno for call in calls if name_of(call) == "fit"), default=0)
    assigned = [given for given in _assigned(scope) if script.fit_line < given[0] < last_fit]
    reader = _Reader({name: value for _, name, value in assigned}, variables or {})
    stages = [
        StageAhead(call.lineno, *found)
        for call in calls
        if call.lineno < last_fit and (found := reader.stage(call)) is not None
    ]
    stages += [
        StageAhead(line, "", rate)
        for line, name, value in assigned
        if name in ("optimizer.learning_rate", "optimizer.lr") and (rate := reader.number(value)) is not None
    ]
    if isinstance(scope, Function):
        stages += _called_again(tree, scope, variables or {})
    return tuple(sorted(stages, key=lambda stage: stage.line))


def _called_again(tree: ast.AST, scope: Function, variables: Mapping[str, Any]) -> Iterator[StageAhead]:
    """Stages that calls of the function around this `fit` make with other arguments, after the one that runs."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and name_of(node) == scope.name]
    runs = False
    for call in sorted((call for call in calls if not holds(scope, call.lineno)), key=lambda call: call.lineno):
        given = _bound(scope, call)
        if not runs:
            told = {name: held(value, variables) for name, value in given.items()}
            runs = all(value is None or variables.get(name) == value for name, value in told.items())
            continue
        reader = _Reader({**{name: value for _, name, value in _assigned(scope)}, **given}, variables)
        for inner in calls_behind(scope, scope.lineno):
            if (found := reader.stage(inner)) is not None:
                yield StageAhead(call.lineno, *found)


def _bound(scope: Function, call: ast.Call) -> dict[str, ast.expr]:
    """Parameters of a function and what a call gives them, defaults where it gives nothing."""
    names = [argument.arg for argument in (*scope.args.posonlyargs, *scope.args.args)]
    defaults = dict(zip(reversed(names), reversed(scope.args.defaults), strict=False))
    if names[:1] == ["self"]:
        names = names[1:]
    named = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    return {**defaults, **dict(zip(names, call.args, strict=False)), **named}


def _assigned(scope: ast.AST) -> Iterator[tuple[int, str, ast.expr]]:
    """Line, name and expression of each plain assignment; an attribute by its last two names."""
    for node in ast.walk(scope):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield node.lineno, target.id, node.value
            elif isinstance(target, ast.Attribute):
                owner = getattr(target.value, "attr", getattr(target.value, "id", ""))
                yield node.lineno, f"{owner}.{target.attr}", node.value


@dataclass(frozen=True)
class _Reader:
    given: Mapping[str, ast.expr]
    variables: Mapping[str, Any]

    def stage(self, call: ast.Call) -> tuple[str, float] | None:
        """Optimizer and rate of a `compile`; the rate alone of `optimizer.learning_rate.assign(…)`."""
        if name_of(call) == "assign" and getattr(getattr(call.func, "value", None), "attr", "") == "learning_rate":
            rate = self.number(call.args[0]) if call.args else None
            return ("", rate) if rate is not None else None
        if name_of(call) != "compile":
            return None
        optimizer = self._follow(_argument(call, "optimizer", is_first=True))
        if isinstance(optimizer, ast.Constant) and isinstance(optimizer.value, str):
            kind = next((k for k in dir(keras.optimizers) if k.lower() == optimizer.value.lower()), "")
            rate = default_rate(kind)
        elif isinstance(optimizer, ast.Call):
            kind = name_of(optimizer)
            told = _argument(optimizer, "learning_rate", is_first=True)
            rate = default_rate(kind) if told is None else self.number(told)
        else:
            return None
        return (kind, rate) if default_rate(kind) is not None and rate is not None else None

    def number(self, node: ast.expr | None, depth: int = _DEPTH) -> float | None:
        """The value of an expression, or `None`; of a schedule its highest rate. Nothing is called."""
        node = self._follow(node)
        if node is None or depth == 0:
            return None
        if isinstance(node, ast.Call) and hasattr(keras.optimizers.schedules, name_of(node)):
            rates = [self.number(_argument(node, word), depth - 1) for word in _SCHEDULED]
            first = self.number(node.args[0], depth - 1) if node.args else None
            return max((rate for rate in (*rates, first) if rate is not None), default=None)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self.number(node.operand, depth - 1)
            return -value if value is not None else None
        if isinstance(node, ast.BinOp):
            left, right = self.number(node.left, depth - 1), self.number(node.right, depth - 1)
            return _combined(node.op, left, right) if left is not None and right is not None else None
        value = held(node, self.variables)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def _follow(self, node: ast.expr | None) -> ast.expr | None:
        """The expression that a name is given on the way."""
        for _ in range(_DEPTH):
            if not (isinstance(node, ast.Name) and node.id in self.given):
                break
            node = self.given[node.id]
        return node


def _argument(call: ast.Call, name: str, *, is_first: bool = False) -> ast.expr | None:
    """The argument of this name, or the one in the first place."""
    named = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return call.args[0] if named is None and is_first and call.args else named


def _combined(op: ast.operator, left: float, right: float) -> float | None:
    if isinstance(op, ast.Mult):
        return left * right
    if isinstance(op, ast.Div):
        return left / right if right else None
    if isinstance(op, ast.Add):
        return left + right
    if isinstance(op, ast.Sub):
        return left - right
    is_small = isinstance(op, ast.Pow) and abs(right) < 64 and 0 < left < 1e6
    return left**right if is_small else None


def default_rate(optimizer: str) -> float | None:
    """The learning rate that a Keras optimizer has unless told; `None` for what is none of Keras' own.

    Example:
        >>> default_rate("Adam"), default_rate("SGD"), default_rate("Mine")
        (0.001, 0.01, None)
    """
    kind = getattr(keras.optimizers, optimizer, None)
    if not (isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)):
        return None
    rate = inspect.signature(kind).parameters.get("learning_rate")
    return float(rate.default) if rate is not None and isinstance(rate.default, float) else None
