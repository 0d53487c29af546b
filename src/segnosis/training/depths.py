"""What each depth of a deeply supervised network costs, and how well it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.training.evaluate import evaluate
from segnosis.training.plan import Plan
from segnosis.training.predict import Predictor
from segnosis.training.relabel import Relabel

if TYPE_CHECKING:
    import keras

    from segnosis.data.dataset import Dataset

_ROUNDS = 9
_SCORES = ("foreground_dice", "foreground_iou", "mean_iou")


def table(
    models: Sequence[keras.Model],
    plan: Plan,
    dataset: Dataset,
    *,
    deepest: dict[str, Any] | None = None,
    relabel: Relabel | None = None,
    like: DatasetSpec | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Accuracy, latency and size of the network of every depth.

    Args:
        models: The networks, shallowest first.
        plan: How they are applied to whole images.
        dataset: Samples with masks.
        deepest: Scores of the last network on `dataset`, where they are known already.
        relabel, like: As `evaluate` takes them.
        progress: Called with (done, total), over the samples of all depths.

    Returns:
        A row a depth: `depth`, `parameters`, `milliseconds` of one tile of `tile` pixels, and the dataset-level
        `foreground_dice`, `foreground_iou` and `mean_iou`.
    """
    rows = []
    seconds = latency(models, plan)
    to_score = len(models) if deepest is None else len(models) - 1
    for index, (model, second) in enumerate(zip(models, seconds, strict=True)):
        scores = deepest
        if index < to_score:
            done = None if progress is None else _shifted(progress, index, to_score)
            scores = evaluate(
                Predictor.planned(plan, model), dataset, relabel=relabel, like=like, measures=(), progress=done
            )
        rows.append(
            {
                "depth": index + 1,
                "parameters": model.count_params(),
                "milliseconds": round(1000 * second, 3),
                "tile": list(plan.window or plan.size),
                **{name: scores[name] for name in _SCORES if scores is not None},
            }
        )
    return rows


def latency(models: Sequence[keras.Model], plan: Plan) -> list[float]:
    """Seconds each network takes for one tile: the median of several rounds, taken in turns, so that all of them see
    the same machine."""
    tile = np.zeros((1, *(plan.window or plan.size), models[0].input_shape[-1]), np.float32)
    for model in models:
        model.predict_on_batch(tile)  # compiles
    took: list[list[float]] = [[] for _ in models]
    for _ in range(_ROUNDS):
        for model, seconds in zip(models, took, strict=True):
            start = time.perf_counter()
            np.asarray(model.predict_on_batch(tile))
            seconds.append(time.perf_counter() - start)
    return [float(np.median(seconds)) for seconds in took]


def extra_work(depth: int) -> float:
    """Work of all depths but the deepest, as a multiple of its own: a depth of d has (d + 1)(d + 2) / 2 units alike.

    Example:
        >>> round(extra_work(4), 2)
        1.27
    """
    return sum((d + 1) * (d + 2) for d in range(1, depth)) / ((depth + 1) * (depth + 2))


def _shifted(progress: Callable[[int, int], None], index: int, parts: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(index * total + done, parts * total)
