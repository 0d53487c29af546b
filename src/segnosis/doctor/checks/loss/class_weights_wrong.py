"""The class weights push the wrong way.

## What it looks for
How much a pixel of each class counts, asked of the loss itself: a prediction that is sure everywhere but on one
class, for each class; of several planes, on what each marks and on what it leaves out. That, the sample weights and
`class_weight` are held against how often each class occurs. Weights that are not numbers; a rare class that counts less
than a common one; classes whose pixels may be exchanged at no cost, since the weights of both are 0; and
`fit(class_weight=…)` with masks, which Keras cannot do. Of several outputs one whose `loss_weights` are 0, and metrics
that were given in the place of `loss_weights`.

## Why the model does not learn
With 3 % foreground the background already weighs 32 times as much. Weights meant to mend that, given in the wrong
order, square it: nothing but background pays. A weight of 1 / 0 for a class that never occurs makes the loss NaN or
infinite.

## What to do
Inverse frequencies, clipped: the finding prints them for this data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.perfect_prediction import Probe, Probed
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LOS004", "error"

_MOST = 50.0
_HELPER = re.compile(r"aux|deep|side|edge|bound|helper")
_NOTHING = 1e-6  # weight up to which a pixel costs nothing


def check(
    heads: Sequence[Head],
    encodings: Mapping[str, Encoding],
    *,
    max_imbalance: float = 100.0,
    max_reversed: float = 5.0,
    certain_reversed: float = 10.0,
    perfect_prediction: Mapping[str, Probe] | None = None,
    class_weight: Mapping[int, float] | None = None,
) -> Verdict:
    measured: dict[str, Any] = {"class_weight": str(dict(class_weight)) if class_weight else None}
    judged = [head for head in heads if head.loss is not None and head.name in encodings]
    if not judged:
        return NotApplicable("no output has both a loss and a target")
    weighed = next(filter(None, (_weight_of_output(head, len(judged)) for head in judged)), None)
    if weighed is not None:
        return weighed
    for head in judged:
        encoding = encodings[head.name]
        share = np.array(encoding.frequencies)
        good = _inverse(share)
        measured = {
            "head": head.name,
            "loss": head.loss_name,
            "class_weight": str(dict(class_weight)) if class_weight else None,
            "class_shares": {str(i): float(value) for i, value in enumerate(share)},
        }
        if class_weight and len(encoding.shape) > 2:
            return Finding(
                says=f"`fit(class_weight=…)` wants one class per sample, and these masks, shape {encoding.shape}, "
                f"have one per "
                "pixel: Keras stops with an error, or takes one row for all.",
                measured=measured,
                fix=f"`sample_weight = np.array({good})[masks]` as a third array, weights by class id for this data, "
                f"in "
                "place of `class_weight`.",
                where=head.place,
            )
        probe = (perfect_prediction or {}).get(head.name)
        probed = probe.loss if probe is not None else None
        weights = _weights(encoding, probed)
        measured["pixel_weights"] = {
            str(i): float(value) if np.isfinite(value) else str(value) for i, value in enumerate(weights)
        }
        broken = [i for i, value in enumerate(weights) if not np.isfinite(value)]
        if broken and _finite_otherwise(probed, encoding):
            return Finding(
                says=f"The weight of class {broken[0]} is {weights[broken[0]]}: dividing by the 0 pixels of a class, "
                f"most likely.",
                measured=measured,
                fix=f"`class_weights = {good}`.",
                where=head.place,
            )
        present = np.flatnonzero(share > 0)
        counted = [i for i in present if not weights[i] <= _NOTHING]
        if len(present) > 1 and len(counted) <= 1:
            left = f"a pixel of class {counted[0]} alone costs anything" if counted else "no pixel costs anything"
            return Finding(
                says=f"By its weights {left}: {', '.join(f'class {i} counts {weights[i]:.2g}' for i in present[:4])}. "
                "The same answer everywhere is the best there is.",
                measured=measured,
                fix=f"A weight above 0 for all classes, 0 for void alone: `class_weights = {good}`, by class id.",
                where=head.place,
            )
        if probed is not None and probed.alike:
            return _untold(head, probed.alike, good, measured)
        limits = (max_imbalance, max_reversed, certain_reversed)
        if encoding.kind == "multilabel" and probed is not None:
            finding = _reversed_marks(head, encoding, probed.mark_weights, measured, limits)
        else:
            names = [f"class {class_id}" for class_id in range(len(share))]
            finding = _reversed(head, names, share, weights, f"`class_weights = {good}`, by class id", measured, limits)
        if finding is not None:
            return finding
    return Healthy(measured)


def _weight_of_output(head: Head, outputs: int) -> Finding | None:
    if head.odd_weight:
        return Finding(
            says=f"`loss_weights` holds `{head.odd_weight}`, which is no number: in Keras 3 the third argument of "
            "`compile` is `loss_weights`, where Keras 2 had `metrics`, and `fit` stops with an error.",
            measured={"head": head.name, "loss_weight": head.odd_weight},
            fix=f"`model.compile(optimizer, loss, metrics=[{head.odd_weight}])`.",
            where=head.place,
        )
    if head.loss_weight == 0 and outputs > 1 and not _HELPER.search(head.name.lower()):
        return Finding(
            says=f"The loss of the output `{head.name}` is multiplied by a weight of 0: nothing trains what leads to "
            "it alone.",
            measured={"head": head.name, "loss_weight": 0.0},
            fix=f'`loss_weights={{"{head.name}": 1.0, …}}`.',
            where=head.place,
            level="suspected",  # a helper may be switched off on purpose
        )
    return None


def _untold(head: Head, alike: Sequence[tuple[int, int]], good: list[float], measured: Mapping[str, Any]) -> Finding:
    one, other = alike[0]
    more = f", nor {len(alike) - 1} other pairs of classes" if len(alike) > 1 else ""
    return Finding(
        says=f"{head.loss_name} does not tell class {one} from class {other}{more}: exchanging them in a perfect "
        "prediction costs nothing, so nothing is learned about them.",
        measured={**measured, "pairs_not_told_apart": len(alike)},
        fix=f"A weight above 0 for every class that is to be predicted: `class_weights = {good}`.",
        where=(head.loss_name,),
    )


def _inverse(share: np.ndarray) -> list[float]:
    """Inverse frequencies, the commonest class 1, clipped; an absent class counts as the commonest."""
    present = share > 0
    inverse = np.where(present, share.max(initial=0.0) / np.where(present, share, 1.0), 1.0)
    return [round(float(value), 2) for value in np.minimum(inverse, _MOST)]


def _weights(encoding: Encoding, probed: Probed | None) -> np.ndarray:
    """What a pixel of each class counts: by the loss, times its mean sample weight."""
    count = len(encoding.frequencies)
    of_loss = probed.class_weights if probed is not None else ()
    weights = np.array(of_loss) if len(of_loss) == count else np.ones(count)
    sums, pixels = np.zeros(count), np.zeros(count)
    for target, weight in zip(encoding.arrays, encoding.weights, strict=True):
        if weight is None:
            continue
        ids = encoding.ids(target)
        plane = weight[..., 0] if weight.ndim == ids.ndim + 1 and weight.shape[-1] == 1 else weight
        if plane.ndim < ids.ndim:
            plane = plane.reshape(plane.shape + (1,) * (ids.ndim - plane.ndim))
        try:
            plane = np.broadcast_to(plane, ids.shape)
        except ValueError:  # fit() says what is wrong with such weights itself
            continue
        valid = ids >= 0
        sums += np.bincount(ids[valid], weights=plane[valid].astype("float64"), minlength=count)[:count]
        pixels += np.bincount(ids[valid], minlength=count)[:count]
    seen = pixels > 0
    return weights * np.where(seen, sums / np.where(seen, pixels, 1), 1.0)


def _finite_otherwise(probed: Probed | None, encoding: Encoding) -> bool:
    """Whether it is a weight that is not finite, and not the whole loss."""
    if any(w is not None and not np.isfinite(w).all() for w in encoding.weights):
        return True
    if probed is None or not probed.class_weights:
        return False
    return bool(np.isfinite(probed.class_weights).any()) or not probed.ever_finite


def _reversed_marks(
    head: Head,
    encoding: Encoding,
    weights: Sequence[float],
    measured: Mapping[str, Any],
    limits: tuple[float, float, float],
) -> Finding | None:
    """The same for each of several planes: its marked pixels against the others."""
    shares = np.mean([(target == 1).mean(axis=tuple(range(target.ndim - 1))) for target in encoding.arrays], axis=0)
    good = [round(float(min((1 - share) / share, _MOST)), 2) if share > 0 else 1.0 for share in shares]
    measured = {**measured, "marked": str(np.round(shares, 5).tolist()), "marked_counts": str(np.round(weights, 4))}
    for plane, (share, weight) in enumerate(zip(shares, weights, strict=False)):
        names = (f"what plane {plane} leaves out", f"what plane {plane} marks")
        fix = f"`positive_weight = {good}`, plane by plane"
        both = np.array([1 - share, share]), np.array([1.0, weight])
        if (finding := _reversed(head, names, *both, fix, measured, limits)) is not None:
            return finding
    return None


def _reversed(
    head: Head,
    names: Sequence[str],
    share: np.ndarray,
    weights: np.ndarray,
    fix: str,
    measured: Mapping[str, Any],
    limits: tuple[float, float, float],
) -> Finding | None:
    max_imbalance, max_reversed, certain_reversed = limits
    present = np.flatnonzero((share > 0) & np.isfinite(weights) & (weights > _NOTHING))
    if len(present) < 2:
        return None
    common = int(present[np.argmax(share[present])])
    total = share * weights
    rare = int(min(present, key=lambda i: total[i]))
    ratio, backwards = total[common] / total[rare], weights[common] / weights[rare]
    if ratio > max_imbalance and backwards > max_reversed:
        return Finding(
            says=f"A pixel of {names[rare]} ({share[rare]:.2%} of all) counts {1 / backwards:.2g} times one of "
            f"{names[common]} ({share[common]:.1%}): together {names[common]} weighs {ratio:.0f} times as much, "
            f"{share[common] / share[rare]:.0f} without weights.",
            measured=measured,
            fix=f"{fix}: what is rare gets more.",
            where=(head.loss_name,),
            level="proven" if backwards > certain_reversed else "suspected",
        )
    heavy = int(max(present, key=lambda i: total[i]))
    if (
        heavy != common
        and total[heavy] / total[common] > max_imbalance
        and weights[heavy] / weights[common] > max_imbalance
    ):
        return Finding(
            says=f"A pixel of {names[heavy]} ({share[heavy]:.2%} of all) counts so much that all of them weigh "
            f"{total[heavy] / total[common]:.0f} times as much as {names[common]} ({share[common]:.1%}): predicting "
            "it everywhere is cheapest.",
            measured=measured,
            fix=f"{fix}.",
            where=(head.loss_name,),
            level="suspected",
        )
    return None


def _weighted(weights: Sequence[float]) -> Any:
    def weighted_crossentropy(y_true: Any, y_pred: Any) -> Any:
        import keras

        pixel = keras.ops.sum(keras.ops.convert_to_tensor(np.array(weights, "float32")) * y_true, axis=-1)
        return pixel * keras.losses.categorical_crossentropy(y_true, y_pred)

    return weighted_crossentropy


def sick() -> Case:
    batches = squares("one-hot", num_classes=2, foreground=0.2)
    return Case(model=segmenter(2, "softmax"), loss=_weighted([0.96, 0.04]), batches=batches)


def _of_marks(weight: float) -> Case:
    """Two nested planes, whose marked pixels count `weight` times the others."""

    def crossentropy(y_true: Any, y_pred: Any) -> Any:
        import keras

        y_pred = keras.ops.clip(y_pred, 1e-6, 1 - 1e-6)
        yes = weight * y_true * keras.ops.log(y_pred)
        return -keras.ops.mean(yes + (1 - y_true) * keras.ops.log(1 - y_pred), axis=-1)

    drawn = squares("ids", foreground=0.2)
    batches = [Batch(b.x, np.stack([b.y > 0, b.y > 1], -1).astype("float32")) for b in drawn]
    return Case(model=segmenter(2, "sigmoid"), loss=crossentropy, batches=batches)


def sick_planes() -> Case:
    return _of_marks(0.02)


def healthy_planes() -> Case:
    return _of_marks(5.0)


def sick_by_zeros() -> Case:
    batches = squares("one-hot", num_classes=3, foreground=0.2)
    return Case(model=segmenter(3, "softmax"), loss=_weighted([1.0, 0.0, 0.0]), batches=batches)


def sick_by_sample_weights() -> Case:
    batches = [Batch(b.x, b.y, (b.y[..., 0] == 0).astype("float32")) for b in squares("binary", num_classes=2)]
    return Case(model=segmenter(1, "sigmoid"), loss="binary_crossentropy", batches=batches)


def sick_by_metrics_for_weights() -> Case:
    case = healthy()
    case.model.compile("adam", case.loss, ["accuracy"])
    return case


def healthy() -> Case:
    batches = squares("one-hot", num_classes=2, foreground=0.2)
    return Case(model=segmenter(2, "softmax"), loss=_weighted([0.04, 0.96]), batches=batches)


def healthy_without_the_background() -> Case:
    batches = squares("one-hot", num_classes=3, foreground=0.2)
    return Case(model=segmenter(3, "softmax"), loss=_weighted([0.0, 1.0, 1.0]), batches=batches)
