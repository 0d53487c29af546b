"""What the model predicts now, against the masks: counted per image from class ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head

PRICE = "batch"


@dataclass(frozen=True)
class Image:
    """One image.

    Attributes:
        name: Batch and sample.
        true, predicted: Share of its labelled pixels that are foreground in the mask and in the prediction.
        dice: Dice of foreground against background; `None` without foreground in either.
        inverted: The same, were the mask the other way round.
    """

    name: str
    true: float
    predicted: float
    dice: float | None
    inverted: float | None


@dataclass(frozen=True)
class Predictions:
    """The first output that has readable targets.

    Attributes:
        head: Its name.
        classes: Ids predicted anywhere.
        true_classes: Ids in the masks.
        foreground: Share of labelled pixels that are foreground.
        mean_probability: Mean predicted probability of foreground, `None` for outputs that are no probabilities.
        images: The images.
    """

    head: str
    classes: tuple[int, ...]
    true_classes: tuple[int, ...]
    foreground: float
    mean_probability: float | None
    images: tuple[Image, ...]


def measure(heads: Sequence[Head], encodings: Mapping[str, Encoding], forward: Mapping[str, Output]) -> Predictions:
    """From the outputs of the first batches in inference mode."""
    for head in heads:
        encoding, output = encodings.get(head.name), forward.get(head.name)
        if encoding is not None and output is not None and encoding.kind in ("ids", "binary", "one-hot"):
            return _counted(head, encoding, output)
    raise Unavailable("no output has targets that are class ids, one-hot or binary masks")


def _counted(head: Head, encoding: Encoding, output: Output) -> Predictions:
    images: list[Image] = []
    seen: set[int] = set()
    truth: set[int] = set()
    probabilities = []
    is_probability = output.format in ("probabilities", "sigmoid")
    for number, (target, array) in enumerate(zip(encoding.arrays, output.arrays, strict=False)):
        ids = encoding.ids(target[: len(array)])
        if array.shape[-1] == 1:
            guess = (array[..., 0] > (0.5 if is_probability else 0.0)).astype("int64")
            probabilities.append(float(array.mean()))
        else:
            guess = array.argmax(axis=-1)
            probabilities.append(float(1 - array[..., 0].mean()))
        if guess.shape != ids.shape:
            raise Unavailable("output and target differ in size")
        for row, (true, predicted) in enumerate(zip(ids, guess, strict=True)):
            valid = true >= 0
            if not valid.any():
                continue
            a, b = true[valid] > 0, predicted[valid] > 0
            seen |= set(np.unique(predicted[valid]).tolist())
            truth |= set(np.unique(true[valid]).tolist())
            images.append(
                Image(f"batch {number}, sample {row}", float(a.mean()), float(b.mean()), _dice(a, b), _dice(~a, b))
            )
    if not images:
        raise Unavailable("no pixel of the batches has a label")
    return Predictions(
        head=head.name,
        classes=tuple(sorted(seen)),
        true_classes=tuple(sorted(truth)),
        foreground=float(np.mean([image.true for image in images])),
        mean_probability=float(np.mean(probabilities)) if is_probability else None,
        images=tuple(images),
    )


def _dice(a: np.ndarray, b: np.ndarray) -> float | None:
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else None
