"""Where a running program stands in its own text: the tree of a frame's file, and the function it is in."""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree_of(frame: FrameType) -> ast.Module | None:
    """The file that a frame runs in; `None` where it is not Python alone, as with a notebook's magic."""
    linecache.checkcache(frame.f_code.co_filename)  # in a process that lives on, the file may have been edited
    try:
        return ast.parse("".join(linecache.getlines(frame.f_code.co_filename)))
    except SyntaxError:
        return None


def function_of(tree: ast.Module, frame: FrameType) -> Function | None:
    """The definition of the function that a frame runs; `None` for a module, a lambda or a comprehension."""
    around = [node for node in ast.walk(tree) if isinstance(node, Function) and holds(node, frame.f_lineno)]
    named = [node for node in around if node.name == frame.f_code.co_name]
    return max(named, key=lambda node: node.lineno, default=None)


def calls_behind(node: ast.AST, line: int) -> Iterator[ast.Call]:
    """Calls inside, but for those in definitions and in branches that `line` excludes."""
    for name, value in ast.iter_fields(node):
        children = [child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)]
        others = isinstance(node, ast.If | ast.Try) and name in ("orelse", "handlers")
        if others and any(holds(part, line) for part in node.body):  # type: ignore[attr-defined]
            continue
        for child in children:
            if isinstance(child, ast.Call):
                yield child
            if not isinstance(child, Function | ast.ClassDef | ast.Lambda):
                yield from calls_behind(child, line)


def holds(node: ast.stmt | ast.expr, line: int) -> bool:
    """Whether a line is one of the node's."""
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def held(node: ast.expr, variables: Mapping[str, Any]) -> Any:
    """A constant, or what a variable, its attribute or its entry holds; `None` for all else. Properties are not run.

    Args:
        node: The expression.
        variables: Name → value; an attribute of `self` may stand there as `"self.name"`.

    Example:
        >>> held(ast.parse("settings['rate']", mode="eval").body, {"settings": {"rate": 0.1}})
        0.1
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return variables.get(node.id)
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and f"{node.value.id}.{node.attr}" in variables:
            return variables[f"{node.value.id}.{node.attr}"]
        return inspect.getattr_static(held(node.value, variables), node.attr, None)
    if isinstance(node, ast.Subscript):
        owner = held(node.value, variables)
        return owner.get(held(node.slice, variables)) if isinstance(owner, dict) else None
    return None


def name_of(call: ast.Call) -> str:
    """What is called: a function's or a method's own name.

    Example:
        >>> name_of(ast.parse("model.fit(x)", mode="eval").body)
        'fit'
    """
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))
