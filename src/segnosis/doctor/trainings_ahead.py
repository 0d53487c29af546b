"""Whether a program trains once more further on: what it trains now may then be a preparation."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from types import FrameType

from segnosis.doctor.program_text import Function, calls_behind, function_of, name_of, tree_of

_OF_KERAS = {"epochs", "validation_data", "validation_split", "steps_per_epoch", "initial_epoch"}


def trainings_ahead(frames: Sequence[FrameType]) -> bool:
    """Whether a `fit` with arguments of Keras, or a `train_on_batch`, stands behind the lines that a program is at.

    Looked for in the functions that are running, and in those of their files that they call further on. The other
    branch of an `if` that the program is inside of is none of it.

    Args:
        frames: The program's frames.
    """
    return any(_behind(frame) for frame in frames)


def _behind(frame: FrameType) -> bool:
    tree = tree_of(frame)
    if tree is None:
        return False
    by_name = {node.name: node for node in ast.walk(tree) if isinstance(node, Function)}
    where = function_of(tree, frame) or tree
    calls = (call for call in calls_behind(where, frame.f_lineno) if call.lineno > frame.f_lineno)
    return _reaches_training(calls, by_name, set())


def _reaches_training(calls: Iterable[ast.Call], functions: dict[str, Function], met: set[str]) -> bool:
    for call in calls:
        name = name_of(call)
        if name == "train_on_batch" or (name == "fit" and _OF_KERAS & {keyword.arg for keyword in call.keywords}):
            return True
        if name in functions and name not in met:
            met.add(name)
            if _reaches_training(calls_behind(functions[name], -1), functions, met):
                return True
    return False
