"""What loss and metrics say of predictions whose worth is known: perfect, grey, shuffled, upside down.

No model and no data take part: the masks are drawn here, in the encoding, sizes and format that the program uses, so a
fault of the labels cannot pass for a fault of the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from segnosis.doctor.ask import Raised, ask_loss, loss_tensor
from segnosis.doctor.autodiff import array_gradient
from segnosis.doctor.evidence._drawn_masks import SURE, Drawn, Known, draw, orders, wrong
from segnosis.doctor.evidence._probed_metric import ProbedMetric, at_best
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.graph import OUTPUT_LIKE
from segnosis.doctor.snapshot import untouched

PRICE = "batch"

_STEPS = (1.0, 2.0, 4.0, 8.0, 20.0, 40.0)
_FORMATS = {"logits": (True,), "probabilities": (False,), "sigmoid": (False,)}
"""Format of the outputs seen → whether a metric gets logits; of any other, one answer everywhere, both are tried."""


@dataclass(frozen=True)
class Probed:
    """What a loss was found to be.

    Attributes:
        raised: What it raised on the shapes of this program, else `None`.
        accepts: When it raised, the encoding of the same masks that it does take, `"ids"` or `"one-hot"`, if any.
        takes: `"logits"`, `"probabilities"` or `None` when it cannot be told.
        probabilities, logits: Its values on either format; `None` where they are not finite.
        lowest_outside: Its lowest value found for values outside 0 … 1.
        blind_outside: Whether a wrong answer outside 0 … 1 has no gradient (clipped probabilities).
        class_weights: Cost of being unsure about a pixel of each class, relative to their mean.
        mark_weights: Of targets of several planes, per plane: cost of being unsure about a marked pixel, relative to
            one that is not marked.
        ever_finite: Whether it is finite on any of a few constant predictions.
        alike: Pairs of classes whose pixels may be exchanged at no cost.
        zero_gradient: Whether its gradient is exactly 0 on soft predictions.
        blind_on_empty: Whether false positives on an image of background alone have no gradient.
        empty_nearly: Its value on such images alone when 0.1 % foreground is predicted everywhere.
        empty_perfect: Its value there when none is.
        absent_costs: What an image that lacks one class costs above one that has all, both predicted as good as
            perfectly and in one batch; in units of `Known.range`.
    """

    raised: str | None = None
    accepts: str | None = None
    takes: str | None = None
    probabilities: Known | None = None
    logits: Known | None = None
    lowest_outside: float = np.inf
    blind_outside: bool = False
    class_weights: tuple[float, ...] = ()
    mark_weights: tuple[float, ...] = ()
    ever_finite: bool = True
    alike: tuple[tuple[int, int], ...] = ()
    zero_gradient: bool = False
    blind_on_empty: bool = False
    empty_nearly: float = np.nan
    empty_perfect: float = np.nan
    absent_costs: float = 0.0

    @property
    def fitting(self) -> Known | None:
        """Its values on the format it takes."""
        return self.logits if self.takes == "logits" else self.probabilities


@dataclass(frozen=True)
class Probe:
    """Loss and metrics of one output.

    Attributes:
        loss: What the loss was found to be.
        metrics: The same per metric.
    """

    loss: Probed | None
    metrics: tuple[ProbedMetric, ...]


def measure(
    heads: Sequence[Head], encodings: Mapping[str, Encoding], forward: Mapping[str, Output]
) -> Mapping[str, Probe]:
    """Output name → what its loss and metrics were found to be."""
    probes = {}
    with untouched(None):
        for head in heads:
            if head.name not in encodings or head.name not in forward:
                continue
            output = forward[head.name]
            drawn = draw(encodings[head.name], output.arrays[0].shape)
            if drawn is None:
                continue
            loss = None if head.loss is None else _probe_loss(head.loss, drawn)
            ends = any(step.does in OUTPUT_LIKE for step in head.activations)
            formats = (False,) if ends else (True,) if head.known else _FORMATS.get(output.format, (True, False))
            own = encodings[head.name].arrays[0][: len(output.arrays[0])], output.arrays[0]
            probed = (at_best(metric, drawn, formats, own) for metric in head.metrics)
            probes[head.name] = Probe(loss, tuple(metric for metric in probed if metric is not None))
    return probes


def _probe_loss(loss: object, drawn: Drawn) -> Probed:
    truth, opposite = drawn.truth, wrong(drawn.truth)
    mixed, grey = orders(truth), np.full_like(truth, 1 / max(2, truth.shape[-1]))
    failures: list[str] = []

    def ask(y_pred: np.ndarray) -> float:
        answer = ask_loss(loss, drawn.y, y_pred)
        if isinstance(answer, Raised):
            failures.append(answer.error)
            return np.nan
        return answer

    exact = ask(truth)
    soft = SURE * truth + (1 - SURE) * grey
    best = min(
        (value for value in (exact, ask(soft), ask(0.9 * truth + 0.1 * grey)) if np.isfinite(value)), default=exact
    )
    on_probabilities = Known(best, ask(grey), float(np.min([ask(order) for order in mixed])), ask(opposite))
    if len(failures) == 5 + len(mixed):
        return Probed(raised=failures[0], accepts=_accepted(loss, drawn))
    magnitudes = {size: ask(size * (2 * truth - 1)) for size in _STEPS}
    sure = min((size for size in _STEPS if np.isfinite(magnitudes[size])), key=lambda s: magnitudes[s], default=20.0)
    least = float(np.min([ask(sure * (2 * order - 1)) for order in mixed]))
    on_logits = Known(magnitudes[sure], ask(0 * truth), least, ask(sure * (2 * opposite - 1)))
    takes = _takes(ask, on_probabilities, magnitudes, truth)
    outside = [*magnitudes.values(), *(ask(size * truth) for size in (2.0, 5.0)), ask(2 - 3 * truth), ask(-truth)]
    return Probed(
        takes=takes,
        probabilities=_finite(on_probabilities),
        logits=_finite(on_logits),
        lowest_outside=float(np.nanmin([*outside, np.inf])),
        blind_outside=_gradient_size(loss, drawn, 2 - 4 * truth) == 0.0,
        class_weights=_class_weights(ask, drawn, takes),
        mark_weights=_mark_weights(ask, drawn, takes),
        ever_finite=any(np.isfinite(ask(np.full_like(truth, level))) for level in (0.5, 0.1, -1.0, -3.0)),
        alike=_alike(ask, drawn, takes),
        zero_gradient=_gradient_size(loss, drawn, 0.5 * soft + 0.5 * np.roll(soft, 1, axis=1) * 0.9 + 0.01) == 0.0,
        **_on_empty(loss, drawn, takes),
        **_on_absent(loss, drawn, takes, on_logits if takes == "logits" else on_probabilities),
    )


def _on_empty(loss: object, drawn: Drawn, takes: str | None) -> dict[str, Any]:
    """What an image without foreground is worth: the second of two, and then both."""
    if len(drawn.y) < 2:
        return {}
    second = drawn.emptied(from_image=1)
    foreground = slice(1, None) if second.truth.shape[-1] > 1 else slice(None)
    unsure = 0.7 * second.truth + 0.3 / max(2, second.truth.shape[-1])
    y_pred = np.log(unsure / (1 - unsure)) if takes == "logits" else unsure
    try:
        _, slope = array_gradient(lambda tensor: loss_tensor(loss, second.y, tensor), y_pred)
    except Exception:  # a loss without a slope, or one that raises, is told of elsewhere
        return {}
    both = drawn.emptied(from_image=0)
    nearly = both.truth * (1 - 2e-3) + 1e-3
    answers = [
        ask_loss(loss, both.y, np.log(part / (1 - part)) if takes == "logits" else part)
        for part in (nearly, both.truth * (1 - 2e-6) + 1e-6)
    ]
    numbers = [np.nan if isinstance(answer, Raised) else answer for answer in answers]
    if takes != "logits" and np.all(second.truth.sum(-1) == 1):
        # Classes share one pixel: what takes from the background by a slope of that channel alone costs as well.
        slope = slope - (unsure * slope).sum(-1, keepdims=True)
    here, there = np.abs(slope[1][..., foreground]).max(), np.abs(slope[0]).max()
    blind = bool(np.isfinite([here, there]).all() and there > 0 and here <= 1e-6 * there)
    return {"blind_on_empty": blind, "empty_nearly": numbers[0], "empty_perfect": numbers[1]}


def _on_absent(loss: object, drawn: Drawn, takes: str | None, known: Known) -> dict[str, Any]:
    """What the second of two images costs for a class that is neither in it nor predicted there."""
    channels = drawn.truth.shape[-1]
    if len(drawn.y) < 2 or channels < 3 or not np.all(drawn.truth.sum(-1) == 1) or not known.range > 0:
        return {}
    costs = []
    for case in (drawn, drawn.without_last_class(from_image=1)):
        nearly = case.truth * (1 - 1e-6 * channels) + 1e-6
        answer = ask_loss(loss, case.y, np.log(nearly) if takes == "logits" else nearly)
        costs.append(np.nan if isinstance(answer, Raised) else answer)
    return {"absent_costs": len(drawn.y) * float(costs[1] - costs[0]) / known.range}


def _accepted(loss: object, drawn: Drawn) -> str | None:
    ids, one_hot = drawn.ids.astype("int32"), drawn.truth
    for name, y in (("ids", ids), ("one-hot", one_hot)):
        if y.shape != drawn.y.shape and not isinstance(ask_loss(loss, y, drawn.truth), Raised):
            return name
    return None


def _takes(ask, known: Known, magnitudes: Mapping[float, float], truth: np.ndarray) -> str | None:  # type: ignore[no-untyped-def]
    """A soft-max inside does not see a constant added to all channels; a sigmoid inside saturates."""
    noise = np.random.default_rng(1).normal(0.0, 2.0, truth.shape).astype("float32")
    at, moved = ask(noise), ask(noise + 3.0)
    changes = [abs(ask(other) - at) for other in (-noise, noise * truth, noise + 4 * truth)]
    change = max((value for value in changes if np.isfinite(value)), default=0.0)
    if truth.shape[-1] > 1 and change > 1e-5 * abs(at) and abs(moved - at) < 0.05 * change:
        return "logits"
    zero, sure, surer = ask(0 * truth), magnitudes[20.0], magnitudes[40.0]
    gain = zero - sure
    saturates = np.isfinite([zero, sure, surer]).all() and gain > 0 and abs(surer - sure) < 1e-3 * gain
    if saturates and known.perfect - sure > 0.02 * gain and magnitudes[1.0] > magnitudes[4.0] >= sure:
        return "logits"
    bounded = saturates and sure < known.perfect - 0.02 * gain  # a hinge, say: best neither at 0 … 1 nor by a sigmoid
    return "probabilities" if np.isfinite(known.perfect) and not bounded else None


def _sure(truth: np.ndarray, takes: str | None) -> np.ndarray:
    return 8.0 * (2 * truth - 1) if takes == "logits" else SURE * truth + (1 - SURE) / max(2, truth.shape[-1])


def _alike(ask, drawn: Drawn, takes: str | None) -> tuple[tuple[int, int], ...]:  # type: ignore[no-untyped-def]
    """Pairs of classes that the loss does not tell apart; of many classes each is held against the next alone."""
    truth, ids = drawn.truth, drawn.ids
    count = truth.shape[-1]
    if count < 3 or (truth.sum(-1) != 1).any():
        return ()
    sure = _sure(truth, takes)
    base, spoilt = ask(sure), ask(np.roll(sure, 1, axis=-1))
    pairs = combinations(range(count), 2) if count <= 8 else pairwise(range(count))
    found = []
    for one, other in pairs:
        order = list(range(count))
        order[one], order[other] = other, one
        either = np.isin(ids, (one, other))
        exchanged = np.where(either[..., None], sure[..., order], sure)
        if abs(ask(exchanged) - base) <= 1e-6 * abs(spoilt - base):
            found.append((one, other))
    return tuple(found)


def _class_weights(ask, drawn: Drawn, takes: str | None) -> tuple[float, ...]:  # type: ignore[no-untyped-def]
    """Rise of the loss when only the pixels of one class are unsure, per pixel of that class."""
    truth, ids = drawn.truth, drawn.ids
    count = int(ids.max()) + 1
    if count > 32:
        return ()
    sure = _sure(truth, takes)
    unsure = 0.0 if takes == "logits" else 1 / max(2, truth.shape[-1])
    base = ask(sure)
    costs = []
    for class_id in range(count):
        y_pred = sure.copy()
        y_pred[ids == class_id] = unsure
        costs.append((ask(y_pred) - base) / float(np.mean(ids == class_id)))
    mean = float(np.mean(costs))
    return tuple(float(cost / mean) for cost in costs) if np.isfinite(mean) and mean > 0 else tuple(map(float, costs))


def _mark_weights(ask, drawn: Drawn, takes: str | None) -> tuple[float, ...]:  # type: ignore[no-untyped-def]
    """Rise of the loss when one plane is unsure where it is marked, per pixel, relative to where it is not."""
    truth = drawn.truth
    if truth.shape[-1] == 1 or np.all(truth.sum(-1) == 1):
        return ()
    sure = _sure(truth, takes)
    base = ask(sure)
    weights = []
    for plane in range(truth.shape[-1]):
        costs = []
        for marked in (truth[..., plane] == 1, truth[..., plane] == 0):
            y_pred = sure.copy()
            y_pred[marked, plane] = 0.0 if takes == "logits" else 0.5
            costs.append((ask(y_pred) - base) / max(float(marked.mean()), 1e-9))
        weights.append(float(costs[0] / costs[1]) if costs[1] > 0 else np.inf)
    return tuple(weights)


def _gradient_size(loss: object, drawn: Drawn, y_pred: np.ndarray) -> float:
    """Largest slope of the loss at `y_pred`; NaN where the loss raises."""
    try:
        _, gradient = array_gradient(lambda tensor: loss_tensor(loss, drawn.y, tensor), y_pred)
    except Exception:  # the value itself is reported where it matters; without a slope nothing is claimed of it
        return np.nan
    return float(np.abs(gradient).max())


def _finite(known: Known) -> Known | None:
    return known if np.isfinite([known.perfect, known.grey, known.shuffled]).all() else None
