"""From an intercepted `fit` or `train_on_batch` to a `Case`, with what must be handed on so that nothing is lost."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from keras.src import tree

from segnosis.doctor.batches import Drawn, Limits, as_tensors, draw, sample_count
from segnosis.doctor.capture import build_case
from segnosis.doctor.case import Batch, Budget, Case, Script
from segnosis.doctor.evidence._batch_pairs import targets_of
from segnosis.doctor.held_variables import held_out_of
from segnosis.doctor.interception import TrainingCall
from segnosis.doctor.legacy_images import legacy_fields
from segnosis.doctor.loop_body import LoopBody, planned_by
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import steps_itself, untouched

_VALIDATION = Limits(samples=128, megabytes=200.0, seconds=5.0)
_LOOP = Limits(samples=64, megabytes=200.0)
_MOST_BATCHES = 16
_MOST_VALUES = 150


def case_of_fit(
    call: TrainingCall, script: Script, budget: Budget, seed: int, variables: Mapping[str, Any] | None = None
) -> tuple[Case, dict[str, Any]]:
    """The case that a `fit` call is, and the arguments to replace when it goes on.

    Args:
        call: The intercepted call.
        script: Where it stands.
        budget: Dearest evidence allowed.
        seed: Seeds every probe.
        variables: What the program holds there, by name.

    Returns:
        The case, and replacements for generators, whose first batches were drawn.
    """
    given = call.arguments
    split = given.get("validation_split") or 0.0
    arrays: dict[str, Any] = {name: given.get(name) for name in ("y", "sample_weight", "batch_size")}
    train = draw(
        given.get("x"),
        **arrays,
        steps=given.get("steps_per_epoch"),
        shuffle=bool(given.get("shuffle", True)),
        rows=(0.0, 1.0 - split),
        seed=seed,
    )
    replaced = {"x": train.data} if train.data is not given.get("x") else {}
    validation: Drawn | None = None
    told = given.get("validation_data")
    if told is not None:
        parts = told if isinstance(told, tuple) and len(told) in (2, 3) else (told,)
        validation = draw(*parts, batch_size=_validation_batch(given), shuffle=False, limits=_VALIDATION)
        if isinstance(told, types.GeneratorType):
            replaced["validation_data"] = validation.data
    elif split:
        rows = (1.0 - split, 1.0)
        held_out = {**arrays, "batch_size": _validation_batch(given)}
        validation = draw(given.get("x"), **held_out, rows=rows, shuffle=False, limits=_VALIDATION)
    case = build_case(
        call.model,
        train,
        validation,
        class_weight=given.get("class_weight"),
        fit_arguments={**given, **replaced},
        variables=variables,
        script=script,
        budget=budget,
        seed=seed,
        extra=_refusal(call, train),
        **legacy_fields(given.get("x")),
    )
    return case, replaced


def has_masks(batches: Sequence[Batch]) -> bool:
    """Whether a target is an image of few values: not a label for the whole image, nor a picture to be restored."""
    for batch in batches:
        target = targets_of(batch)
        return target is not None and len(np.unique(target[:8])) <= _MOST_VALUES
    return True  # what cannot be drawn is examined: it may be what is wrong


class BatchLoop:
    """The first batches that a loop of `train_on_batch` passes, and the model as it was before the first."""

    def __init__(
        self, first: TrainingCall, bodies: Sequence[LoopBody] = (), variables: Mapping[str, Any] | None = None
    ) -> None:
        self.first, self.bodies, self.variables = first, bodies, variables
        self.batches: list[Batch] = []
        self.is_open = True
        self.prepares = False  # whether what trains on no masks comes before what may
        self.is_over = False  # whether the program ended without another batch
        self._start: list[tuple[Any, Any]] | None = None

    def add(self, call: TrainingCall) -> None:
        """Note one more batch; at the first, also the weights, building the model as the call would."""
        arguments = call.arguments
        parts = [tree.map_structure(to_host, arguments.get(name), none_is_leaf=False) for name in Batch.__slots__]
        self.batches.append(Batch(*parts))
        if self._start is None:
            build_case(call.model, Drawn(tuple(self.batches), None))
            variables = [*call.model.variables, *getattr(call.model.optimizer, "variables", ())]
            self._start = [(variable, to_host(variable)) for variable in variables]

    @property
    def has_enough(self) -> bool:
        """Whether there are as many batches as are examined."""
        return (
            len(self.batches) >= _MOST_BATCHES
            or sum(map(sample_count, self.batches)) >= _LOOP.samples
            or sum(leaf.nbytes for batch in self.batches for leaf in tree.flatten(batch.x)) >= _LOOP.megabytes * 1e6
        )

    @contextmanager
    def at_its_start(self) -> Iterator[None]:
        """The model with the weights, and the optimizer with the count of steps, they had before, for the block."""
        with untouched(self.first.model):
            for variable, value in self._start or ():
                variable.assign(value)
            yield

    def case(self, script: Script, budget: Budget, seed: int) -> Case:
        """The case that this loop is."""
        drawn = Drawn(tuple(self.batches), None)
        first = self.batches[0]
        found = held_out_of(self.variables or {}, first.x, first.y)
        held_out = draw(*found, shuffle=False, limits=_VALIDATION) if found is not None else None
        planned = {"epochs": 1, "steps_per_epoch": len(self.batches)} if self.is_over else planned_by(self.bodies)
        return build_case(
            self.first.model,
            drawn,
            held_out,
            class_weight=self.first.arguments.get("class_weight"),
            fit_arguments=planned,
            variables=self.variables,
            script=script,
            budget=budget,
            seed=seed,
            extra=_refusal(self.first, drawn),
        )


def _validation_batch(given: Mapping[str, Any]) -> int | None:
    return given.get("validation_batch_size") or given.get("batch_size")


def _refusal(call: TrainingCall, train: Drawn) -> dict[str, Any]:
    """What the stock training step would raise on two samples of the first batch; `{}` when nothing."""
    model = call.model
    if not (train.batches and model.built and model.compiled) or steps_itself(model):
        return {}
    batch = train.batches[0]
    x, y, weight = (as_tensors(part, slice(2)) for part in (batch.x, batch.y, batch.sample_weight))
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            y_pred = model(x, training=False)
            model._compute_loss(x, y, y_pred, weight, training=False)
            model.compute_metrics(x, y, y_pred, weight)
        except Exception as error:  # whatever the model, the loss or a metric raises
            return {"fit_error": error}
    return {}
