"""Catching a user's program at its calls of `compile`, `fit` and `train_on_batch`.

`Interception.installed()` puts wrappers on `keras.Model` and takes them off again. What happens at a training call is
decided by `on_training`, which gets the live model and arguments and can let the call proceed.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import keras
from keras.src.optimizers.base_optimizer import BaseOptimizer

from segnosis.doctor.jax_steps import makers_replaced

_FOREIGN = (
    "site-packages",
    "dist-packages",
    f"{os.sep}lib{os.sep}python3",
    "<frozen ",
    "<string>",
    "<__array_function",
    "__autograph_generated_file",
)
_OWN = str(Path(__file__).parents[1])


@dataclass(frozen=True)
class Place:
    """A line of the user's program."""

    file: str
    line: int


@dataclass(frozen=True)
class TrainingCall:
    """A call of `fit` or `train_on_batch` that is about to happen.

    Attributes:
        model: The live model.
        method: `"fit"` or `"train_on_batch"`.
        arguments: Arguments by name.
        place: The user's line that calls.
        compiled_at: The user's line that compiled this model, or `None`.
        proceed: Runs the real method, with some arguments replaced: `proceed(x=...)`.
        refused: Why Python itself will refuse this call (an unknown argument), or `None`.
    """

    model: keras.Model
    method: str
    arguments: dict[str, Any]
    place: Place
    compiled_at: Place | None
    proceed: Callable[..., Any]
    refused: TypeError | None = None


@dataclass
class Interception:
    """Wrappers around Keras' training methods, for one program in this process.

    Attributes:
        on_training: Called in place of the user's `fit` or `train_on_batch`; its result is what the user gets.
        on_own_loop: Called before the first step of a program that applies gradients itself: the optimizer, the
            variables it is to change if they were given, and the program's frames, the innermost first.
        own_loop: Where the program applies gradients itself, if it does.
        started: Command lines of the programs that it started.
        asleep: While true the wrappers do nothing: evidence trains copies of its own.
    """

    on_training: Callable[[TrainingCall], Any]
    on_own_loop: Callable[[Any, Any, list[FrameType]], None] = lambda optimizer, variables, frames: None
    own_loop: Place | None = None
    started: list[list[str]] = field(default_factory=list)
    asleep: bool = False
    _compiled_at: dict[int, tuple[Any, Place]] = field(default_factory=dict)
    _process: int = field(default_factory=os.getpid)

    @contextmanager
    def installed(self) -> Iterator[Interception]:
        """Wrap the methods for the length of the block."""
        wrapped = [
            (keras.Model, "fit", self._training("fit")),
            (keras.Model, "train_on_batch", self._training("train_on_batch")),
            (keras.Model, "compile", self._compile),
            (BaseOptimizer, "apply", self._apply),
        ]
        inherited = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in wrapped]
        for owner, name, make in wrapped:
            setattr(owner, name, make(getattr(owner, name)))
        _listen(self)
        try:
            with makers_replaced(_is_of_program):
                yield self
        finally:
            _LISTENERS.remove(self)
            for owner, name, method in inherited:
                if method is None:
                    delattr(owner, name)
                else:
                    setattr(owner, name, method)

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        """Let everything through: the doctor's own work, or a training that was examined already."""
        was, self.asleep = self.asleep, True
        try:
            yield
        finally:
            self.asleep = was

    def _training(self, name: str) -> Callable[[Any], Any]:
        def make(method: Any) -> Any:
            def wrapper(model: keras.Model, *args: Any, **kwargs: Any) -> Any:
                if self.asleep:
                    return method(model, *args, **kwargs)
                if os.getpid() != self._process:
                    _leave_child(name)
                arguments, refused = _bound(method, model, args, kwargs)

                def proceed(**replaced: Any) -> Any:
                    if refused is not None:
                        raise refused
                    with self.sleeping():
                        return method(model, **{**arguments, **replaced})

                compiled_at = self._compiled_at.get(id(model), (None, None))[1]
                place = user_place()
                return self.on_training(TrainingCall(model, name, arguments, place, compiled_at, proceed, refused))

            return _like(wrapper, method)

        return make

    def _compile(self, method: Any) -> Any:
        def wrapper(model: keras.Model, *args: Any, **kwargs: Any) -> Any:
            if not self.asleep:
                self._compiled_at[id(model)] = (model, user_place())  # the model is kept so that its id stays its own
            return method(model, *args, **kwargs)

        return _like(wrapper, method)

    def _apply(self, method: Any) -> Any:
        def wrapper(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.asleep and self.own_loop is None:
                self.own_loop = user_place()
                variables = kwargs.get("trainable_variables", args[1] if len(args) > 1 else None)
                self.on_own_loop(optimizer, variables, user_frames())
            return method(optimizer, *args, **kwargs)

        return _like(wrapper, method)


def _is_of_program() -> bool:
    """Whether what calls the doctor here, itself left out, is the program and no library."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back
    return frame is not None and not _is_foreign(frame.f_code.co_filename)


def _is_foreign(file: str) -> bool:
    return any(mark in file for mark in _FOREIGN)


def user_place() -> Place:
    """The nearest line on the stack that is neither a library's nor ours."""
    frame = sys._getframe(1)
    nearest = None
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_OWN):
            place = Place(name, frame.f_lineno)
            if not _is_foreign(name):
                return place
            nearest = nearest or place
        frame = frame.f_back  # type: ignore[assignment]
    return nearest or Place("", 0)


def user_frames() -> list[FrameType]:
    """The frames of the script on the stack, the innermost first: neither a library's nor ours nor of what runs it."""
    found, frame = [], sys._getframe(1)
    script = sys.modules["__main__"].__dict__
    while frame is not None:
        name = frame.f_code.co_filename
        if "__autograph_generated_file" in name or not (name.startswith(_OWN) or _is_foreign(name)):
            found.append(frame)
        if frame.f_globals is script and frame.f_code.co_name == "<module>":
            break
        frame = frame.f_back  # type: ignore[assignment]
    return found


def _bound(method: Any, model: Any, args: Any, kwargs: Any) -> tuple[dict[str, Any], TypeError | None]:
    """Arguments by name; with an argument that Keras does not know, what is left, and the error it will raise."""
    signature = inspect.signature(method)
    try:
        bound = signature.bind(model, *args, **kwargs)
        error = None
    except TypeError as refused:
        known = {name: value for name, value in kwargs.items() if name in signature.parameters}
        bound = signature.bind_partial(model, *args[: len(signature.parameters) - 1], **known)
        error = TypeError(f"{method.__name__}() {refused}")
    arguments = dict(bound.arguments)
    arguments.pop("self", None)
    return arguments, error


def _like(wrapper: Any, method: Any) -> Any:
    """Give the wrapper the method's signature, which Keras and others inspect."""
    wrapper.__name__, wrapper.__doc__ = method.__name__, method.__doc__
    wrapper.__signature__ = inspect.signature(method)
    wrapper.__wrapped__ = method
    return wrapper


def _leave_child(name: str) -> None:
    print(
        f"segnosis: {name}() is called in a child process (pid {os.getpid()}), where it cannot be examined. "
        "Call it in the main process, or call segnosis.diagnose(model, data) before it.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)


_LISTENERS: list[Interception] = []
_HOOKED: list[bool] = []


def _listen(interception: Interception) -> None:
    """Note programs that are started. An audit hook cannot be removed, so there is one, and it asks who listens."""
    _LISTENERS.append(interception)
    if not _HOOKED:
        _HOOKED.append(True)
        sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _LISTENERS:
        return
    command: list[str] | None = None
    if event == "subprocess.Popen":
        command = [os.fsdecode(part) for part in args[1]] if isinstance(args[1], list | tuple) else [str(args[1])]
    elif event == "os.system":
        command = [os.fsdecode(args[0])]
    if command is not None:
        for listener in _LISTENERS:
            if not listener.asleep:
                listener.started.append(command)
