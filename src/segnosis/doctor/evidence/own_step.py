"""What a `train_step` of the user's own hands to its optimizer: one step on a copy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import raised
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.forward import few
from segnosis.doctor.graph import all_layers
from segnosis.doctor.random_state import to_host
from segnosis.doctor.rehearsal import own_step
from segnosis.doctor.snapshot import borrowed, optimizer_copy, steps_itself

PRICE = "gradient"


@dataclass(frozen=True)
class OwnStep:
    """One step.

    Attributes:
        applied: How often the step gave gradients to its optimizer.
        given: Trainable variables that it gave, of `trainable`.
        known: Those of them that got a gradient.
        largest: Largest absolute value of all gradients.
        moved: Trainable variables that changed.
        trainable: Trainable variables of the model.
        left_out: Layers with trainable variables of which the step gave none and moved none.
        raised: What the step raised, else empty.
    """

    applied: int
    given: int
    known: int
    largest: float
    moved: int
    trainable: int
    left_out: tuple[str, ...] = ()
    raised: str = ""


def measure(model: keras.Model, optimizer: Any, batches: Sequence[Batch], loss: Any = None) -> OwnStep:
    """Raises `Unavailable` for Keras' own step, whose parts other evidence measures one by one."""
    if not steps_itself(model):
        raise Unavailable("the model trains by Keras' own step")
    if keras.backend.backend() == "jax":
        raise Unavailable("on JAX a step is traced and holds no numbers")
    batch = few(batches[0], model)
    with borrowed(model, batch.x) as copy, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN is an answer here
        steps = optimizer_copy(optimizer)
        steps.build(copy.trainable_variables)
        keras.Model.compile(copy, steps, loss, run_eagerly=True)  # not a `compile` of the user's own
        seen: list[tuple[int, list[float]]] = []
        asked: set[int] = set()
        apply = steps.apply

        def recorded(grads: Sequence[Any], trainable_variables: Any = None) -> Any:
            sizes = [float(np.abs(to_host(gradient)).max()) for gradient in grads if gradient is not None]
            seen.append((len(list(grads)), sizes))
            asked.update(id(variable) for variable in trainable_variables or steps._trainable_variables)
            return apply(grads, trainable_variables)

        steps.__dict__["apply"] = recorded
        before = [to_host(variable) for variable in copy.trainable_variables]
        failure = ""
        try:
            own_step(copy, batch)
        except Exception as error:  # anything that anyone's step can raise; fit() raises the same
            failure = raised(error).error
        moved = {
            id(variable)
            for old, variable in zip(before, copy.trainable_variables, strict=True)
            if not np.array_equal(old, to_host(variable))
        }
        left_out = tuple(
            layer.name
            for layer in all_layers(copy)
            if (own := {id(variable) for variable in layer.trainable_weights}) and not own & (asked | moved)
        )
        return OwnStep(
            applied=len(seen),
            given=sum(count for count, _ in seen),
            known=sum(len(sizes) for _, sizes in seen),
            largest=max((size for _, sizes in seen for size in sizes), default=0.0),
            moved=len(moved),
            trainable=len(before),
            left_out=left_out,
            raised=failure,
        )
