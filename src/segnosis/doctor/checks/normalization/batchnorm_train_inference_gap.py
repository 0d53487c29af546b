"""BatchNormalization gives other numbers when predicting than when training.

## What it looks for
The loss of the same batch with the batch's own statistics and with the stored ones, dropout off in both. When the
stored ones cost more than twice as much, statistics are gathered anew from the batches: if that closes the gap, they
are the cause. Before training: a momentum above 0.99 with which the start values (mean 0, variance 1) still weigh more
than `max_start_weight` after all planned steps. And layers called with `training=False` that are trainable: `fit`
overrules the call, and they move.

## Why the model does not learn
It does, and it is judged with other numbers than it learned with. The stored statistics follow slowly: with momentum
0.99 the start still weighs 0.37 after 100 steps, with 0.999 it weighs 0.90. Validation looks dead, training fine.

## What to do
`BatchNormalization(momentum=0.9)`, more steps, or GroupNormalization. To freeze statistics set
`layer.trainable = False`; `training=False` in the call does not survive `fit`.
"""

from __future__ import annotations

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.batch_statistics import BatchStatistics
from segnosis.doctor.evidence.planned_training import PlannedTraining
from segnosis.doctor.evidence.trainable_map import TrainableMap
from segnosis.doctor.patients import squares
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "NRM001", "error"
EXPLAINED_BY = ("NRM002",)

_USUAL_MOMENTUM = 0.99


def check(
    batch_statistics: BatchStatistics,
    planned_training: PlannedTraining,
    trainable_map: TrainableMap,
    *,
    min_ratio: float = 2.0,
    min_difference: float = 0.05,
    max_left: float = 1.3,
    max_start_weight: float = 0.7,
    min_shift: float = 0.5,
) -> Verdict:
    seen, plan = batch_statistics, planned_training
    slowest = max(seen.layers, key=lambda layer: layer.momentum)
    steps = plan.done + (plan.total or 0)
    start_weight = slowest.momentum**steps if plan.total and plan.is_said else None
    is_fresh = all(layer.is_fresh for layer in seen.layers)
    measured: dict[str, float | str | None] = {
        "loss_training": _plain(seen.training),
        "loss_inference": _plain(seen.inference),
        "loss_after_gathering_statistics": _plain(seen.settled),
        "momentum": slowest.momentum,
        "planned_steps": plan.total,
        "weight_of_start_values_at_the_end": start_weight,
        "output_shift": _plain(seen.shift),
        "overruled_training_false": len(trainable_map.overruled),
    }
    gap = seen.inference > min_ratio * abs(seen.training) and seen.inference - seen.training > min_difference
    closes = seen.settled < max_left * abs(seen.training) + min_difference
    if not is_fresh and gap and closes:
        is_settled = plan.done >= 5 / max(1e-9, 1 - slowest.momentum)
        return Finding(
            says=f"The same batch costs {seen.training:.3g} with its own statistics and {seen.inference:.3g} with the "
            f"stored ones of {len(seen.layers)} BatchNormalization layers; with statistics gathered anew it costs "
            f"{seen.settled:.3g}.",
            measured=measured,
            fix="`BatchNormalization(momentum=0.9)`, or larger batches; a trained model is mended by passing a hundred "
            "batches through it with `training=True`.",
            where=tuple(layer.name for layer in seen.layers[:8]),
            level="confirmed" if is_settled else "suspected",
        )
    if (
        is_fresh
        and slowest.momentum > _USUAL_MOMENTUM
        and start_weight is not None
        and start_weight > max_start_weight
        and seen.shift > min_shift
    ):
        return Finding(
            says=f"With momentum {slowest.momentum:g} the statistics of `{slowest.name}` are still {start_weight:.0%} "
            f"their start values after the {plan.total} planned steps: validation and prediction see other numbers "
            "than training.",
            measured=measured,
            fix=f"`BatchNormalization(momentum={_momentum(steps):g})` in place of {slowest.momentum:g}.",
            where=tuple(layer.name for layer in seen.layers if layer.momentum == slowest.momentum)[:8],
        )
    if trainable_map.overruled:
        return Finding(
            says=f"{len(trainable_map.overruled)} BatchNormalization layers are called with `training=False` and are "
            "trainable: `fit` overrules the call, so their statistics move all the same.",
            measured=measured,
            fix="`layer.trainable = False` for these layers, then `model.compile(...)` again; or no `training=False`.",
            where=trainable_map.overruled[:8],
            severity="note",
        )
    return Healthy(measured)


def mend(case: Case) -> Case:
    """Statistics that forget their start within a few dozen steps."""
    import keras

    from segnosis.doctor.mending import with_settings

    def change(layer: keras.layers.Layer) -> None:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, 0.9)

    return with_settings(case, change)


def _momentum(steps: int) -> float:
    """A momentum that forgets the start within a third of the steps."""
    return 0.9 if steps >= 130 else 0.8


def _plain(value: float) -> float | None:
    return value if value - value == 0 else None


def _case(momentum: float = 0.99, *, frozen_call: bool = False, stored_mean: float | None = None) -> Case:
    """A network that reads the mask off the brightness; with `stored_mean` it predicts with that mean."""
    import keras
    import numpy as np

    layers = keras.layers
    inner_image = keras.Input((16, 16, 1))
    x = layers.Conv2D(1, 1, kernel_initializer="ones", name="encoder_conv")(inner_image)
    norm = layers.BatchNormalization(momentum=momentum, name="encoder_norm")
    trunk = keras.Model(inner_image, layers.ReLU()(norm(x)), name="trunk")
    image = keras.Input((16, 16, 1))
    features = trunk(image, training=False) if frozen_call else trunk(image)
    model = keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", name="head")(features))
    model.get_layer("head").set_weights([np.full((1, 1, 1, 1), 8.0), np.full(1, -8.0)])
    optimizer = keras.optimizers.SGD(0.1)
    if stored_mean is not None:
        norm.set_weights([np.array([value]) for value in (1.0, 0.0, stored_mean, 0.05)])
        optimizer.build(model.trainable_variables)
        optimizer.iterations.assign(1000)
    return Case(
        model=model,
        loss="binary_crossentropy",
        optimizer=optimizer,
        batches=squares("binary", num_classes=2),
        fit_arguments={"epochs": 3, "steps_per_epoch": 20},
    )


def sick() -> Case:
    return _case(momentum=0.9999)


def sick_overruled() -> Case:
    return _case(frozen_call=True)


def sick_stale_statistics() -> Case:
    return _case(stored_mean=5.0)


def healthy() -> Case:
    return _case()


def healthy_trained() -> Case:
    return _case(stored_mean=0.15)
