"""The body of a program's own training loop, run again on samples of our choice as far as its first gradient.

What a loop trains on and what it calls its loss is written nowhere but in its statements. So these are run once more,
in a copy of the variables they had, with one batch in place of the data they go through.
"""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from types import FrameType
from typing import Any

import keras
import numpy as np

from segnosis.doctor.autodiff import objective_of
from segnosis.doctor.batches import resized
from segnosis.doctor.case import Batch
from segnosis.doctor.jax_steps import ToldBatch, batch_of, objective_told
from segnosis.doctor.listening import listening
from segnosis.doctor.program_text import Function, function_of, holds, name_of, tree_of
from segnosis.doctor.random_state import to_host

_AROUND = ("enumerate", "tqdm", "track", "progress", "list", "tuple", "iter", "reversed", "sorted", "zip")
_MOST_STEPS = 32
_ITEMS = "items of the loop"  # no program has a variable of this name


@dataclass(frozen=True)
class LoopBody:
    """A `for` or `while` statement around a training step.

    Attributes:
        statement: The statement.
        variables: Copy of those it had, by name.
    """

    statement: ast.For | ast.While
    variables: dict[str, Any]

    @property
    def text(self) -> str:
        """What it goes through, as the program writes it; the condition of a `while`."""
        return ast.unparse(self.statement.iter if isinstance(self.statement, ast.For) else self.statement.test)

    @property
    def sets_rate(self) -> bool:
        """Whether the learning rate is changed inside."""
        parts = list(ast.walk(self.statement))
        rates = [part for part in parts if isinstance(part, ast.Attribute) and part.attr in ("learning_rate", "lr")]
        calls = [part for part in parts if isinstance(part, ast.Call) and name_of(part) in ("assign", "set_value")]
        given = {id(inner) for call in calls for inner in ast.walk(call)}
        return any(isinstance(rate.ctx, ast.Store) or id(rate) in given for rate in rates)

    def count(self) -> int | None:
        """How often it goes round, where that is written: a `range`, or what has a length."""
        return _count(self.statement.iter, self.variables) if isinstance(self.statement, ast.For) else None

    def items(self) -> Iterator[Any]:
        """What it goes through, from the beginning; nothing where that would take samples from the program."""
        assert isinstance(self.statement, ast.For)
        expression = _compiled(ast.Expression(self.statement.iter), "eval")
        through = eval(expression, dict(self.variables))  # noqa: S307  # the program's own line, which it has just run
        its_own = isinstance(self.statement.iter, ast.Name | ast.Attribute) and iter(through) is through
        yield from () if its_own else through

    def run(self, item: Any) -> None:
        """Go through the body once, `item` being what the loop goes through."""
        assert isinstance(self.statement, ast.For)
        once = ast.For(self.statement.target, ast.Name(_ITEMS, ast.Load()), self.statement.body, [])
        with _silence():
            exec(_compiled(ast.Module([once], []), "exec"), {**self.variables, _ITEMS: [item]})

    def given(self, item: Any, model: keras.Model) -> Any:
        """What `model` is called on when the body runs on `item`.

        Raises:
            ValueError: The body does not call it before it asks for a gradient.
        """
        heard: list[Any] = []

        def note(layer: Any, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
            heard.extend(args[:1] if layer is model else ())
            return call()

        with listening(note, outermost=True):
            objective_of(lambda: self.run(item))
        if not heard:
            raise ValueError("The loop does not call the model.")
        return keras.tree.map_structure(to_host, heard[0])


@dataclass(frozen=True)
class LoopSamples:
    """What the loop goes through, read as batches.

    Attributes:
        body: The loop.
        item: Its first item.
        batches: What the model is given, with the targets of the item; weights are the body's own affair.
        told: On JAX, what the first step differentiates; a loop there need not go through the samples itself.
    """

    body: LoopBody
    item: Any
    batches: tuple[Batch, ...]
    told: ToldBatch | None = None

    @property
    def first(self) -> Batch:
        """The first batch as the loop goes through it, before anything is done to it."""
        leaves, (image, mask) = self._leaves()
        return Batch(to_host(leaves[image]), to_host(leaves[mask]))

    @property
    def as_given(self) -> bool:
        """Whether the model is given what the loop goes through, as it is."""
        if self.told is not None:
            return False
        given = self.batches[0].x
        return not keras.tree.is_nested(given) and np.array_equal(given, self.first.x)

    def step(self, x: Any, y: Any, weight: Any = None) -> None:
        """The loop's step on these images and targets; `weight` must be `None`, a loop has its own."""
        leaves, (image, mask) = self._leaves()
        batch = leaves[image].shape[0]
        new = []
        for k, leaf in enumerate(leaves):
            if k in (image, mask):
                value = x if k == image else y
                new.append(to_host(value) if isinstance(leaf, np.ndarray) and hasattr(value, "numpy") else value)
            elif getattr(leaf, "shape", None) and leaf.shape[0] == batch and x.shape[0] is not None:
                new.append(resized(to_host(leaf), x.shape[0]))
            else:
                new.append(leaf)
        self.body.run(keras.tree.pack_sequence_as(self.item, new))

    def _leaves(self) -> tuple[list[Any], tuple[int, int]]:
        found = _image_and_mask(self.item)
        assert found is not None
        return keras.tree.flatten(self.item), found


def bodies_of(frames: Sequence[FrameType]) -> tuple[LoopBody, ...]:
    """The `for` and `while` statements that the program is inside of, the innermost first."""
    found: list[LoopBody] = []
    for frame in frames:
        tree = tree_of(frame)
        where = tree if tree is None or frame.f_code.co_name == "<module>" else function_of(tree, frame)
        inside = [] if where is None else sorted(_loops(where, frame.f_lineno), key=lambda node: -node.lineno)
        found += [LoopBody(node, {**frame.f_globals, **frame.f_locals}) for node in inside]
    return tuple(found)


def _loops(where: ast.AST, line: int) -> Iterator[ast.For | ast.While]:
    """Loops that a line is inside of, but for those of functions defined in between."""
    for node in ast.iter_child_nodes(where):
        if not isinstance(node, Function | ast.Lambda):
            if isinstance(node, ast.For | ast.While) and holds(node, line):
                yield node
            yield from _loops(node, line)


def planned_by(bodies: Sequence[LoopBody]) -> dict[str, int]:
    """`epochs` and `steps_per_epoch` of nested loops, as `fit` would be given them.

    Empty where a number is not written, or where the loops set the learning rate, so that a plan tells little.

    Args:
        bodies: The innermost first.
    """
    counts = [body.count() for body in bodies]
    if not counts or None in counts or any(body.sets_rate for body in bodies):
        return {}
    steps, *others = [count or 0 for count in counts]
    return {"epochs": prod(others), "steps_per_epoch": steps}


def samples_of(bodies: Sequence[LoopBody], model: keras.Model, most: int) -> LoopSamples | None:
    """The first of the loops that goes through images and targets and calls `model` on them; `None` without.

    Args:
        bodies: The innermost first.
        model: What the program trains.
        most: Samples that are enough.
    """
    for body in bodies:
        if isinstance(body.statement, ast.While) or any(map(_leaves_function, body.statement.body)):
            continue
        try:
            with _silence():
                if keras.backend.backend() == "jax":
                    told = _told(body, model, most)
                    return LoopSamples(body, None, tuple(one.batch for one in told), told[0])
                items, batches = _read(body, model, most)
        except Exception:  # whatever anyone's statements raise out of their place; then the loop is not asked
            continue
        if batches:
            return LoopSamples(body, items[0], tuple(batches))
    return None


def _read(body: LoopBody, model: keras.Model, most: int) -> tuple[list[Any], list[Batch]]:
    items: list[Any] = []
    batches: list[Batch] = []
    for item in body.items():
        found = _image_and_mask(item)
        if found is None or sum(len(batch.y) for batch in batches) >= most:
            break
        items.append(item)
        batches.append(Batch(body.given(item, model), to_host(keras.tree.flatten(item)[found[1]])))
    return items, batches


def _told(body: LoopBody, model: keras.Model, most: int) -> list[ToldBatch]:
    """What the steps of a loop on JAX differentiate, one after the other, none of them taken.

    Raises:
        ValueError: The loop goes through nothing, or a step differentiates nothing that `model` is called in.
    """
    found: list[ToldBatch] = []
    for item in islice(body.items(), _MOST_STEPS):
        found.append(batch_of(objective_told(partial(body.run, item)), model))
        if sum(len(one.batch.y) for one in found) >= most:
            break
    if not found:
        raise ValueError("The loop goes through nothing.")
    return found


def _image_and_mask(item: Any) -> tuple[int, int] | None:
    """Positions among the leaves: the first two arrays of three axes or more."""
    wide = [k for k, leaf in enumerate(keras.tree.flatten(item)) if len(getattr(leaf, "shape", ())) >= 3]
    return (wide[0], wide[1]) if len(wide) >= 2 else None


def _leaves_function(statement: ast.stmt) -> bool:
    """Whether it holds what means nothing outside of a function."""
    return any(isinstance(part, ast.Return | ast.Yield | ast.YieldFrom | ast.Await) for part in ast.walk(statement))


def _count(node: ast.expr, variables: dict[str, Any]) -> int | None:
    if isinstance(node, ast.Call) and name_of(node) in _AROUND and node.args:
        return _count(node.args[0], variables)
    is_range = isinstance(node, ast.Call) and name_of(node) in ("range", "trange")
    if not is_range and not isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.List | ast.Tuple):
        return None
    try:
        return len(eval(_compiled(ast.Expression(node), "eval"), dict(variables)))  # noqa: S307  # as in `items`
    except Exception:  # a generator, a data set without end, names that a traced function hides
        return None


def _compiled(node: Any, mode: str) -> Any:
    return compile(ast.fix_missing_locations(node), "<the program's loop>", mode)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
