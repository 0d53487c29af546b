"""Hearing the layers of a model that has no graph: every call, with what it gets, and a word in what it gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import keras

Heard = Callable[[Any, tuple[Any, ...], Callable[[], Any]], Any]
"""The layer, its arguments by position, and what makes the call; what it returns is what the caller gets."""


class Enough(BaseException):
    """What was waited for has been heard: ends the block of `listening`; no `except Exception` of a layer stops it."""


@contextmanager
def listening(heard: Heard, *, outermost: bool = False) -> Iterator[None]:
    """Hand every call of a layer on this thread to `heard`, for the length of the block or until it raises `Enough`.

    Args:
        heard: Decides what the call gives, most often by making it.
        outermost: Whether calls that layers make inside another's are made without asking.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.ReLU()])
        >>> names = []
        >>> with listening(lambda layer, args, call: (names.append(type(layer).__name__), call())[1]):
        ...     _ = model(keras.ops.ones((1, 2)))
        >>> names
        ['Sequential', 'Dense', 'ReLU']
    """
    stock, here, depth = keras.layers.Layer.__call__, threading.get_ident(), 0

    def called(layer: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        if threading.get_ident() != here or (outermost and depth):
            return stock(layer, *args, **kwargs)
        depth += 1
        try:
            return heard(layer, args, lambda: stock(layer, *args, **kwargs))
        finally:
            depth -= 1

    with suppress(Enough), in_place_of(keras.layers.Layer, "__call__", called):
        yield


@contextmanager
def in_place_of(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let a class or module do something else under the name of one of its functions, for the length of the block."""
    stock = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, stock)
