"""From a plan to the model, loss and optimizer it names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from segnosis import losses
from segnosis.core import discovery
from segnosis.core.errors import ArgumentError
from segnosis.training.plan import Plan

if TYPE_CHECKING:
    import keras


def model(plan: Plan, *, channels: int, num_classes: int) -> keras.Model:
    """The plan's model, from raw pixel values to float32 logits, any image size its depth allows.

    The first layer turns pixel values into what the network is trained on, so that the saved file needs no
    code beside it: `scale` maps `plan.intensity` to −1 and 1, `standardize` gives every image mean 0 and
    standard deviation 1, `backbone` maps `plan.intensity` to 0 and 255 and on to what the backbone was trained on.

    Args:
        plan: What to build.
        channels: Image channels.
        num_classes: Classes, background included.

    Returns:
        A functional model of stock layers, `(batch, height, width, channels)` to `(batch, height, width, num_classes)`;
        with deep supervision one such output per depth, the deepest last.
    """
    import keras

    keras.config.set_dtype_policy(plan.precision if plan.precision == "float32" else f"mixed_{plan.precision}")
    architecture = getattr(discovery.load("segnosis.models", plan.model), plan.model)
    arguments = {**plan.model_arguments, "preprocessing": _first_layer(plan, channels)}
    try:
        made = architecture((None, None, channels), num_classes, **arguments)
    except TypeError as error:
        raise ArgumentError(
            f"`model_arguments` are the keyword arguments of `{plan.model}`.",
            received={"model_arguments": plan.model_arguments, "problem": str(error)},
            cure=f"`help(segnosis.models.{plan.model})` lists them.",
        ) from error
    for layer in _layers(made):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            layer.momentum = plan.normalization_momentum
    return made


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield from _layers(layer) if hasattr(layer, "layers") else (layer,)


def _first_layer(plan: Plan, channels: int) -> keras.layers.Layer | None:
    import keras

    if plan.preprocessing == "none":
        return None
    if plan.preprocessing == "backbone":
        from segnosis.models.backbones import preprocessing

        name = backbone(plan)
        if name is None:
            raise ArgumentError(
                "`preprocessing: backbone` is for a model that has one.",
                received={"model": plan.model, "model_arguments": plan.model_arguments},
                cure="Name it, as in `model_arguments: {backbone: resnet50}`, or choose `preprocessing: scale`.",
            )
        return preprocessing(name, channels, intensity=plan.intensity)
    if plan.preprocessing == "standardize":
        return keras.layers.GroupNormalization(
            groups=1, center=False, scale=False, epsilon=1e-6, dtype="float32", name="standardize"
        )
    low, high = plan.intensity
    factor = 2.0 / max(high - low, 1e-12)
    return keras.layers.Rescaling(factor, -1.0 - factor * low, dtype="float32", name="scale")


def backbone(plan: Plan) -> str | None:
    """Name of the backbone inside the plan's model; `None` where it has none."""
    architecture = getattr(discovery.load("segnosis.models", plan.model), plan.model)
    default = inspect.signature(architecture).parameters.get("backbone")
    return plan.model_arguments.get("backbone", default.default if default else None)


def load_weights(plan: Plan, network: keras.Model) -> str:
    """Fill the network from the plan's file of weights, and say what was loaded."""
    from segnosis.models import load_weights

    only = "backbone" if plan.weights_into == "backbone" else None
    return str(load_weights(network, str(plan.weights), only=only))


def loss(plan: Plan, *, ignore_class: int | None) -> keras.losses.Loss:
    """The weighted sum of the plan's losses; ignored pixels change neither its value nor its gradient."""
    parts = [getattr(losses, name)(ignore_class=ignore_class, class_weights=plan.class_weights) for name in plan.losses]
    if len(parts) == 1 and next(iter(plan.losses.values())) == 1.0:
        return parts[0]
    return losses.Sum(parts, weights=list(plan.losses.values()))


def optimizer(plan: Plan, *, total_steps: int, first_step: int = 0, rate: float = 1.0) -> keras.optimizers.Optimizer:
    """The plan's optimizer with its learning-rate schedule over `total_steps` steps.

    It also keeps a smoothed norm of the gradient in its variable `gradient_norm`, at no extra pass.

    Args:
        plan: What to build.
        total_steps: Steps of the whole training.
        first_step: Steps taken before; the optimizer itself starts anew, for its moments know nothing of the layers
            that begin to learn.
        rate: Factor on the learning rate.
    """
    import keras

    learning_rate = schedule(plan, total_steps=total_steps)
    if first_step or rate != 1.0:
        learning_rate = _later(learning_rate, first_step, rate)
    arguments: dict[str, Any] = {"learning_rate": learning_rate, "clipnorm": None}
    if plan.clip_norm is not None:
        arguments = {**arguments, "global_clipnorm": plan.clip_norm}
    if plan.optimizer == "sgd":
        arguments |= {"momentum": 0.9, "nesterov": True}
    if plan.optimizer in ("sgd", "adamw") and plan.weight_decay:
        arguments["weight_decay"] = plan.weight_decay
    base = {
        "adamw": keras.optimizers.AdamW,
        "adam": keras.optimizers.Adam,
        "sgd": keras.optimizers.SGD,
        "adadelta": keras.optimizers.Adadelta,
    }[plan.optimizer]
    made = _recording(base)(**arguments)
    # Decaying biases and normalization scales costs accuracy and regularizes nothing.
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


def schedule(plan: Plan, *, total_steps: int) -> Any:
    """Learning rate by step: a linear warm-up, then the plan's decay to 1 % of the rate (cosine) or 0 (polynomial)."""
    import keras

    warmup = round(plan.warmup_share * total_steps)
    decay = max(total_steps - warmup, 1)
    if plan.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            plan.learning_rate / 20 if warmup else plan.learning_rate,
            decay,
            alpha=0.01,
            warmup_target=plan.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    if plan.schedule == "polynomial":
        return keras.optimizers.schedules.PolynomialDecay(plan.learning_rate, total_steps, 0.0, power=0.9)
    return plan.learning_rate


def _later(schedule: Any, first_step: int, rate: float) -> Any:
    """`schedule` from `first_step` on, times `rate`."""
    import keras

    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return rate * schedule

    class Later(keras.optimizers.schedules.LearningRateSchedule):
        """A schedule that begins further on."""

        def __call__(self, step: Any) -> Any:
            return rate * schedule(keras.ops.cast(step, "float32") + first_step)

        def get_config(self) -> dict[str, Any]:
            return {"schedule": schedule, "first_step": first_step, "rate": rate}

    return Later()


def _recording(base: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    from keras import ops

    class Recording(base):
        """`base`, remembering how large its gradients are (exponential mean over about ten steps)."""

        def build(self, variables: Any) -> None:
            if self.built:
                return
            super().build(variables)
            self.gradient_norm = self.add_variable(shape=(), initializer="zeros", name="gradient_norm", dtype="float32")

        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            result = super().apply(grads, trainable_variables)
            squares = [ops.sum(ops.square(ops.cast(grad, "float32"))) for grad in grads if grad is not None]
            norm = ops.sqrt(sum(squares[1:], squares[0]))
            self.gradient_norm.assign(0.9 * self.gradient_norm + 0.1 * norm)
            return result

    Recording.__name__ = base.__name__
    return Recording
