"""What the doctor was given. Evidence asks for these by name; what is `None` was not given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.sample import Pair

Budget = Literal["static", "probe", "train"]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as `fit` would hand it to the model, on the host.

    Attributes:
        x: Input array, or the user's structure of arrays.
        y: Target array, or the user's structure of arrays.
        sample_weight: Weights in any shape `fit` accepts, or `None`.
    """

    x: Any
    y: Any
    sample_weight: Any = None


@dataclass(frozen=True)
class Script:
    """Where in the user's program the model is compiled and fitted, for "file:line" in the answer.

    Attributes:
        path: The script's path as typed.
        fit_line: Line of the `fit()` (or `train_on_batch`) call.
        compile_line: Line of the `compile()` call, or `None`.
        source: Text of the script.
        fit_file, compile_file: Files of those lines, when not the script itself.
    """

    path: str
    fit_line: int
    compile_line: int | None = None
    source: str = ""
    fit_file: str | None = None
    compile_file: str | None = None


@dataclass(frozen=True)
class Case:
    """Everything the doctor may look at. Fields are the root evidence: a parameter of this name receives the field.

    Attributes:
        pairs: Stored pairs before any pipeline, re-iterable, read lazily; from files or from arrays (`raw=`).
        spec: What the data set is, when one of ours was opened.
        splits: Split name → sample ids, when known.
        batches: First batches of the training pipeline, as the model sees them.
        validation_batches: The same of the validation pipeline.
        model: A built keras.Model. Evidence works on copies; it is never changed.
        loss, optimizer, metrics: As compiled, or as overridden.
        num_classes, ignore_class, class_weight, class_names, groups, augment, backbone_weights, seed: As in `diagnose`.
        history: Metric name → value per epoch.
        fit_arguments: Arguments of the user's `fit` call by name.
        variables: What the user's program holds where it trains, by name.
        left_out: Layers that could train and whose variables a loop of the program's own hands to no optimizer.
        script: The user's program, when one is examined.
        num_samples: Number of training samples when known without drawing them all.
    """

    pairs: Iterable[Pair] | None = None
    spec: DatasetSpec | None = None
    splits: Mapping[str, Sequence[str]] | None = None
    batches: Sequence[Batch] | None = None
    validation_batches: Sequence[Batch] | None = None
    model: Any = None
    loss: Any = None
    optimizer: Any = None
    metrics: Any = None
    num_classes: int | None = None
    ignore_class: int | None = None
    class_weight: Mapping[int, float] | None = None
    class_names: Sequence[str] | None = None
    groups: tuple[Sequence[Any], Sequence[Any]] | None = None
    augment: Callable[..., Any] | None = None
    history: Mapping[str, Sequence[float]] | None = None
    fit_arguments: Mapping[str, Any] | None = None
    variables: Mapping[str, Any] | None = None
    left_out: Sequence[str] | None = None
    script: Script | None = None
    backbone_weights: str | None = None
    num_samples: int | None = None
    seed: int = 0
    budget: Budget = "probe"
    extra: Mapping[str, Any] = field(default_factory=dict)


def pairs_from_arrays(
    images: np.ndarray | Sequence[np.ndarray], masks: np.ndarray | Sequence[np.ndarray]
) -> list[Pair]:
    """Pairs of arrays in memory, named `sample 0`, `sample 1`, …"""
    return [
        Pair(np.asarray(image), np.asarray(mask), id=f"sample {i}", group=f"sample {i}")
        for i, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]


def callbacks_of(fit_arguments: Mapping[str, Any]) -> list[Any]:
    """The callbacks of a `fit`, given one by one, as a list, or not at all."""
    given = fit_arguments.get("callbacks")
    return [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
