"""Whether the backend undoes a second activation: TensorFlow looks for the logits behind a soft-max."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import Raised, ask_loss, loss_tensor
from segnosis.doctor.autodiff import as_fit_sees
from segnosis.doctor.batches import as_tensors
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.perfect_prediction import Probe
from segnosis.doctor.snapshot import untouched

PRICE = "batch"

_MOST_IMAGES = 4
_NEAR = 0.05
"""How near the live loss comes to that on logits, in distances of both from the loss on the numbers."""


def measure(
    model: keras.Model,
    heads: Sequence[Head],
    batches: Sequence[Batch],
    encodings: Mapping[str, Encoding],
    forward: Mapping[str, Output],
    perfect_prediction: Mapping[str, Probe],
) -> Mapping[str, bool]:
    """Output name → whether its loss on the model's live output is its loss on the logits behind the same numbers.

    Only outputs that are probabilities under a loss for logits are asked; elsewhere there is nothing to repair.
    """
    found = {}
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of the very thing that is looked for
        for head in heads:
            probe = perfect_prediction.get(head.name)
            if probe is None or probe.loss is None or probe.loss.takes != "logits":
                continue
            if forward[head.name].format not in ("probabilities", "sigmoid"):
                continue
            found[head.name] = keras.backend.backend() == "tensorflow" and _undone(
                model, head, batches[0], encodings[head.name], forward[head.name]
            )
    return found


def _undone(model: keras.Model, head: Head, batch: Batch, encoding: Encoding, output: Output) -> bool:
    """Image by image: on one alone the two losses may be equal by chance, as where a young network says uniform.

    A sum of losses of which one is repaired is neither: there the others still see a second activation.
    """
    undone = False
    for one in range(min(_MOST_IMAGES, len(output.arrays[0]))):
        only = slice(one, one + 1)
        y, y_pred = encoding.arrays[0][only], output.arrays[0][only]
        plain = ask_loss(head.loss, y, y_pred)
        sure = np.clip(y_pred.astype("float64"), 1e-7, 1 - 1e-7)
        logits = np.log(sure) if output.format == "probabilities" else np.log(sure / (1 - sure))
        on_logits = ask_loss(head.loss, y, logits.astype("float32"))
        if isinstance(plain, Raised) or isinstance(on_logits, Raised):
            return False
        if abs(on_logits - plain) <= 1e-4 * max(abs(on_logits), abs(plain)):
            continue
        x = as_tensors(batch.x, only)

        def of_model(x: Any = x, y: np.ndarray = y) -> Any:
            return loss_tensor(head.loss, y, keras.tree.flatten(model(x, training=False))[head.index])

        live = as_fit_sees(of_model)
        if abs(live - on_logits) > _NEAR * abs(on_logits - plain):
            return False
        undone = True
    return undone
