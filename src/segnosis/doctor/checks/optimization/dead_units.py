"""Units are dead: they answer 0 to everything.

## What it looks for
Layers whose every channel is exactly 0 on all pixels of three batches, while the weights in front of them receive a
gradient of exactly 0. One such layer that everything passes is proof, and so are three of them where a third of all
weights have no gradient; where another path leads past, or where more than 90 % of a layer's channels are dead, it is a
suspicion. Half the values being 0 is what a ReLU does.

## Why the model does not learn
Behind a ReLU that is always 0 the output is the same for every pixel, and its gradient is 0, so no step ever revives
it. A large negative bias, a far too large step or inputs far below zero do this.

## What to do
Default bias initialisation, `keras.layers.LeakyReLU()` in place of ReLU, a smaller learning rate, fresh weights.
"""

from __future__ import annotations

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.activations import Activations, Passed
from segnosis.doctor.evidence.gradients import Gradients
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "OPT005", "error"
EXPLAINED_BY = ("DAT", "PRE", "NRM003", "OPT006")


def check(
    activations: Activations,
    gradients: Gradients,
    *,
    max_dead: float = 0.9,
    min_channels: int = 8,
    min_layers: int = 3,
    min_still: float = 0.3,
) -> Verdict:
    if not activations.layers or any(not layer.finite for layer in activations.layers):
        return NotApplicable("the layers' outputs are not finite")
    dead = [layer for layer in activations.layers if layer.is_dead]
    worst = max(
        (layer for layer in activations.layers if layer.alive.size >= min_channels),
        key=lambda layer: layer.dead,
        default=activations.layers[0],
    )
    output = activations.layers[-1]
    varies = float(output.varies.max()) if output.varies.size else None
    still = sum(not slope.data for slope in gradients.slopes)
    measured: dict[str, float | str | None] = {
        "layers": len(activations.layers),
        "layers_entirely_dead": len(dead),
        "worst_layer": worst.layer,
        "dead_share_of_worst": worst.dead,
        "weights_without_gradient": still,
        "trainable_weights": len(gradients.slopes),
        "output_range_over_pixels": varies,
        "images": activations.images,
    }
    first = next((layer for layer in dead if _is_cut_off(layer, activations, gradients)), None)
    if first is not None:
        is_whole = varies is not None and varies < 1e-6
        is_wide = len(dead) >= min_layers and still >= min_still * len(gradients.slopes)
        return Finding(
            says=f"All {first.alive.size} channels of `{first.layer}` are 0 on every pixel of {activations.images} "
            f"images, and {still} of {len(gradients.slopes)} trainable weights have a gradient of exactly 0"
            + (": the output is the same everywhere." if is_whole else "."),
            measured=measured,
            fix=f"Build the model anew with `bias_initializer='zeros'` and `keras.layers.LeakyReLU()` behind "
            f"`{first.layer}`, and a smaller learning rate.",
            where=tuple(layer.layer for layer in dead[:8]),
            level="proven" if is_whole or is_wide else "suspected",
        )
    if not dead and worst.alive.size >= min_channels and worst.dead > max_dead:
        return Finding(
            says=f"{worst.dead:.0%} of the {worst.alive.size} channels of `{worst.layer}` are 0 on every pixel of "
            f"{activations.images} images.",
            measured=measured,
            fix=f"`keras.layers.LeakyReLU()` behind `{worst.layer}`, and a smaller learning rate.",
            where=(worst.layer,),
            level="suspected",
            severity="warning",
        )
    return Healthy(measured)


def _is_cut_off(layer: Passed, activations: Activations, gradients: Gradients) -> bool:
    """Whether the weights of the layer, or of the last one before it that has some, receive no gradient at all."""
    upto = activations.layers[: activations.layers.index(layer) + 1]
    source = next((before for before in reversed(upto) if before.has_weights), None)
    if source is None:
        return False
    own = [slope for slope in gradients.slopes if source.layer in slope.path.split("/")]
    return bool(own) and not any(slope.data for slope in own)


def _case(bias: float) -> Case:
    model = segmenter(3, "softmax")
    kernel, start = model.get_layer("encoder_conv").get_weights()
    model.get_layer("encoder_conv").set_weights([kernel, start + bias])
    return Case(model=model, loss="categorical_crossentropy", batches=squares("one-hot"))


def sick() -> Case:
    return _case(-100.0)


def healthy() -> Case:
    return _case(0.0)
