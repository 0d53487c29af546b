"""Keeping every random state: Python's, numpy's, Keras', the backends', and the generators a user's objects hold."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

_PutBack = Callable[[], object]
_LEAVES = (str, bytes, int, float, complex, np.ndarray, type, types.ModuleType)


@contextmanager
def random_state_kept(*holders: Any) -> Iterator[None]:
    """Put all random states back on leaving, and those of generators found inside `holders`.

    Also keeps Keras' automatic layer names, so that a copy made inside does not shift those of the user's next layers.

    Args:
        holders: Objects that may hold random generators: data sets, transforms, a script's globals.
    """
    put_back = [*_global_states(), *(back for holder in holders for back in _held_states(holder))]
    try:
        yield
    finally:
        for back in put_back:
            back()


def to_host(leaf: Any) -> np.ndarray:
    """A numpy copy of an array, tensor or variable of any backend; later changes of the original do not reach it."""
    if isinstance(leaf, keras.Variable):
        leaf = leaf.value
    if hasattr(leaf, "detach"):
        leaf = leaf.detach().cpu()
        if str(leaf.dtype) == "torch.bfloat16":  # numpy has none; float32 holds it exactly
            leaf = leaf.float()
    if hasattr(leaf, "toarray"):
        leaf = leaf.toarray()
    return np.asarray(leaf).copy()


def _global_states() -> Iterator[_PutBack]:
    state = random.getstate()
    yield lambda: random.setstate(state)
    legacy = np.random.get_state()
    yield lambda: np.random.set_state(legacy)
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    if generator is None:
        yield lambda: global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, None)
    else:
        seed = to_host(generator.state)
        yield lambda: generator.state.assign(seed)
    names = global_state.get_global_attribute("object_name_uids")
    saved = None if names is None else dict(names)
    yield lambda: _put_names_back(saved)
    if "torch" in sys.modules:
        yield from _torch_states(sys.modules["torch"])
    if "tensorflow" in sys.modules:
        yield from _tensorflow_states()


def _put_names_back(saved: dict[str, int] | None) -> None:
    names = global_state.get_global_attribute("object_name_uids")
    if names is not None:
        names.clear()
        names.update(saved or {})


def _torch_states(torch: types.ModuleType) -> Iterator[_PutBack]:
    state = torch.get_rng_state()
    yield lambda: torch.set_rng_state(state)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        devices = torch.cuda.get_rng_state_all()
        yield lambda: torch.cuda.set_rng_state_all(devices)


def _tensorflow_states() -> Iterator[_PutBack]:
    """Operation seeds are drawn from the eager context's own `random.Random`; the global generator is a variable."""
    eager = sys.modules.get("tensorflow.python.eager.context")
    drawer = getattr(eager.context(), "_rng", None) if eager else None
    if drawer is not None:
        state = drawer.getstate()
        yield lambda: drawer.setstate(state)
    stateful = sys.modules.get("tensorflow.python.ops.stateful_random_ops")
    generator = getattr(stateful, "global_generator", None)
    if generator is not None:
        value = generator.state.numpy().copy()
        yield lambda: generator.state.assign(value)


def _held_states(holder: Any, depth: int = 5) -> Iterator[_PutBack]:
    """One way back per random generator reachable from `holder` through attributes, containers and closures."""
    seen: set[int] = set()
    waiting = [(holder, depth)]
    while waiting and len(seen) < 5000:
        thing, left = waiting.pop()
        if thing is None or isinstance(thing, _LEAVES) or id(thing) in seen:
            continue
        seen.add(id(thing))
        back = _way_back(thing)
        if back is not None:
            yield back
        elif left:
            waiting.extend((part, left - 1) for part in _parts(thing))


def _way_back(thing: Any) -> _PutBack | None:
    if isinstance(thing, random.Random):
        state = thing.getstate()
        return lambda: thing.setstate(state)
    if isinstance(thing, np.random.RandomState):
        legacy = thing.get_state()
        return lambda: thing.set_state(legacy)
    if isinstance(thing, np.random.Generator):
        bits = thing.bit_generator.state

        def put_bits_back() -> None:
            thing.bit_generator.state = bits

        return put_bits_back
    if isinstance(thing, keras.random.SeedGenerator):
        seed = to_host(thing.state)
        return lambda: thing.state.assign(seed)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(thing, torch.Generator):
        device_state = thing.get_state()
        return lambda: thing.set_state(device_state)
    return None


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, dict):
        return list(thing.values())[:1000]
    if isinstance(thing, list | tuple | set | frozenset):
        return list(thing)[:1000]
    if isinstance(thing, types.FunctionType):
        cells = [_content(cell) for cell in thing.__closure__ or ()]
        used = [thing.__globals__[name] for name in thing.__code__.co_names if name in thing.__globals__]
        return [*cells, *used, *(thing.__defaults__ or ())]
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, types.GeneratorType):
        return list(thing.gi_frame.f_locals.values()) if thing.gi_frame else []
    return list(getattr(thing, "__dict__", {}).values())


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that is not bound yet
        return None
