"""Numbers break: NaN or infinity, or a start so large that they soon will.

## What it looks for
Weights that hold NaN; the first layer that turns finite numbers into infinite ones; a loss or a gradient that is not
finite although the outputs are. Kernels more than 10 times as large as He's initialisation would make them, together
with a first loss more than `max_loss` times that of guessing or activations above 1000; kernels that all hold one
single number. A loss whose gradient is finite at the first prediction and breaks where neighbouring pixels are
predicted alike, as a root of their difference does. A network that gives NaN for a black image. And a head that
computes in float16.

## Why the model does not learn
One NaN in a gradient makes every weight NaN at the next step. Kernels ten times too large multiply in every layer. In
float16 a soft-max reaches exactly 0, whose logarithm is infinite. Units that start equal stay equal.

## What to do
The head in float32: `keras.layers.Activation("softmax", dtype="float32")`; a small constant in divisions, logarithms
and roots; `kernel_initializer="he_normal"`; `clipnorm=1.0` in the optimizer. Skipped steps of a loss scale are normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.activations import Activations
from segnosis.doctor.evidence.gradients import Gradients
from segnosis.doctor.evidence.loss_gradients import LossGradient
from segnosis.doctor.evidence.trainable_map import TrainableMap
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "OPT006", "error"
EXPLAINED_BY = ("DAT", "LAB", "PRE", "HED", "LOS")


def check(
    activations: Activations,
    trainable_map: TrainableMap,
    *,
    max_scale: float = 10.0,
    max_loss: float = 20.0,
    max_activation: float = 1000.0,
    gradients: Gradients | None = None,
    reference_numbers: Mapping[str, Mapping[str, float]] | None = None,
    loss_gradients: Mapping[str, LossGradient] | None = None,
) -> Verdict:
    with_kernels = [part for part in trainable_map.parts if part.scale is not None]
    hidden = [part for part in with_kernels if part.stage != "head"]
    largest = max(with_kernels, key=lambda part: part.scale or 0.0, default=None)
    broken = next((layer for layer in activations.layers if layer.given_finite and not layer.finite), None)
    value = gradients.losses[0] if gradients is not None and gradients.losses else None
    uniform = max((numbers["uniform"] for numbers in (reference_numbers or {}).values()), default=None)
    half = next((layer for layer in reversed(activations.layers) if layer.dtype == "float16"), None)
    loudest = max((layer.rms for layer in activations.layers), default=0.0)
    is_half = half is not None and half is activations.layers[-1]
    measured: dict[str, float | str | None] = {
        "first_breaking_layer": broken.layer if broken else None,
        "weights_with_nan": len(activations.weights_broken),
        "first_loss": value if value is not None and isfinite(value) else None,
        "loss_of_guessing": uniform,
        "gradients_finite": str(gradients.finite).lower() if gradients is not None else None,
        "largest_kernel_against_he": largest.scale if largest else None,
        "layer_of_largest_kernel": largest.name if largest else None,
        "largest_activation": loudest,
        "output_type": activations.layers[-1].dtype if activations.layers else None,
    }
    if not activations.input_finite:
        return NotApplicable("the inputs hold NaN or infinity: a fault of the data, not of the optimisation")
    if activations.weights_broken:
        return Finding(
            says=f"{len(activations.weights_broken)} weights hold NaN or infinity, `{activations.weights_broken[0]}` "
            "first: an earlier step broke them, and no further step mends them.",
            measured=measured,
            fix="Build the model anew; train with `optimizer=keras.optimizers.Adam(1e-4, clipnorm=1.0)`.",
            where=activations.weights_broken[:8],
        )
    if broken is not None:
        return Finding(
            says=f"`{broken.layer}` ({broken.kind}, {broken.dtype}) is the first of {len(activations.layers)} layers "
            "to turn finite numbers into NaN or infinity.",
            measured=measured,
            fix=f"`dtype='float32'` for `{broken.layer}`."
            if broken.dtype == "float16"
            else f"In `{broken.layer}`: a small constant in the division, logarithm or root, and no exponential of "
            "unbounded numbers.",
            where=(broken.layer,),
        )
    if value is not None and not isfinite(value):
        return Finding(
            says="Every layer's output is finite, and the loss of the 1st batch is not: a logarithm of 0 or a division "
            "by 0 inside the loss.",
            measured=measured,
            fix="Add `keras.config.epsilon()` inside logarithms and divisions of the loss, or take "
            "`from_logits=True` and no activation in the head.",
        )
    if gradients is not None and not gradients.finite:
        return Finding(
            says=f"The loss is {value:.3g} and its gradient is NaN or infinite: the 1st step makes the weights NaN.",
            measured=measured,
            fix="Add `keras.config.epsilon()` inside the loss' roots, logarithms and divisions.",
            level="suspected" if half is not None else "proven",
        )
    if any(slope.flat is False for slope in (loss_gradients or {}).values()):
        return Finding(
            says=f"The gradient of the loss ({value or 0:.3g}) is finite at this prediction, and NaN or infinite where "
            "pixels are predicted alike, as in and around every object that is learned: a root or a division without "
            "a constant.",
            measured=measured,
            fix="A small constant inside: `keras.ops.sqrt(... + 1e-6)`, `/ (... + keras.config.epsilon())`.",
            level="suspected",  # outputs that are never quite alike live with it
        )
    if activations.breaks_on_black:
        return Finding(
            says=f"For an image of zeros alone `{activations.breaks_on_black}` gives NaN or infinity: 0 is divided by "
            "0, and one black image, or one place where all units rest, breaks every weight.",
            measured=measured,
            fix=f"In `{activations.breaks_on_black}`: `/ (... + keras.config.epsilon())`, or `keras.ops.normalize`.",
            where=(activations.breaks_on_black,),
            level="suspected",
        )
    if hidden and all(part.is_constant for part in with_kernels):
        return Finding(
            says=f"All {len(with_kernels)} layers hold one single number in their whole kernel: all units of a layer "
            "are equal and stay equal.",
            measured=measured,
            fix="`kernel_initializer='he_normal'`.",
            where=tuple(part.name for part in hidden[:8]),
        )
    is_costly = value is not None and uniform is not None and value > max_loss * uniform
    if largest is not None and (largest.scale or 0) > max_scale and (is_costly or loudest > max_activation):
        return Finding(
            says=f"The kernel of `{largest.name}` is {largest.scale:.0f} times as large as He's initialisation: layers "
            f"emit numbers up to {loudest:.3g}, and the first loss is {value or 0:.3g}"
            + (f" where guessing costs {uniform:.3g}." if uniform else "."),
            measured=measured,
            fix=f"`kernel_initializer='he_normal'` in `{largest.name}` and the layers like it.",
            where=(largest.name,),
        )
    if is_half and half is not None:
        return Finding(
            says=f"The head `{half.layer}` emits float16: probabilities below 6e-8 are exactly 0 and sums over more "
            "than 2048 pixels lose what is added.",
            measured=measured,
            fix=f"`dtype='float32'` for `{half.layer}`.",
            where=(half.layer,),
            level="suspected",
            severity="note",
        )
    return Healthy(measured)


def _case(factor: float = 1.0) -> Case:
    model = segmenter(3)
    kernel, bias = model.get_layer("encoder_conv").get_weights()
    model.get_layer("encoder_conv").set_weights([factor * kernel, bias])

    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Case(model=model, loss=loss, batches=squares("ids"))


def sick() -> Case:
    return _case(10000.0)


def sick_with_nan() -> Case:
    return _case(float("nan"))


def sick_by_a_layer() -> Case:
    import keras

    class Root(keras.layers.Layer):
        def call(self, inputs):  # type: ignore[no-untyped-def]
            return keras.ops.log(inputs - inputs)

    model = segmenter(3, "softmax", before=[Root(name="root")])
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=squares("ids"))


def sick_by_its_loss() -> Case:
    def loss(y_true, y_pred):  # type: ignore[no-untyped-def]
        import keras

        return keras.ops.log(keras.ops.mean(y_pred) - keras.ops.mean(y_pred)) * 0

    return Case(model=segmenter(1, "sigmoid"), loss=loss, batches=squares("binary", num_classes=2))


def sick_on_black_images() -> Case:
    import keras

    class Unit(keras.layers.Layer):
        def call(self, inputs):  # type: ignore[no-untyped-def]
            return inputs / keras.ops.sqrt(keras.ops.sum(inputs**2, axis=(1, 2, 3), keepdims=True))

    model = segmenter(3, "softmax", before=[Unit(name="unit")])
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=squares("ids"))


def sick_on_flat_areas() -> Case:
    def loss(y_true, y_pred):  # type: ignore[no-untyped-def]
        import keras

        slope = keras.ops.sqrt((y_pred[:, 1:] - y_pred[:, :-1]) ** 2)
        return keras.ops.mean((y_true - y_pred) ** 2) + 0.01 * keras.ops.mean(slope)

    return Case(model=segmenter(1, "sigmoid"), loss=loss, batches=squares("binary", num_classes=2))


def sick_all_equal() -> Case:
    model = segmenter(3, "softmax")
    for layer in model.layers:
        kernel, bias = layer.get_weights()
        layer.set_weights([0 * kernel + 0.1, bias])
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=squares("ids"))


def healthy() -> Case:
    return _case()
