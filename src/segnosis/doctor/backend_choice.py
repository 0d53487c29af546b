"""Which backend a script chooses for Keras; read from its text, as Keras must not be loaded before it is known."""

from __future__ import annotations

import ast
import os
from pathlib import Path

_NAME = "KERAS_BACKEND"


def chosen_backend(script: str | Path) -> str | None:
    """The backend that a script sets in `os.environ` itself, or a module beside it that it imports.

    Args:
        script: A Python file.

    Returns:
        For instance `"torch"`; `None` where it takes what it is given, or cannot be read as Python.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "train.py"
        >>> _ = file.write_text('import os\\nos.environ["KERAS_BACKEND"] = "torch"\\nimport keras')
        >>> chosen_backend(file)
        'torch'
    """
    script = Path(script)
    tree = _parsed(script)
    if tree is None:
        return None
    return _set_in(tree) or next(filter(None, map(_set_in, _beside(tree, script.parent))), None)


def _set_in(tree: ast.Module) -> str | None:
    for node in ast.walk(tree):
        name, value = None, None
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            name, value = node.targets[0].slice, node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) == 2:
            name, value = node.args if node.func.attr == "setdefault" and _NAME not in os.environ else (None, None)
        if isinstance(name, ast.Constant) and name.value == _NAME and isinstance(value, ast.Constant):
            return str(value.value)
    return None


def _beside(tree: ast.Module, folder: Path) -> list[ast.Module]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    files = [folder / f"{name.replace('.', '/')}.py" for name in names]
    return [parsed for file in files if file.is_file() and (parsed := _parsed(file)) is not None]


def _parsed(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # running it says what is wrong with it
        return None
