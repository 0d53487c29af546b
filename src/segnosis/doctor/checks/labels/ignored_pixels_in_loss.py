"""Pixels that are no class take part in the loss.

## What it looks for
A value beside the classes (255, 254, −1, or one more than the last class) that lies where void pixels lie, in thin
borders around objects or in bands along the edge of the image, and a loss whose gradient at those pixels is not 0. A
declared `ignore_class`, a sample weight of 0 there, or a loss that masks them itself leaves no gradient, and nothing
is said, unless the loss raises at the value before the weight can take it out.

## Why the model does not learn
255 is no class of a 21-class head: the loss is NaN or an error on one backend, silently 0 on another. As a one-hot
value it multiplies the loss by 255: 3234 instead of 3.56 on one VOC batch. Where it is merely counted, the model
paints borders.

## What to do
`ignore_class=255` in the loss and in every metric, or a `sample_weight` that is 0 there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segnosis.doctor.case import Case
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

if TYPE_CHECKING:
    from segnosis.doctor.evidence.encodings import Encoding
    from segnosis.doctor.evidence.heads import Head
    from segnosis.doctor.evidence.loss_gradients import LossGradient

CODE, SEVERITY = "LAB002", "error"
EXPLAINED_BY = ("LAB001",)

_ALWAYS_VOID = (255.0, 254.0, -1.0, -100.0)


@dataclass(frozen=True)
class _Void:
    value: float
    share: float
    border: float


def check(
    heads: Sequence[Head],
    encodings: Mapping[str, Encoding],
    *,
    min_share: float = 1e-4,
    min_border: float = 0.5,
    loss_gradients: Mapping[str, LossGradient] | None = None,
) -> Verdict:
    measured: dict[str, float | str | None] = {"void_value": None}
    judged = [head for head in heads if head.loss is not None and head.name in encodings]
    if not judged:
        return NotApplicable("no output has both a loss and a target")
    for head in judged:
        encoding = encodings[head.name]
        void = _void(encoding, min_share, min_border)
        if void is None or (head.independent and encoding.kind == "ids"):  # ids in place of planes: LAB007
            continue
        slope = (loss_gradients or {}).get(head.name)
        at_void = _gradient_share(encoding, slope, void.value)
        value = slope.values[0] if slope is not None and slope.values else None
        measured = {
            "head": head.name,
            "void_value": void.value,
            "void_share": void.share,
            "thin_or_at_the_edge": void.border,
            "ignore_class": _ignored(head),
            "loss": value if value is None or np.isfinite(value) else "not finite",
            "gradient_share_at_void": at_void if at_void is None or np.isfinite(at_void) else "not finite",
            "loss_raised": slope.raised if slope is not None else None,
        }
        raises = slope is not None and slope.raised and slope.raised_by_values
        if _ignored(head) == void.value or (_weighted_out(encoding, void.value) and not raises):
            continue
        if at_void is not None and at_void == 0.0 and not (slope and slope.raised):
            if head.family == "sparse":
                return _diluted(head, void, measured)
            continue
        if slope is not None and slope.raised and not slope.raised_by_values:
            continue
        if slope is None and not head.family:
            return NotApplicable(f"what {head.loss_name} makes of the value {void.value:g} takes a gradient to tell")
        proven = slope is not None
        return Finding(
            says=f"{void.share:.1%} of the mask pixels are {void.value:g}, which is no class of the "
            f"{encoding.num_classes}, and "
            f"they {_effect(at_void, value, slope)}.",
            measured=measured,
            fix=_fix(head, encoding, void.value),
            where=head.place,
            level="proven" if proven else "suspected",
        )
    return Healthy(measured)


def _void(encoding: Encoding, min_share: float, min_border: float) -> _Void | None:
    """The one value beside the classes that lies as void pixels do."""
    outside = encoding.no_class
    if len(outside) != 1 or encoding.kind not in ("ids", "one-hot", "other", "multilabel", "binary"):
        return None
    ((value, share),) = outside.items()
    inside = {v for v in encoding.values if v != value}
    if share < min_share or value not in (*_ALWAYS_VOID, encoding.num_classes):
        return None
    if len(inside) < 2:
        return None  # {0, 255} is a binary mask that was not scaled, {−1, 1} one for a hinge loss
    if encoding.kind == "multilabel" and not any(_beside_ones(array, value) for array in encoding.arrays):
        return None  # the same of one plane among several
    border = float(np.mean([_border_share(_plane(array, value)) for array in encoding.arrays]))
    certain = value in _ALWAYS_VOID and {0.0, 1.0} <= inside
    return _Void(value, share, border) if border >= min_border or certain else None


def _beside_ones(array: np.ndarray, value: float) -> bool:
    """Whether a plane that holds the value holds 1 as well."""
    planes = array.reshape(-1, array.shape[-1])
    return bool(((planes == value).any(axis=0) & (planes == 1).any(axis=0)).any())


def _plane(array: np.ndarray, value: float) -> np.ndarray:
    """Where the void is, `(batch, height, width)`."""
    at = array == value
    return at.any(axis=-1) if at.ndim == 4 else at


def _border_share(void: np.ndarray) -> float:
    """Share of void pixels that belong to thin lines or to bands along the edge of the image."""
    if not void.any() or void.ndim != 3:
        return 0.0
    from scipy import ndimage as nd

    thick = nd.binary_opening(void, np.ones((1, 7, 7)))
    labels, count = nd.label(void, np.array([[[0] * 3] * 3, [[1] * 3] * 3, [[0] * 3] * 3]))
    edge = np.unique(
        np.concatenate([labels[:, 0].ravel(), labels[:, -1].ravel(), labels[:, :, 0].ravel(), labels[:, :, -1].ravel()])
    )
    at_edge = np.isin(labels, edge[edge > 0]) if count else np.zeros_like(void)
    return float((void & (~thick | at_edge)).sum() / void.sum())


def _gradient_share(encoding: Encoding, slope: LossGradient | None, value: float) -> float | None:
    """Share of the loss' gradient that pulls at void pixels; NaN when the gradient is not finite."""
    if slope is None or not slope.arrays:
        return None
    shares = []
    for target, gradient in zip(encoding.arrays, slope.arrays, strict=False):
        void = _plane(target[: len(gradient)], value)
        if void.shape != gradient.shape[:-1]:
            void = void.reshape(gradient.shape[:-1]) if void.size == gradient[..., 0].size else void[..., 0]
        size = np.abs(gradient).sum(axis=-1)
        if not np.isfinite(size).all():
            return float("nan")
        if void.any() and size.sum():
            shares.append(float(size[void].sum() / size.sum()))
    return float(np.mean(shares)) if shares else None


def _weighted_out(encoding: Encoding, value: float) -> bool:
    """Whether the sample weights are 0 at void pixels."""
    seen = False
    for target, weight in zip(encoding.arrays, encoding.weights, strict=True):
        if weight is None:
            return False
        void = _plane(target, value)
        plane = weight[..., 0] if weight.ndim == void.ndim + 1 else weight
        if plane.shape != void.shape:
            return False
        seen = seen or bool(void.any())
        if void.any() and np.abs(plane[void]).max() > 0:
            return False
    return seen


def _ignored(head: Head) -> float | None:
    from segnosis.doctor.capture import ignore_class_of

    ignored = ignore_class_of(head.loss)
    return None if ignored is None else float(ignored)


def _diluted(head: Head, void: _Void, measured: Mapping[str, float | str | None]) -> Finding:
    return Finding(
        says=f"{void.share:.1%} of the mask pixels are {void.value:g}, which is no class; this backend counts them "
        f"with a loss "
        f"of 0, so the printed loss is {1 - void.share:.2f} times what it is on real pixels, and other backends fail.",
        measured=measured,
        fix=f"`{_with_ignore(head, void.value)}`, and `ignore_class={void.value:g}` in the metrics.",
        where=head.place,
        level="proven",
        severity="warning",
    )


def _effect(at_void: float | None, value: float | None, slope: LossGradient | None) -> str:
    if slope is not None and slope.raised:
        return f"make the loss raise ({slope.raised})"
    if at_void is None:
        return "are not ignored by the loss"
    if not np.isfinite(at_void) or (value is not None and not np.isfinite(value)):
        return "make the loss NaN"
    return f"take {at_void:.0%} of the loss' gradient (loss {value:.3g})"


def _with_ignore(head: Head, value: float) -> str:
    logits = ", from_logits=True" if head.from_logits else ""
    return f"loss=keras.losses.SparseCategoricalCrossentropy(ignore_class={value:g}{logits})"


def _fix(head: Head, encoding: Encoding, value: float) -> str:
    metrics = f"`ignore_class={value:g}` in the metrics that take it"
    if head.family == "sparse":
        return f"`{_with_ignore(head, value)}`, and {metrics}."
    weight = f"(masks != {value:g})"
    plane = f"{weight}.all(axis=-1)" if encoding.has_axis and encoding.shape[-1] > 1 else weight
    return (
        f'`sample_weight = {plane}.astype("float32")` and `masks = np.where(masks == {value:g}, 0, masks)`, passed to '
        f"`fit(x, masks, sample_weight=sample_weight)`; or `segnosis.losses` with `ignore_class={value:g}`; {metrics}."
    )


def sick() -> Case:
    return Case(
        model=segmenter(3, "softmax"), loss="sparse_categorical_crossentropy", batches=squares(void=255, foreground=0.3)
    )


def healthy() -> Case:
    import keras

    return Case(
        model=segmenter(3, "softmax"),
        loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=255),
        batches=squares(void=255, foreground=0.3),
    )
