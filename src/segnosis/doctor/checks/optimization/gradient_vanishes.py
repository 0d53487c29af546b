"""The first layers receive next to no gradient.

## What it looks for
The gradient of the first trainable kernel against that of the last, over three batches: less than 0.001 of it. And
what the user's optimizer makes of it: the first kernel must not be able to change by 1 % in the planned steps. Or all
kernels' gradients below 1e-12, where the image is gone before the head as well. Networks with zero-initialised branches
are left alone, for those open after the first step, and so are those where the image reaches the output past the first
kernel too, by the skip connections of a frozen encoder, say. An optimizer such as Adam makes small gradients large, so
networks most of whose hidden layers are sigmoids are tried out: 40 steps as given, and 40 with ReLU and He's start, on
three batches. As given the loss must stay near what guessing costs, and with ReLU it must come to less than 0.6 of that
on most batches and below 0.95 of it on all. Confirmed where it is half on all, and three times the steps as given do
not help either.

## Why the model does not learn
Each sigmoid or tanh passes at most a quarter of the gradient on, and without skip connections or normalisation the
factors multiply. The first layers then stay as random as they were, whatever the last ones do.

## What to do
`activation="relu"` in hidden layers, `kernel_initializer="he_normal"`, BatchNormalization, skip connections.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.activations import Activations
from segnosis.doctor.evidence.gradients import Gradients
from segnosis.doctor.evidence.planned_movement import VANISHED, PlannedMovement
from segnosis.doctor.evidence.relu_trial import ReluTrial
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "OPT004", "error"
EXPLAINED_BY = ("DAT", "LAB", "PRE", "HED", "LOS", "NRM", "OPT005", "OPT006")

_FIX = (
    "`activation='relu', kernel_initializer='he_normal'` in the hidden layers, and "
    "`keras.layers.BatchNormalization()` between them."
)


def check(
    gradients: Gradients,
    *,
    max_ratio: float = 1e-3,
    max_moved: float = 0.01,
    sure_ratio: float = 1e-5,
    vanished: float = VANISHED,
    planned_movement: PlannedMovement | None = None,
    activations: Activations | None = None,
    max_fall: float = 0.3,
    min_against_guessing: float = 0.7,
    max_with_relu: float = 0.5,
    max_with_relu_typically: float = 0.6,
    max_with_relu_anywhere: float = 0.95,
    relu_trial: ReluTrial | None = None,
) -> Verdict:
    kernels = [slope for slope in gradients.slopes if slope.path.endswith("kernel")]
    if len(kernels) < 2 or not gradients.finite:
        return NotApplicable("fewer than two kernels are trainable, or their gradients are not finite")
    if any(slope.weight == 0 for slope in gradients.slopes if slope.path.endswith(("kernel", "gamma"))):
        return NotApplicable("a branch starts at 0: gradients reach the rest after the first step only")
    if activations is not None and sum(layer.is_dead for layer in activations.layers) > 1:
        return NotApplicable("whole layers are 0 everywhere: their gradients are cut off, they do not fade (OPT005)")
    first, last = kernels[0], kernels[-1]
    largest = max(slope.data or 0.0 for slope in kernels)
    ratio = (first.data or 0.0) / last.data if last.data else 1.0
    reach = {kernel.path: kernel.planned for kernel in planned_movement.kernels} if planned_movement else {}
    moved = reach.get(first.path, 0.0 if planned_movement else None)
    measured: dict[str, float | str | None] = {
        "first_kernel": first.path,
        "gradient_of_first": first.data,
        "last_kernel": last.path,
        "gradient_of_last": last.data,
        "ratio": ratio,
        "planned_change_of_first": moved,
        "largest_gradient": largest,
    }
    if 0 < largest < vanished:
        return Finding(
            says=f"The largest gradient of {len(kernels)} kernels is {largest:.1e}: nothing of the image arrives at "
            "the output, and nothing of the loss at the kernels.",
            measured=measured,
            fix=_FIX,
            where=tuple(slope.path for slope in kernels[:8]),
        )
    faded = ratio < max_ratio and not gradients.first_is_avoidable
    if not faded or (moved is not None and moved >= max_moved) or (moved is None and ratio >= sure_ratio):
        if relu_trial is not None and relu_trial.gave_up:
            return NotApplicable(f"most hidden layers are sigmoids, but {relu_trial.gave_up}")
        shares = (max_with_relu, max_with_relu_typically, max_with_relu_anywhere)
        return _by_trial(relu_trial, measured, max_fall, min_against_guessing, shares) or Healthy(measured)
    weak = [slope.path for slope in kernels if (slope.data or 0.0) < max_ratio * (last.data or 0.0)]
    return Finding(
        says=f"The gradient of `{first.path}` is {ratio:.1e} times that of `{last.path}`; {len(weak)} of "
        f"{len(kernels)} kernels will stay as they were made.",
        measured=measured,
        fix=_FIX,
        where=tuple(weak[:8]),
        level="proven" if ratio < sure_ratio and moved is not None else "suspected",
    )


def _by_trial(
    trial: ReluTrial | None,
    measured: dict[str, float | str | None],
    max_fall: float,
    min_against_guessing: float,
    most: tuple[float, float, float],
) -> Finding | None:
    """Saturating units with which a few dozen steps get nowhere, and ReLU with which they do."""
    if trial is None or not trial.relu_start or not all(map(isfinite, trial.end)):
        return None
    if trial.guessing:
        limits = [min_against_guessing * guess for guess in trial.guessing]
    else:
        limits = [(1 - max_fall) * start for start in trial.start]
    if any(end < max(limit, 1e-9) for end, limit in zip(trial.end, limits, strict=True)):
        return None
    shares = sorted(relu / end for relu, end in zip(trial.relu_end, trial.end, strict=True))
    surely, typically, anywhere = most
    if shares[len(shares) // 2] > typically or shares[-1] > anywhere:
        return None
    stays = trial.later is not None and trial.later > limits[0]
    units = " and ".join(trial.units)
    later = "" if trial.later is None else f"; {trial.more_steps} steps as given take the first to {trial.later:.3g}"
    return Finding(
        says=f"{trial.layers} of {trial.of} hidden layers end in {units}: {trial.steps} steps take the loss from "
        f"{_mean(trial.start):.3g} to {_mean(trial.end):.3g}, and with ReLU in their place from "
        f"{_mean(trial.relu_start):.3g} to {_mean(trial.relu_end):.3g} ({len(shares)} of {len(shares)} batches)"
        f"{later}.",
        measured={**measured, "units": units, "layers": trial.layers, "loss_with_relu_by_loss": shares[-1]},
        fix=_FIX,
        level="confirmed" if stays and shares[-1] <= surely and len(shares) >= 3 else "suspected",
    )


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)


def mend(case: Case) -> Case:
    """ReLU in place of what saturates, and He's start for every hidden kernel."""
    from segnosis.doctor.examine import Evidence
    from segnosis.doctor.mending import relu_inside, with_settings

    mended = with_settings(case, lambda layer: None)
    relu_inside(mended.model, {head.layer for head in Evidence(case).get("heads")})
    return mended


def _case(activation: str, depth: int = 9, optimizer: str = "SGD") -> Case:
    import keras

    start = [keras.initializers.GlorotUniform(seed=seed) for seed in range(depth)]
    layers = [
        keras.layers.Conv2D(6, 3, padding="same", activation=activation, kernel_initializer=start[i], name=f"conv{i}")
        for i in range(depth)
    ]
    return Case(
        model=segmenter(3, "softmax", before=layers),
        loss="categorical_crossentropy",
        optimizer=keras.optimizers.SGD(0.01) if optimizer == "SGD" else keras.optimizers.Adam(0.01),
        batches=squares("one-hot", count=3),
        fit_arguments={"epochs": 5, "steps_per_epoch": 20},
    )


def sick() -> Case:
    return _case("sigmoid")


def sick_at_both_ends() -> Case:
    """Kernels so small that the image is gone before the head, and the gradient with it."""
    case = _case("softsign", depth=12)
    for layer in case.model.layers[:-2]:
        kernel, bias = layer.get_weights()
        layer.set_weights([1e-3 * kernel, bias])
    return case


def sick_for_all_its_steps() -> Case:
    """Adam makes the small gradients large, and still a few dozen steps come to nothing."""
    return _case("sigmoid", depth=5, optimizer="Adam")


def healthy() -> Case:
    return _case("relu")


def healthy_with_tanh() -> Case:
    return _case("tanh", depth=4, optimizer="Adam")


def healthy_beside_skips() -> Case:
    """The layers whose gradient fades are a branch: a frozen layer leads past them to the head."""
    import keras

    case = _case("sigmoid")
    inputs = keras.Input((16, 16, 1))
    seen = keras.layers.Conv2D(8, 3, padding="same", activation="relu", trainable=False, name="frozen")(inputs)
    outputs = seen
    for layer in case.model.layers[1:-1]:
        outputs = layer.__class__.from_config(layer.get_config())(outputs)
    outputs = keras.layers.Concatenate()([seen, outputs])
    outputs = keras.layers.Conv2D(3, 1, activation="softmax", name="head")(outputs)
    return replace(case, model=keras.Model(inputs, outputs))
