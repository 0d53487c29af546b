"""From a plan to the model, loss and optimizer it names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

from segnosis import losses
from segnosis.core import discovery
from segnosis.core.errors import ArgumentError
from segnosis.training.plan import Plan

if TYPE_CHECKING:
    import keras


def check_names(plan: Plan) -> None:
    """Raise `ArgumentError` with a suggestion where the plan names a model, backbone or loss that there is not."""
    discovery.check("segnosis.models", plan.model)
    for name in plan.losses:
        discovery.check_member("segnosis.losses", name)
    if (chosen := backbone(plan)) is not None:
        from segnosis.models import backbones

        backbones.check(chosen)


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
