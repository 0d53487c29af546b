"""What a metric says of predictions whose worth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segnosis.doctor.ask import Raised, ask_metric
from segnosis.doctor.evidence._drawn_masks import SURE, Drawn, Known, shuffled, wrong
from segnosis.doctor.own_metric import OwnMetric


@dataclass(frozen=True)
class ProbedMetric:
    """A metric's values in the format of the head.

    Attributes:
        name: As Keras prints it.
        of: Class of the metric, or name of the wrapped function.
        raised: What it raised on known predictions and on the program's own, else `None`.
        values: Its values, or `None` when it raised.
        background: Its value when everything is predicted class 0.
    """

    name: str
    of: str
    raised: str | None = None
    values: Known | None = None
    background: float = np.nan


def at_best(
    metric: object, drawn: Drawn, formats: Sequence[bool], own: tuple[np.ndarray, np.ndarray]
) -> ProbedMetric | None:
    """In the format in which a perfect prediction stands out most, where the outputs do not tell which it is."""
    found = [_probed(metric, drawn, as_logits, own) for as_logits in formats]
    told = [probed for probed in found if probed is not None and probed.values is not None]
    return max(told, key=lambda probed: probed.values.perfect - probed.values.shuffled, default=found[0])


def _probed(metric: object, drawn: Drawn, as_logits: bool, own: tuple[np.ndarray, np.ndarray]) -> ProbedMetric | None:
    truth = drawn.truth
    channels = truth.shape[-1]
    background = np.zeros_like(truth)
    if channels > 1:
        background[..., 0] = 1
    function = getattr(metric, "_fn", None)
    stock = type(getattr(metric, "asked", metric)).__name__
    of = str(getattr(function, "__name__", stock)) if stock == "MeanMetricWrapper" else stock
    name = str(getattr(metric, "name", of))
    of = name if stock == OwnMetric.__name__ else of
    predictions = (truth, np.full_like(truth, 1 / max(2, channels)), shuffled(truth), wrong(truth), background)
    answers = []
    for share in predictions:
        y_pred = 12 * (share - 0.5) if as_logits else SURE * share + (1 - SURE) / max(2, channels)
        answer = ask_metric(metric, drawn.y, y_pred)
        if isinstance(answer, Raised):
            raises_too = isinstance(ask_metric(metric, *own), Raised)
            return ProbedMetric(name, of, raised=answer.error) if raises_too else None
        answers.append(answer)
    return ProbedMetric(name, of, values=Known(*answers[:4]), background=answers[4])
