"""The head has another number of channels than there are classes, or normalizes over the wrong axis.

## What it looks for
A soft-max over a single channel; a soft-max over height or width; one channel for three classes or more, or fewer
channels than the class ids of the masks, which run from 0 without a gap; a cross-entropy over classes on a single
channel; one-hot masks of another depth than the head; a soft-max where pixels belong to several classes at once. Masks
of `max_gap_classes` values or more are taken for something else.

## Why the model does not learn
A soft-max over one channel is 1 everywhere, whatever the weights. Over the rows of the image it makes pixels compete
instead of classes. A class without a channel cannot be predicted.

## What to do
One channel with a sigmoid for two classes, or one channel per class, background included, with a soft-max over the
last axis.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segnosis.doctor.ask import Raised
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.label_space import LabelSpace
from segnosis.doctor.evidence.loss_parts import LossParts
from segnosis.doctor.evidence.numbered_objects import NumberedObjects
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "HED003", "error"

_SEVERAL = 1e-3  # share of pixels


def check(
    heads: Sequence[Head],
    *,
    max_gap_classes: int = 255,
    encodings: Mapping[str, Encoding] | None = None,
    forward: Mapping[str, Output] | None = None,
    loss_parts: LossParts | None = None,
    numbered_objects: NumberedObjects | None = None,
    label_space: LabelSpace | None = None,
) -> Verdict:
    measured: dict[str, float | str | None] = {}
    ignored = label_space.ignore if label_space is not None else frozenset()
    for head in heads:
        encoding, output = (encodings or {}).get(head.name), (forward or {}).get(head.name)
        channels = head.shape[-1] if head.shape else encoding.channels if encoding else None
        numbers = numbered_objects is not None and numbered_objects.sure  # of objects, not of classes: LAB003, LAB001
        counts = not numbers and not head.independent  # of planes there are no ids to count: LAB007
        classes = _classes_from_zero(encoding, ignored, max_gap_classes) if counts else None
        measured = {"head": head.name, "channels": channels, "classes_in_masks": classes, "loss": head.loss_name}
        raises = loss_parts is not None and isinstance(loss_parts.outputs.get(head.name), Raised)
        problems = [
            judge(head, channels, classes, encoding, output)
            for judge in (_one_channel, _wrong_axis, _too_few, _several_at_once)
        ]
        if head.family is not None or raises:  # a loss of one's own may take more planes than there are classes
            problems.append(_other_depth(head, channels, encoding))
        for problem in problems:
            if problem is not None:
                says, fix = problem
                return Finding(says=says, measured=measured, fix=fix, where=head.place)
        if head.sigmoids and head.family in ("sparse", "one-hot"):
            return Finding(
                says=f"`{head.place[0]}` gives {channels} independent sigmoids, and {head.loss_name} takes them for "
                f"one "
                "distribution over classes.",
                measured=measured,
                fix=f'`activation="softmax"` in `{head.place[0]}`.',
                where=head.place,
                level="suspected",
                severity="warning",
            )
    return Healthy(measured)


def _classes_from_zero(encoding: Encoding | None, ignored: frozenset[float], most: int) -> int | None:
    """Number of class ids when they run 0, 1, 2 … without a gap; `None` when they do not or are something else."""
    if encoding is None or encoding.kind not in ("ids", "binary") or not encoding.values:
        return None
    values = sorted(set(encoding.values) - ignored)
    while len(values) > 1 and values[-1] > values[-2] + 1:  # a void value above the classes
        values.pop()
    whole = values == [float(i) for i in range(len(values))]
    return len(values) if whole and 1 < len(values) < most else None


_Problem = tuple[str, str] | None


def _one_channel(
    head: Head, channels: int | None, classes: int | None, encoding: Encoding | None, output: Output | None
) -> _Problem:
    if channels != 1:
        return None
    binary = (
        f'`Conv2D(1, 1, activation="sigmoid")` with `keras.losses.BinaryCrossentropy()` as `{head.layer or head.name}`'
    )
    if any(step.does == "softmax" and step.axis == -1 for step in head.activations) or (
        output is not None and output.low == output.high == 1.0 and not head.known
    ):
        return (
            f"`{head.place[0]}` is a soft-max over a single channel: it gives 1.0 at every pixel, whatever the "
            f"weights are.",
            f"{binary}, or `Conv2D(2, 1)` for a soft-max over two classes.",
        )
    if head.family in ("sparse", "one-hot"):
        return (
            f"{head.loss_name} compares classes by their channels, and `{head.place[0]}` has one channel: "
            "there is nothing to choose from.",
            f"{binary}, or as many channels as classes.",
        )
    return None


def _wrong_axis(
    head: Head, channels: int | None, classes: int | None, encoding: Encoding | None, output: Output | None
) -> _Problem:
    import keras

    if keras.config.image_data_format() == "channels_first":
        return None
    step = next((step for step in head.activations if step.does == "softmax" and step.axis != -1), None)
    over = output.sums_to_one_over if output is not None else None
    last = len(output.arrays[0].shape) - 1 if output is not None else None
    if step is None and (over is None or over == last or head.known):
        return None
    layer = step.layer if step else head.place[0]
    axis = step.axis if step else over
    return (
        f"`{layer}` applies the soft-max over axis {axis}: positions in the image compete there, not the "
        f"{channels or ''} classes.",
        f"`keras.layers.Softmax(axis=-1)` in place of `{layer}`.",
    )


def _too_few(
    head: Head, channels: int | None, classes: int | None, encoding: Encoding | None, output: Output | None
) -> _Problem:
    if channels is None or classes is None or classes <= max(2, channels):
        return None
    return (
        f"The masks hold {classes} classes, 0 to {classes - 1}, and `{head.place[0]}` has {channels} "
        f"channel{'s' if channels > 1 else ''}, enough for {max(2, channels)}.",
        f"`Conv2D({classes}, 1)` as `{head.layer or head.name}`, with a soft-max and "
        "`keras.losses.SparseCategoricalCrossentropy()`.",
    )


def _several_at_once(
    head: Head, channels: int | None, classes: int | None, encoding: Encoding | None, output: Output | None
) -> _Problem:
    """A soft-max where pixels belong to several classes."""
    if encoding is None or encoding.kind != "multilabel" or channels is None or channels < 2:
        return None
    ends = head.activations[-1:]
    sums = output is not None and output.sums_to_one_over == len(output.arrays[0].shape) - 1
    if not (ends and ends[0].does == "softmax") and not (sums and not head.known):
        return None
    several = float(np.mean([np.mean(array.sum(axis=-1) > 1) for array in encoding.arrays]))
    if several < _SEVERAL:
        return None
    return (
        f"{several:.1%} of the pixels belong to two or more of the {channels} classes, and `{head.place[0]}` gives one "
        "soft-max over them: no pixel can be given more than one.",
        f'`activation="sigmoid"` in `{head.place[0]}`, with a binary loss per class.',
    )


def _other_depth(head: Head, channels: int | None, encoding: Encoding | None) -> _Problem:
    if encoding is None or not encoding.has_axis or encoding.kind not in ("one-hot", "multilabel", "soft"):
        return None
    depth = encoding.shape[-1]
    if channels is None or depth in (1, channels):
        return None
    return (
        f"The masks are one-hot of {depth} classes, and `{head.place[0]}` has {channels} "
        f"channel{'s' * (channels > 1)}.",
        f"`Conv2D({depth}, 1)` as `{head.layer or head.name}`.",
    )


def sick() -> Case:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of this soft-max too
        model = segmenter(1, "softmax")
    return Case(model=model, loss="binary_crossentropy", batches=squares("binary", num_classes=2))


def sick_with_overlapping_classes() -> Case:
    batches = []
    for batch in squares("one-hot"):
        y = np.array(batch.y)
        y[..., 2] = np.maximum(y[..., 2], y[..., 1])
        batches.append(Batch(batch.x, y))
    return Case(model=segmenter(3, "softmax"), loss="binary_crossentropy", batches=batches)


def sick_with_deeper_masks() -> Case:
    return Case(
        model=segmenter(3, "softmax"), loss="categorical_crossentropy", batches=squares("one-hot", num_classes=4)
    )


def sick_with_deeper_masks_and_a_loss_of_its_own() -> Case:
    import keras

    def overlap(y_true: Any, y_pred: Any) -> Any:
        return 1 - keras.ops.mean(y_true * y_pred)

    return Case(model=segmenter(3, "softmax"), loss=overlap, batches=squares("one-hot", num_classes=4))


def healthy() -> Case:
    return Case(model=segmenter(1, "sigmoid"), loss="binary_crossentropy", batches=squares("binary", num_classes=2))


def healthy_void_after_the_last_class() -> Case:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=3)
    batches = squares("ids", num_classes=3)
    for batch in batches:
        batch.y[:, 0] = 3
    return Case(model=segmenter(3, "softmax"), loss=loss, batches=batches)
