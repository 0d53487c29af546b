"""`segnosis.Watch`: the doctor as a callback, saying what it finds while the model trains."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from segnosis.core.run_folder import write_bytes
from segnosis.doctor.batches import Drawn, Limits, draw
from segnosis.doctor.capture import build_case
from segnosis.doctor.case import Case
from segnosis.doctor.check import Check, all_checks
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.examine import Evidence, examine, merge
from segnosis.doctor.independent_scores import IndependentScores, few_samples
from segnosis.doctor.random_state import random_state_kept, to_host
from segnosis.doctor.weight_ratios import WeightRatios
from segnosis.training import pictures

_SHARE = 0.015
"""Part of an epoch that scoring may take; the promise is 2 %."""
_SAMPLES = 4
_MOST_BATCHES = 2


class Watch(keras.callbacks.Callback):
    """Splits the loss, counts IoU and Dice by itself, and prints a finding as soon as it is certain.

    The loss that Keras prints is data loss plus regularization; where there is a regularizer, both parts are added to
    the printed line as `data_loss` and `regularization`. After training, `diagnosis` holds what the history shows and
    `history` every number, by name, per epoch; among them `update_ratio` and `gradient_ratio`, how far kernels moved in
    the epoch and how large their gradients are, relative to them.

    Drawing the samples, the first scoring and the first questions happen once, whatever a training's length, and make
    up the most of it in one of seconds. All later scoring and asking stays below 1.5 % of the training's own time.

    Args:
        validation: Data to score on, what `fit(validation_data=)` takes; without it no IoU and Dice are counted.
        out: Folder for a picture of the same few samples after every epoch, `epoch-0001.png`; none without.
        ignore_class: Mask value that is no class; told from the loss when left out.
        class_names: Name per class id.
        printing: Print findings while training.
        case: What an examination before the training saw; its batches serve when there is no `validation`.
        before: That examination's diagnosis; the one after training carries its verdicts on.
        thresholds: Check code → keyword thresholds to override.

    Attributes:
        history: Name → value per epoch; `None` where an epoch was not scored.
        diagnosis: What was found, once training ended or was interrupted at an epoch's end.
        seconds: Wall time that watching took.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 1, kernel_regularizer="l2")])
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> images, masks = np.ones((4, 8, 8, 1), "float32"), np.zeros((4, 8, 8), "int32")
        >>> watch = Watch(validation=(images, masks))
        >>> _ = model.fit(images, masks, epochs=2, verbose=0, callbacks=[watch])
        >>> sorted(watch.history)[:3], len(watch.history["regularization"])
        (['data_loss', 'dice_0', 'dice_1'], 2)
    """

    def __init__(
        self,
        validation: Any = None,
        *,
        out: str | Path | None = None,
        ignore_class: int | None = None,
        class_names: Sequence[str] | None = None,
        printing: bool = True,
        case: Case | None = None,
        before: Diagnosis | None = None,
        thresholds: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.validation, self.out = validation, None if out is None else Path(out)
        self.ignore_class, self.class_names = ignore_class, class_names
        self.printing, self.case, self.before, self.thresholds = printing, case, before, thresholds
        self.history: dict[str, list[float | None]] = {}
        self.diagnosis: Diagnosis | None = before
        self.seconds = 0.0
        self._said: set[str] = {finding.code for finding in before.findings} if before else set()

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Draw the samples to score on."""
        start = time.perf_counter()
        with random_state_kept(self.validation):
            self._given = self.case or self._own_case()
            self._scores = self._scorer(self._given)
        self._checks = tuple(history_checks())
        self._scoring, self._asking = _Allowance(), _Allowance()
        self._ratios, self._penalty = WeightRatios(self.model), _regularization(self.model)
        self._epoch_start = time.perf_counter()
        self.seconds += self._epoch_start - start

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Note the time; weights are where the last epoch left them."""
        self._epoch_start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Split the loss, score, picture, and ask the checks that read a history."""
        start = time.perf_counter()
        for allowance in (self._scoring, self._asking):
            allowance.training_seconds += start - self._epoch_start
        self._split_loss(logs if logs is not None else {})
        row: dict[str, float | None] = {name: float(value) for name, value in (logs or {}).items()}
        row["update_ratio"] = self._ratios.update_ratio()
        row["gradient_ratio"] = self._ratios.gradient_ratio()
        row["learning_rate"] = _learning_rate(self.model)
        row["seconds"] = start - self._epoch_start
        is_last = epoch + 1 == self.params.get("epochs")
        if self._scores is not None and (is_last or self._scoring.affords()):
            began = time.perf_counter()
            row |= self._score(epoch)
            self._scoring.spend(time.perf_counter() - began)
        self._append(row)
        if self._asking.affords():
            began = time.perf_counter()
            self._ask()
            self._asking.spend(time.perf_counter() - began)
        self.seconds += time.perf_counter() - start

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Judge the whole history and what the model predicts now, also when the training stopped early."""
        if self.history:
            self._ask(at_end=True)

    def _own_case(self) -> Case:
        parts = self.validation if isinstance(self.validation, tuple) else (self.validation,)
        limits = Limits(samples=_SAMPLES * _MOST_BATCHES, megabytes=100.0, seconds=5.0)
        drawn = Drawn((), None)
        if self.validation is not None:
            drawn = draw(*parts, shuffle=False, batch_size=_SAMPLES, limits=limits)
        return build_case(
            self.model, drawn, drawn, ignore_class=self.ignore_class, class_names=self.class_names, budget="static"
        )

    def _scorer(self, case: Case) -> IndependentScores | None:
        batches = few_samples(case.validation_batches or case.batches or (), _SAMPLES)[:_MOST_BATCHES]
        if not batches:
            return None
        try:
            return IndependentScores(replace(case, model=self.model, budget="probe"), batches)
        except Unavailable:  # targets that are no masks have no IoU; the loss is split all the same
            return None

    def _split_loss(self, logs: dict[str, float]) -> None:
        """The penalty moves a little within an epoch; Keras prints the epoch's mean loss, so the mean of both ends."""
        if "loss" in logs and self._penalty > 0 and "regularization" not in logs:
            before, self._penalty = self._penalty, _regularization(self.model)
            logs["regularization"] = (before + self._penalty) / 2
            logs.setdefault("data_loss", logs["loss"] - logs["regularization"])

    def _score(self, epoch: int) -> dict[str, float | None]:
        assert self._scores is not None
        with random_state_kept():
            found, picture = self._scores.score(self.model)
        if self.out is not None:
            write_bytes(self.out / f"epoch-{epoch + 1:04d}.png", pictures.png(picture))
        return found

    def _append(self, row: Mapping[str, float | None]) -> None:
        epochs = max(map(len, self.history.values()), default=0)
        for name in {**row, **self.history}:
            self.history.setdefault(name, [None] * epochs).append(row.get(name))

    def _ask(self, *, at_end: bool = False) -> None:
        """Ask the checks that read a history, at the end with a look at predictions; print what has become certain."""
        known = {
            name: [value for value in column if value is not None]
            for name, column in self.history.items()
            if None not in column
        }
        case = replace(self._given, model=self.model, history=known, budget="probe" if at_end else "static")
        checks = history_checks(dearest="batch") if at_end else self._checks
        with random_state_kept():
            found = examine(case, checks=checks, thresholds=self.thresholds)
        self.diagnosis = merge(self.before, found) if self.before is not None else found
        for finding in self.diagnosis.findings:
            if finding.certain and finding.code not in self._said:
                self._said.add(finding.code)
                if self.printing:
                    print(f"\nsegnosis {finding.code} {finding.name}: {finding.says}\n    {finding.fix}", flush=True)


class _Allowance:
    """Lets a piece of work happen as often as a share of the training's time allows; the first time is free."""

    def __init__(self) -> None:
        self.training_seconds = self._spent = self._once = 0.0
        self._times = 0

    def affords(self) -> bool:
        """Whether doing it once more keeps to the share."""
        return self._times == 0 or self._spent + self._once <= _SHARE * self.training_seconds

    def spend(self, seconds: float) -> None:
        """Note one time; the first one also compiles or warms up, and is no measure of the others."""
        self._once = seconds
        self._spent += seconds if self._times else 0.0
        self._times += 1


def history_checks(dearest: str = "history") -> list[Check]:
    """Checks that read a history and need nothing dearer than a price, told by what they need; no probe, as it is.

    With a dearer price also those that ask how far a training has come: they may judge otherwise after it.
    """
    evidence = Evidence(Case())
    affordable = {"static", "data", "history", dearest}
    found = []
    for check in all_checks():
        named = (*check.needs, *check.wants)
        roots, prices = evidence.behind(named)
        is_asked = "history" in roots or (dearest != "history" and "planned_training" in named)
        if is_asked and prices <= affordable:
            found.append(check)
    return found


def _regularization(model: keras.Model) -> float:
    """Sum of all weight penalties, as `fit` adds it to the loss."""
    return sum(float(to_host(v.regularizer(v.value))) for v in model.trainable_variables if v.regularizer is not None)


def _learning_rate(model: keras.Model) -> float | None:
    rate = getattr(getattr(model, "optimizer", None), "learning_rate", None)
    return None if rate is None else float(to_host(rate))
