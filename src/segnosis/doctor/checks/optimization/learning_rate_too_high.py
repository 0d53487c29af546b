"""The steps are so large that training breaks.

## What it looks for
Where a step is longer than 0.05 of a typical kernel, a few dozen steps on copies: the user's rate, one whose steps are
0.01 of a kernel, and unless that decides, a tenth and a hundredth of it, from the same weights on three batches. The
user's rate must end in NaN, above where it started, or with an output that is the same for every pixel; a smaller one
must end at least `min_gain` lower, each time. Or the user's rate ends above what guessing by class frequency costs,
where a smaller one ends below `max_against_guessing` of that. High rates that work are left alone. Suspected is a rate
whose steps are longer than `absurd_step` kernels, which a normalization may survive, where a smaller one ends
`min_gain_on_absurd` lower each time.

## Why the model does not learn
A step longer than the valley is wide climbs the other side. Weights grow, ReLUs die, the output becomes constant, or
NaN.

## What to do
The smaller rate that won, as in `optimizer=keras.optimizers.Adam(1e-3)`; `clipnorm=1.0` for rare jumps.
"""

from __future__ import annotations

from dataclasses import replace

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.planned_movement import PlannedMovement
from segnosis.doctor.evidence.rate_trials import RateTrials, Trial
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "OPT001", "error"
EXPLAINED_BY = ("DAT", "LAB", "PRE", "HED", "LOS", "NRM", "OPT006")


def check(
    planned_movement: PlannedMovement,
    *,
    min_gain: float = 0.1,
    max_against_guessing: float = 0.7,
    absurd_step: float = 3.0,
    min_gain_on_absurd: float = 0.25,
    rate_trials: RateTrials | None = None,
) -> Verdict:
    moved = planned_movement
    measured: dict[str, float | str | None] = {
        "optimizer": moved.optimizer,
        "learning_rate": moved.rate,
        "step_per_kernel": moved.per_step,
    }
    if not moved.knows_gradients:
        return NotApplicable("no gradient could be measured")
    if rate_trials is None or rate_trials.asks != "too-high":
        return Healthy(measured)
    if rate_trials.gave_up:
        return NotApplicable(f"the steps are large, but {rate_trials.gave_up}; `--prove` takes the time")
    given, *others = rate_trials.trials
    winner = min(others, key=lambda trial: max(trial.end))
    measured |= {
        "loss_at_start": _plain(given.start[0]),
        "loss_after_trial": _plain(max(given.end)),
        "better_rate": winner.rate,
        "loss_at_better_rate": _plain(max(winner.end)),
        "steps_tried": given.steps,
        "trials": len(given.end),
    }
    guesses = rate_trials.guessing or (float("inf"),) * len(given.end)
    fix = f"`optimizer=keras.optimizers.{moved.optimizer}({winner.rate:g})` in place of {moved.rate:g}."
    breaks = [_breaks(given, winner, batch, min_gain) for batch in range(len(given.end))]
    guesses_only = [
        end > guess and best < max_against_guessing * guess
        for end, best, guess in zip(given.end, winner.end, guesses, strict=True)
    ]
    if all(one or other for one, other in zip(breaks, guesses_only, strict=True)):
        broke = max(given.end)
        what = "NaN" if broke == float("inf") else f"{broke:.3g}"
        guess = f" Guessing by class frequency costs {guesses[0]:.3g}." if guesses[0] < float("inf") else ""
        return Finding(
            says=f"{given.steps} steps of {moved.optimizer}({moved.rate:g}) take the loss from {given.start[0]:.3g} to "
            f"{what}; at {winner.rate:g} it is {max(winner.end):.3g} ({len(given.end)} of {len(given.end)} batches)."
            + guess,
            measured=measured,
            fix=fix,
            level="confirmed" if len(given.end) >= 3 else "suspected",
        )
    is_better = all(best < (1 - min_gain_on_absurd) * end for end, best in zip(given.end, winner.end, strict=True))
    if is_better and (moved.per_step or 0.0) > absurd_step:
        return Finding(
            says=f"A step of {moved.optimizer}({moved.rate:g}) is {moved.per_step:.1f} times as long as a typical "
            f"kernel; {given.steps} of them end at {max(given.end):.3g}, at {winner.rate:g} at {max(winner.end):.3g}.",
            measured=measured,
            fix=fix,
            level="suspected",
        )
    return Healthy(measured)


def mend(case: Case) -> Case:
    """Adam at 1e-3 in place of the user's optimizer."""
    import keras

    return replace(case, optimizer=keras.optimizers.Adam(1e-3))


def _breaks(given: Trial, winner: Trial, batch: int, min_gain: float) -> bool:
    end, start, best = given.end[batch], given.start[batch], winner.end[batch]
    if not best < start:
        return False
    constant = given.spread[batch] < 1e-3 * winner.spread[batch]
    return best < (1 - min_gain) * end and (end == float("inf") or end > start or constant)


def _plain(value: float) -> float | None:
    return value if value - value == 0 else None


def _case(rate: float) -> Case:
    import keras

    return Case(
        model=segmenter(3, "softmax"),
        loss="categorical_crossentropy",
        optimizer=keras.optimizers.Adam(rate),
        batches=squares("one-hot", count=1),
    )


def sick() -> Case:
    return _case(5.0)


def healthy() -> Case:
    return _case(1e-3)


def healthy_though_high() -> Case:
    return _case(0.03)
