"""Collapse, and falls that are regularization: judged only where there was a training."""

from __future__ import annotations

from dataclasses import replace

import keras

from segnosis.doctor.case import Case
from segnosis.doctor.check import find
from segnosis.doctor.counterfactual import compare
from segnosis.doctor.examine import examine
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import AnyVerdict, Finding, Healthy, NotApplicable


def verdict(code: str, case: Case) -> AnyVerdict:
    return examine(case, checks=[find(code)]).verdicts[0]


def collapsed() -> Case:
    return find("OUT001").module.sick()  # type: ignore[no-any-return]


def test_an_untrained_model_is_not_judged() -> None:
    model = segmenter(1, "sigmoid")
    case = Case(model=model, loss="binary_crossentropy", optimizer="adam", batches=squares("binary", num_classes=2))
    assert isinstance(verdict("OUT001", case), NotApplicable)


def test_a_loss_that_still_falls_is_no_collapse() -> None:
    case = replace(collapsed(), history={"loss": [0.9, 0.7, 0.5, 0.4, 0.3, 0.2]})
    assert isinstance(verdict("OUT001", case), Healthy)


def test_it_is_folded_under_a_proven_cause() -> None:
    case = collapsed()
    case.model.get_layer("encoder_conv").trainable = False
    diagnosis = examine(case, checks=[find("NRM003"), find("OUT001")])
    assert diagnosis.cause is not None and diagnosis.cause.code == "NRM003"
    assert diagnosis.cause.explains == ("OUT001",)


def test_the_mended_loss_adds_a_dice_term_in_every_encoding() -> None:
    module = find("OUT001").module
    for channels, activation, encoding in ((1, None, "binary"), (3, "softmax", "ids"), (3, "softmax", "one-hot")):
        loss = {
            "binary": keras.losses.BinaryCrossentropy(from_logits=True),
            "ids": "sparse_categorical_crossentropy",
            "one-hot": "categorical_crossentropy",
        }[encoding]
        batches = squares(encoding, num_classes=max(2, channels))  # type: ignore[arg-type]
        case = Case(model=segmenter(channels, activation), loss=loss, optimizer="adam", batches=batches)
        compared = compare(case, module.mend(case), steps=20, seeds=2)
        assert len(compared.mended) == 2 and all(0 <= value <= 1 for value in compared.mended)


def test_heavy_decay_of_a_model_that_learns_is_fine() -> None:
    history = {"data_loss": [0.9, 0.6, 0.3], "regularization": [4.0, 3.0, 2.0]}
    assert isinstance(verdict("OUT002", Case(history=history)), Healthy)


def test_the_story_of_the_loss_above_one() -> None:
    history = {"data_loss": [0.888, 0.885, 0.88], "regularization": [1.063, 0.9, 0.7]}
    found = verdict("OUT002", Case(history=history))
    assert isinstance(found, Finding) and "1.95 to 1.58" in found.says
