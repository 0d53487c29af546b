"""`segnosis.diagnose`: why does this Keras model not learn on this data?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from segnosis.core.errors import ArgumentError
from segnosis.doctor.augmentation import joint_augmentation
from segnosis.doctor.batches import Drawn, Limits, draw
from segnosis.doctor.capture import build_case
from segnosis.doctor.case import Budget
from segnosis.doctor.counterfactual import settle
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import examine
from segnosis.doctor.history import read_history
from segnosis.doctor.random_state import random_state_kept
from segnosis.doctor.snapshot import untouched
from segnosis.doctor.stored import stored_pairs

_BUDGETS = ("static", "probe", "train")


def diagnose(
    model: keras.Model,
    train: Any,
    validation: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
    metrics: Any = None,
    num_classes: int | None = None,
    ignore_class: int | None = None,
    class_weight: Mapping[int, float] | None = None,
    class_names: Sequence[str] | None = None,
    groups: tuple[Sequence[Any], Sequence[Any]] | None = None,
    raw: tuple[Any, Any] | None = None,
    augment: Callable[..., Any] | keras.layers.Layer | None = None,
    history: Any = None,
    budget: Budget = "probe",
    backbone_weights: str | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Examine a model and its data, and say why it does not learn.

    Nothing given is changed: weights, optimizer, metrics, compiled state, random states and data sets are afterwards
    what they were. A generator cannot be wound back: what is drawn from it is gone (about 256 samples), so pass a
    fresh one.

    Args:
        model: A built model; compiled, or with `loss` and `optimizer` below.
        train: What `fit` takes: `(x, y)` or `(x, y, sample_weight)` arrays, PyDataset, `tf.data.Dataset`, Grain, torch
            DataLoader, generator of such tuples; or a `segnosis` Dataset.
        validation: The same kinds.
        loss: Replaces the compiled loss.
        optimizer: Replaces the compiled optimizer.
        metrics: Replaces the compiled metrics.
        num_classes: Classes with background; told from the head when left out.
        ignore_class: Mask value that is no class; told from the loss when left out.
        class_weight: As passed to `fit`.
        class_names: Name per class id.
        groups: `(train, validation)`: a group key per sample (patient, slide, video), for leaks.
        raw: `(images, masks)` before your pipeline: arrays, or two lists of file paths.
        augment: Your augmentation: a callable `(image, mask) -> (image, mask)`, or a Keras layer.
        history: keras History, its dict, or a CSVLogger file.
        budget: Dearest evidence allowed: `"static"` (configuration and data), `"probe"` (batches and gradients),
            `"train"` (short trainings of copies).
        backbone_weights: Pretrained weights inside the model, such as `"imagenet/xception"`.
        seed: Chooses rows of arrays, and seeds every probe.

    Returns:
        Findings in causal order, with everything that was ruled out and everything that could not be judged.

    Raises:
        ArgumentError: An argument cannot work.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 1)])
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> images, masks = np.zeros((4, 8, 8, 1), "float32"), np.zeros((4, 8, 8), "int32")
        >>> diagnose(model, (images, masks), budget="static").subject["num_samples"]
        4
    """
    _check_arguments(model, budget)
    optimizer = keras.optimizers.get(optimizer) if optimizer is not None else None
    with random_state_kept(train, validation, augment), untouched(model if model.built else None, optimizer):
        case = build_case(
            model,
            *_drawn(model, train, validation, seed),
            loss=loss,
            optimizer=optimizer,
            metrics=metrics,
            num_classes=num_classes,
            ignore_class=ignore_class,
            class_weight=class_weight,
            class_names=class_names,
            groups=groups,
            augment=joint_augmentation(augment),
            history=read_history(history),
            budget=budget,
            backbone_weights=backbone_weights,
            seed=seed,
            **_stored(train, validation, raw),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Keras warns of while it is probed, the findings say better
            diagnosis = examine(case)
            return settle(case, diagnosis) if budget == "train" else diagnosis


def _check_arguments(model: Any, budget: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ArgumentError(
            "`model` is a keras.Model of Keras 3.",
            received={"model": type(model)},
            cure="Pass the model that you call `fit` on.",
        )
    if budget not in _BUDGETS:
        raise ArgumentError(
            "`budget` names the dearest evidence allowed.",
            received={"budget": budget},
            cure='Pass "static", "probe" or "train".',
        )


def _drawn(model: keras.Model, train: Any, validation: Any, seed: int) -> Iterable[Drawn]:
    yield draw(*_as_fit_takes(model, train), seed=seed)
    if validation is not None:
        yield draw(*_as_fit_takes(model, validation), seed=seed, limits=Limits(samples=128, megabytes=200, seconds=5))


def _as_fit_takes(model: keras.Model, data: Any) -> tuple[Any, ...]:
    """`x`, or `x, y[, sample_weight]`; a data set of ours is fed at the size the model takes."""
    if _is_ours(data):
        from segnosis.data.feed import feed

        shape = model.input_shape if isinstance(model.input_shape, tuple) else (None, None, None, None)
        stored = data[0].image.shape
        size = tuple(shape[axis] or -(-stored[axis - 1] // 32) * 32 for axis in (1, 2))
        return (feed(data, batch_size=8, size=size, augment=None),)
    if isinstance(data, tuple) and len(data) in (2, 3):
        return data
    return (data,)


def _is_ours(data: Any) -> bool:
    return callable(getattr(data, "pairs", None)) and hasattr(data, "spec")


def _stored(train: Any, validation: Any, raw: Any) -> dict[str, Any]:
    """Fields of the case that say what lies before the pipeline."""
    if not _is_ours(train):
        return {"pairs": stored_pairs(raw)}
    splits = {"train": list(train.ids)} | ({"val": list(validation.ids)} if _is_ours(validation) else {})
    pairs = stored_pairs(raw) if raw is not None else train.pairs()
    return {"pairs": pairs, "spec": train.spec, "splits": splits}
