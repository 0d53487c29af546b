"""Proof by counterfactual: what is suspected is mended on a copy, and both are trained alike.

A check that can be proven so has `mend(case) -> Case`: the case with the fix applied, on a copy of its model where the
model changes. Both cases train on the same batches, in the same order, from the same seeds; what counts is the
difference in foreground Dice, counted by ourselves, against its noise between seeds.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import raised
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.check import find
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.forward import few
from segnosis.doctor.examine import Progress, merge
from segnosis.doctor.independent_scores import IndependentScores
from segnosis.doctor.rehearsal import Rehearsal, loss_weights_of
from segnosis.doctor.snapshot import borrowed, optimizer_copy
from segnosis.doctor.verdict import Finding, Healthy

_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""97.5 % quantiles of Student's t for so many values."""


@dataclass(frozen=True)
class Comparison:
    """Foreground Dice after matched trainings.

    Attributes:
        as_given, mended: One value per seed.
        steps: Steps of each training.
    """

    as_given: tuple[float, ...]
    mended: tuple[float, ...]
    steps: int

    @property
    def difference(self) -> float:
        """Mean gain of mending."""
        return float(np.mean(np.subtract(self.mended, self.as_given)))

    @property
    def interval(self) -> tuple[float, float]:
        """Where the gain lies with 95 % confidence, by Student's t over the seeds.

        Example:
            >>> low, high = Comparison((0.1, 0.1, 0.1), (0.6, 0.7, 0.8), 50).interval
            >>> round(low, 2), round(high, 2)
            (0.35, 0.85)
        """
        gains = np.subtract(self.mended, self.as_given)
        half = _STUDENT[len(gains)] * float(gains.std(ddof=1)) / math.sqrt(len(gains))
        return self.difference - half, self.difference + half

    def measured(self) -> dict[str, object]:
        """Plain values."""
        low, high = self.interval
        return {
            "dice_as_given": [round(value, 4) for value in self.as_given],
            "dice_mended": [round(value, 4) for value in self.mended],
            "gain": self.difference,
            "gain_at_least": low,
            "gain_at_most": high,
            "counterfactual_steps": self.steps,
        }


def settle(case: Case, diagnosis: Diagnosis, *, seconds: float = 300.0, progress: Progress | None = None) -> Diagnosis:
    """Confirm or drop what a diagnosis suspects, in causal order, each on top of what was confirmed before it.

    Args:
        case: What was examined, its budget `"train"`.
        diagnosis: What was found.
        seconds: Wall time to spend at most on each finding.
        progress: Told beforehand how long a proof will take.

    Returns:
        The diagnosis with confirmed findings, dropped ones as healthy, and the rest as it was.
    """
    settled: list[Finding | Healthy] = []
    confirmed: list[tuple[Finding, Comparison]] = []
    start = time.perf_counter()
    for finding in (verdict for verdict in diagnosis.verdicts if isinstance(verdict, Finding)):
        mend = getattr(find(finding.code).module, "mend", None)
        if finding.level != "suspected" or finding.severity == "note" or mend is None:
            continue
        try:
            better = mend(case)
            compared = compare(case, better, seconds=seconds, progress=progress, what=finding.code)
        except Unavailable:
            continue  # it stays suspected, as it was
        verdict = judge(finding, compared, [earlier.code for earlier, _ in confirmed])
        if isinstance(verdict, Finding) and verdict.level == "confirmed":
            confirmed.append((verdict, compared))
            case = better
        else:
            settled.append(verdict)
    settled += _ranked(confirmed)
    spent = Diagnosis(tuple(settled), seconds=round(time.perf_counter() - start, 3))
    return merge(diagnosis, spent) if settled else diagnosis


def _ranked(confirmed: Sequence[tuple[Finding, Comparison]]) -> list[Finding]:
    """What was confirmed, each saying when to mend it and what is left then."""
    if len(confirmed) < 2:
        return [finding for finding, _ in confirmed]
    best = max(confirmed, key=lambda pair: pair[1].difference)[0].code
    ranked = []
    for number, (finding, compared) in enumerate(confirmed):
        later = [one.code for one, _ in confirmed[number + 1 :]]
        when = "Mend this first" if number == 0 else "Then mend this"
        left = f"{' and '.join(later)} {'remain' if len(later) > 1 else 'remains'}" if later else "nothing is left"
        says = f"{finding.says} {when}: at a Dice of {np.mean(compared.mended):.2f}, {left}."
        if finding.code == best and number:
            says += " It is what gains most."
        measured = {**finding.measured, "mend_as_number": number + 1, "remaining": later}
        ranked.append(replace(finding, says=says, measured=measured))
    return ranked


def judge(
    finding: Finding, compared: Comparison, mended_before: Sequence[str] = (), *, min_gain: float = 0.02
) -> Finding | Healthy:
    """The finding confirmed, dropped, or still suspected, with the numbers.

    Args:
        finding: What was suspected.
        compared: Both trainings.
        mended_before: Codes that were confirmed, and mended, before this one.
        min_gain: Gain in Dice that is worth a confirmation.
    """
    low, high = compared.interval
    measured: Mapping[str, object] = {**finding.measured, **compared.measured(), "mended_before": list(mended_before)}
    if high < min_gain or compared.difference <= 0:
        return Healthy(measured, finding.code, finding.name)
    after = f", after mending {', '.join(mended_before)}" if mended_before else ""
    says = (
        f"{finding.says} Mended on a copy{after}, {compared.steps} steps reach a foreground Dice of "
        f"{np.mean(compared.mended):.2f} in place of {np.mean(compared.as_given):.2f} (gain {low:+.2f} to {high:+.2f} "
        f"over {len(compared.mended)} seeds)."
    )
    return replace(finding, says=says, measured=measured, level="confirmed" if low > 0 else finding.level)


def compare(
    case: Case,
    mended: Case,
    *,
    steps: int = 100,
    seeds: int = 3,
    seconds: float = 300.0,
    progress: Progress | None = None,
    what: str = "",
) -> Comparison:
    """Train both on the same batches from the same seeds.

    Args:
        case: As given.
        mended: With the fix applied.
        steps: Steps of each training; fewer when they would take longer than `seconds`.
        seeds: Orders of the batches, and random numbers of dropout.
        seconds: Wall time of all trainings together.
        progress: Called with the forecast and the trainings done.
        what: What is being proven.

    Raises:
        Unavailable: There is nothing to train on or to score, steps take too long, or a step raises.
    """
    if not case.batches or case.model is None or case.loss is None:
        raise Unavailable("a counterfactual needs a model, a loss and batches")
    found: list[tuple[float, ...]] = []
    done, say = 0, progress or (lambda what, done, total: None)
    for one in (case, mended):
        has_own_data = one.batches is not case.batches
        scores = _scores(one if has_own_data else case)
        arm = _Arm(one, [few(batch, case.model) for batch in one.batches or ()])
        with arm as trained, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NaN is an answer here
            try:
                per_step = trained.seconds_per_step()
                if not found:
                    steps = min(steps, int(seconds / max(1e-6, 2 * seeds * per_step)))
                    if steps < 20:
                        raise Unavailable(f"a training step takes {per_step:.1f} s")
                    forecast = f"proving {what}: {2 * seeds} trainings, about {2 * seeds * steps * per_step:.0f} s"
                values = []
                for seed in range(seeds):
                    say(forecast, done, 2 * seeds)
                    trained.train(steps, case.seed + seed)
                    dice = scores.score(trained.model)[0]["foreground_dice"]
                    values.append(float(dice) if dice is not None and np.isfinite(dice) else 0.0)
                    done += 1
            except Unavailable:
                raise
            except Exception as error:  # anything that anyone's model or loss can raise; fit() raises the same
                raise Unavailable(f"a training step raises ({raised(error).error})") from error
        found.append(tuple(values))
    return Comparison(found[0], found[1], steps)


def _scores(case: Case) -> IndependentScores:
    """On data that is not trained on, where there is some; read as the user's loss reads its targets."""
    held_out = [few(batch, case.model) for batch in (case.validation_batches or case.batches or ())[:4]]
    return IndependentScores(replace(case, budget="probe"), held_out)


class _Arm:
    """A copy of a case's model, trained again and again from its weights."""

    def __init__(self, case: Case, batches: Sequence[Batch]) -> None:
        self._case, self._batches = case, batches
        self._lent = borrowed(case.model, batches[0].x)

    def __enter__(self) -> _Arm:
        self.model = self._lent.__enter__()
        optimizer = optimizer_copy(self._case.optimizer if self._case.optimizer is not None else "adam")
        weights = loss_weights_of(self._case.model)
        self._rehearsal = Rehearsal(self.model, self._case.loss, optimizer, weights)
        return self

    def __exit__(self, *error: Any) -> None:
        self._lent.__exit__(*error)

    def seconds_per_step(self) -> float:
        """Wall time of the third step; the first ones compile."""
        for _ in range(3):
            began = time.perf_counter()
            self._rehearsal.step(self._batches[0])
        return time.perf_counter() - began

    def train(self, steps: int, seed: int) -> None:
        """From the start, over the batches in an order of this seed."""
        self._rehearsal.restart()
        keras.utils.set_random_seed(seed)  # the borrowed copy's block puts every random state back
        order = np.random.default_rng(seed)
        for step in range(steps):
            if step % len(self._batches) == 0:
                permutation = order.permutation(len(self._batches))
            if not math.isfinite(self._rehearsal.step(self._batches[permutation[step % len(self._batches)]])):
                return
