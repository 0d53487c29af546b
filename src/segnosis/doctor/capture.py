"""From a live model and drawn batches to a `Case`: reads what was compiled and fills in what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras

from segnosis.doctor.batches import Drawn, as_tensors
from segnosis.doctor.case import Case
from segnosis.doctor.own_loss import own_loss


def build_case(model: keras.Model | None, train: Drawn, validation: Drawn | None = None, **given: Any) -> Case:
    """The case of this model on these batches.

    Args:
        model: The model, built here on the first batch when it is not yet, as `fit` would; `None` without one.
        train: Batches of the training pipeline.
        validation: Batches of the validation pipeline.
        given: Further fields of `Case`. A `loss`, `optimizer`, `metrics` or `ignore_class` of `None` is read from the
            model.

    Returns:
        The case. Errors met while drawing or building are in `extra`, as `pipeline_error` and `build_error`.
    """
    extra: dict[str, Any] = dict(given.pop("extra", None) or {})
    if train.error is not None:
        extra["pipeline_error"] = train.error
    if validation is not None and validation.error is not None:
        extra["validation_error"] = validation.error
    if model is not None:
        error = _build(model, train)
        if error is not None:
            extra["build_error"], model = error, None
    for name, value in _compiled(model).items():
        if given.get(name) is None:
            given[name] = value
    if model is not None and given.get("loss") is None and train.batches:
        given["loss"] = own_loss(model, train.batches[0])
    if given.get("ignore_class") is None:
        given["ignore_class"] = ignore_class_of(given.get("loss"))
    return Case(
        model=model,
        batches=train.batches or None,
        validation_batches=(validation.batches or None) if validation is not None else None,
        num_samples=train.num_samples,
        extra=extra,
        **given,
    )


def ignore_class_of(loss: Any) -> int | None:
    """The class id that a loss was told to ignore, in whatever way it keeps it.

    Example:
        >>> ignore_class_of(keras.losses.SparseCategoricalCrossentropy(ignore_class=255))
        255
    """
    if isinstance(loss, Mapping | Sequence) and not isinstance(loss, str):
        parts = list(loss.values()) if isinstance(loss, Mapping) else list(loss)
    else:
        kept = {**getattr(loss, "_fn_kwargs", {}), **(loss.keywords if isinstance(loss, partial) else {})}
        own = getattr(loss, "ignore_class", kept.get("ignore_class"))
        if own is not None:
            return int(own)
        nested = getattr(loss, "losses", ())
        parts = list(nested) if isinstance(nested, list | tuple) else []
    return next((found for part in parts if (found := ignore_class_of(part)) is not None), None)


def _build(model: keras.Model, train: Drawn) -> Exception | None:
    if model.built and model.weights:
        return None
    if not train.batches:
        return train.error or ValueError("the model is not built and there is no batch to build it on")
    try:
        model(as_tensors(train.batches[0].x, slice(1)))
        model.count_params()
    except Exception as error:  # whatever `fit` would raise there, the user's own layers included
        return error
    return None


def _compiled(model: keras.Model | None) -> dict[str, Any]:
    if model is None or not getattr(model, "compiled", False):
        return {}
    metrics = model._compile_metrics
    chosen = [
        part
        for name in ("_user_metrics", "_user_weighted_metrics")
        if (part := getattr(metrics, name, None)) is not None and len(part)
    ]
    both = chosen[0] if len(chosen) == 1 else [*chosen[0], *chosen[1]] if chosen and _are_lists(chosen) else None
    return {"loss": model.loss, "optimizer": model.optimizer, "metrics": both}


def _are_lists(parts: list[Any]) -> bool:
    return all(isinstance(part, list | tuple) for part in parts)
