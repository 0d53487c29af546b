"""The first layers receive next to no gradient.

## What it looks for
The gradient of the first trainable kernel against that of the last, over three batches: less than 0.001 of it. And
what the user's optimizer makes of it: the first kernel must not be able to change by 1 % in the planned steps. Or all
kernels' gradients below 1e-12, where the image is gone before the head as well. Networks with zero-initialised branches
are left alone, for those open after the first step.

## Why the model does not learn
Each sigmoid or tanh passes at most a quarter of the gradient on, and without skip connections or normalisation the
factors multiply. The first layers then stay as random as they were, whatever the last ones do.

## What to do
`activation="relu"` in hidden layers, `kernel_initializer="he_normal"`, BatchNormalization, skip connections.
"""

from __future__ import annotations

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.activations import Activations
from segnosis.doctor.evidence.gradients import Gradients
from segnosis.doctor.evidence.planned_movement import VANISHED, PlannedMovement
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
    if ratio >= max_ratio or (moved is not None and moved >= max_moved) or (moved is None and ratio >= sure_ratio):
        return Healthy(measured)
    weak = [slope.path for slope in kernels if (slope.data or 0.0) < max_ratio * (last.data or 0.0)]
    return Finding(
        says=f"The gradient of `{first.path}` is {ratio:.1e} times that of `{last.path}`; {len(weak)} of "
        f"{len(kernels)} kernels will stay as they were made.",
        measured=measured,
        fix=_FIX,
        where=tuple(weak[:8]),
        level="proven" if ratio < sure_ratio and moved is not None else "suspected",
    )


def mend(case: Case) -> Case:
    """ReLU in place of what saturates, and He's start for every hidden kernel."""
    import keras

    from segnosis.doctor.examine import Evidence
    from segnosis.doctor.mending import with_settings

    saturating = {"sigmoid", "tanh", "softsign", "hard_sigmoid", "hard_tanh"}
    heads = {head.layer for head in Evidence(case).get("heads")}
    seeds = iter(range(1, 10_000))

    def change(layer: keras.layers.Layer) -> None:
        if layer.name in heads:
            return
        if getattr(getattr(layer, "activation", None), "__name__", "") in saturating:
            layer.activation = keras.activations.relu
        if isinstance(getattr(layer, "kernel", None), keras.Variable):
            layer.kernel.assign(keras.initializers.HeNormal(seed=next(seeds))(layer.kernel.shape))

    return with_settings(case, change)


def _case(activation: str, depth: int = 9) -> Case:
    import keras

    start = [keras.initializers.GlorotUniform(seed=seed) for seed in range(depth)]
    layers = [
        keras.layers.Conv2D(6, 3, padding="same", activation=activation, kernel_initializer=start[i], name=f"conv{i}")
        for i in range(depth)
    ]
    return Case(
        model=segmenter(3, "softmax", before=layers),
        loss="categorical_crossentropy",
        optimizer=keras.optimizers.SGD(0.01),
        batches=squares("one-hot"),
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


def healthy() -> Case:
    return _case("relu")
