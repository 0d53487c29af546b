"""Layers are frozen that have never learned anything.

## What it looks for
Frozen layers whose kernels still hold what their random initializer gives and whose biases and statistics never left
their start: a note where they are in the encoder and below 3 % of the weights, since what is behind them makes do. A
frozen head or decoder. A model of which nothing trains at all, or whose own `train_step` never gives gradients to its
optimizer, or none for layers that still hold random numbers (one step is made on a copy); a loop whose one step leaves
such layers out. And a trunk that was frozen by counting layers, where the count ends in the middle of a block and
BatchNormalization layers behind it go on moving.

## Why the model does not learn
Freezing keeps what was learned before. A frozen random layer keeps noise: everything behind it must make do with that.
Layers are numbered across branches, so `model.layers[:356]` cuts through blocks: a few of them stay live, and their
statistics are replaced by those of your small batches while the frozen rest expects the old ones.

## What to do
Freeze by name, the pretrained trunk and nothing else, then compile again. `sum(l.trainable for l in model.layers)`
says how many layers train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.own_step import OwnStep
from segnosis.doctor.evidence.trainable_map import Part, TrainableMap
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "NRM003", "error"


def check(
    trainable_map: TrainableMap,
    *,
    min_random_share: float = 0.0,
    min_share_of_encoder: float = 0.03,
    own_step: OwnStep | None = None,
    left_out: Sequence[str] | None = None,
) -> Verdict:
    parts, frozen = trainable_map.parts, trainable_map.frozen
    if not parts:
        return NotApplicable("the model has no weights")
    total = sum(part.weights for part in parts)
    random = _random(frozen)
    late = [part for part in frozen if part.stage in ("head", "decoder") and not part.is_normalization]
    cut = _cut(parts)
    measured: dict[str, float | str | None] = {
        "layers_with_weights": len(parts),
        "frozen_layers": len(frozen),
        "frozen_share_of_weights": sum(part.weights for part in frozen) / max(1, total),
        "frozen_random_layers": len(random),
        "frozen_decoder_or_head_layers": len(late),
        "live_batch_normalizations": len(trainable_map.live_normalizations),
        "layers_left_live_in_frozen_blocks": len(cut),
    }
    if len(frozen) == len(parts):
        return Finding(
            says=f"None of the {len(parts)} layers with weights is trainable: `fit` changes nothing.",
            measured=measured,
            fix="`model.trainable = True`, then freeze by name what is pretrained, and `model.compile(...)` again.",
            where=_names(parts),
        )
    if own_step is not None and not (own_step.applied or own_step.moved or own_step.raised):
        return Finding(
            says=f"One step of your `train_step` gives its optimizer no gradients and changes none of the "
            f"{own_step.trainable} trainable variables: `fit` reports losses and trains nothing.",
            measured={**measured, "variables_moved_by_one_step": own_step.moved},
            fix="`self.optimizer.apply(gradients, self.trainable_variables)` at the end of `train_step`.",
            where=("train_step",),
        )
    by_loop = [part for part in parts if part.name.split("/")[-1] in (left_out or ())]
    if random_by_loop := _random(by_loop):
        return Finding(
            says=f"The loop leaves {len(by_loop)} of {len(parts) - len(frozen)} layers that could train out of its "
            f"step, and {len(random_by_loop)} of them still hold the random numbers they were made with.",
            measured={**measured, "layers_left_out": len(by_loop)},
            fix="`weights = model.trainable_variables`, for `tape.gradient(loss, weights)` and for "
            "`optimizer.apply_gradients(zip(gradients, weights))`.",
            where=_names(by_loop),
        )
    by_step = [part for part in parts if own_step is not None and part.name.split("/")[-1] in own_step.left_out]
    if own_step is not None and own_step.applied and not own_step.raised and _random(by_step):
        return Finding(
            says=f"One step of your `train_step` gives its optimizer {own_step.given} of {own_step.trainable} "
            f"trainable variables: {len(by_step)} layers are left out, and still hold the random numbers they were "
            "made with.",
            measured={**measured, "variables_given": own_step.given, "layers_left_out": len(by_step)},
            fix="`weights = self.trainable_variables`, for `tape.gradient(loss, weights)` and for "
            "`self.optimizer.apply(gradients, weights)`.",
            where=_names(by_step),
        )
    if sum(part.weights for part in random) > min_random_share * total:
        stages = {part.stage for part in random}
        what = "head" if "head" in stages else "decoder" if "decoder" in stages else "encoder"
        share = sum(part.weights for part in random) / total
        return Finding(
            says=f"{len(random)} of {len(parts)} layers ({share:.0%} of the weights, the {what} among them) are frozen "
            f"and still hold the random numbers they were made with: they can never learn.{_also(cut)}",
            measured=measured,
            fix=_thaw(random),
            where=_names(random),
            severity="note" if what == "encoder" and share < min_share_of_encoder else "error",
        )
    if late and not all(part.stage == "decoder" for part in late):
        return Finding(
            says=f"{len(late)} layers of decoder and head are frozen while {len(parts) - len(frozen)} others train: "
            "what they hold was learned for other masks.",
            measured=measured,
            fix=_thaw(late),
            where=_names(late),
            level="suspected",
            severity="warning",
        )
    if cut:
        moving = sum(part.is_normalization for part in cut)
        return Finding(
            says=f"The frozen part ends in the middle of block `{cut[0].block}`: {len(cut)} layers of the same blocks "
            f"stay live, {moving} BatchNormalization layers among them, whose statistics move with every batch.",
            measured=measured,
            fix=f"Freeze by name, not by index: `for layer in model.layers: layer.trainable = not "
            f"layer.name.startswith('{_stem(cut[0].block)}')` for each part of the trunk, then compile again.",
            where=_names(cut),
            level="suspected",
            severity="warning",
        )
    return Healthy(measured)


def mend(case: Case) -> Case:
    """Everything trains."""
    from segnosis.doctor.mending import with_settings

    def change(layer: Any) -> None:
        layer.trainable = True

    better = with_settings(case, change)
    better.model.trainable = True
    return replace(better, optimizer=_unbuilt(case.optimizer))


def _unbuilt(optimizer: Any) -> Any:
    from segnosis.doctor.snapshot import optimizer_copy

    return None if optimizer is None else optimizer_copy(optimizer)


def _random(frozen: Sequence[Part]) -> list[Part]:
    """Frozen layers that never learned; a kernel without a bias is judged by the company it keeps."""
    any_moved = any(part.is_moved for part in frozen)
    drawn = [part for part in frozen if part.is_drawn and not part.is_moved]
    return drawn if not any_moved else [part for part in drawn if part.stage in ("head", "decoder")]


def _cut(parts: Sequence[Part]) -> list[Part]:
    """Live layers of blocks that are partly frozen, when BatchNormalization is among them and none was singled out."""
    blocks = {part.block for part in parts if not part.is_trainable and part.block and not part.is_normalization}
    live = [part for part in parts if part.is_trainable and part.block in blocks]
    kernels = any(not part.is_normalization for part in live)
    return live if kernels and any(part.is_normalization for part in live) else []


def _also(cut: Sequence[Part]) -> str:
    moving = [part.name for part in cut if part.is_normalization]
    if not moving:
        return ""
    return f" And the count ends in the middle of a block: {len(cut)} layers of it stay live, `{moving[0]}` among them."


def _thaw(parts: Sequence[Part]) -> str:
    names = ", ".join(repr(part.name) for part in parts[:4]) + (", …" if len(parts) > 4 else "")
    if any("/" in part.name for part in parts):
        outer = parts[0].name.split("/")[0]
        return f"`model.get_layer({outer!r}).trainable = True` ({names}), or load weights; then compile again."
    return f"`for name in [{names}]: model.get_layer(name).trainable = True`, then `model.compile(...)` again."


def _names(parts: Sequence[Part]) -> tuple[str, ...]:
    return tuple(part.name for part in parts[:12])


def _stem(block: str) -> str:
    return block.rstrip("0123456789") or block


def _case(frozen: Sequence[str]) -> Case:
    model = segmenter(3, "softmax")
    for name in frozen:
        model.get_layer(name).trainable = False
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=squares("ids"))


def sick() -> Case:
    return _case(["encoder_conv"])


def sick_all_frozen() -> Case:
    return _case(["encoder_conv", "head"])


def sick_left_out_by_a_loop() -> Case:
    return replace(_case([]), left_out=("encoder_conv",))


def sick_frozen_by_index() -> Case:
    import keras
    import numpy as np

    image = keras.Input((16, 16, 1))
    x = image
    for block in (1, 2):
        for unit in (1, 2):
            x = keras.layers.Conv2D(8, 3, padding="same", name=f"block{block}_conv{unit}")(x)
            x = keras.layers.BatchNormalization(name=f"block{block}_norm{unit}")(x)
    model = keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax", name="head")(x))
    random = np.random.default_rng(0)
    model.set_weights([weight + 0.3 * random.random(weight.shape).astype("float32") for weight in model.get_weights()])
    for layer in model.layers[:6]:
        layer.trainable = False
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=squares("ids"))


def healthy() -> Case:
    import numpy as np

    case = _case(["encoder_conv"])
    layer = case.model.get_layer("encoder_conv")
    layer.set_weights([np.linspace(-1, 1, weight.size).reshape(weight.shape) for weight in layer.get_weights()])
    return case
