"""The images are not scaled as the pretrained backbone expects.

## What it looks for
A network of `keras.applications` inside the model, told by its layers' names, with pretrained weights
(`backbone_weights=`, or `weights="imagenet"` in the script), and the range of what reaches it: −1 to 1, 0 to 255, or
channels centred on ImageNet's means. Where the first kernel really is no random one, the weights are ImageNet's, and
the range is more than 10 times too narrow or too wide, that is proof; a smaller misfit is a suspicion. And any
encoder whose BatchNormalization comes with statistics of a training, where the images do not fit these, and would under
one of ten other scalings.

## Why the model does not learn
It does, but from features of pictures it has never seen: too dark, too grey or a hundred times too bright,
pretraining gives little advantage, and stored BatchNormalization statistics do not fit.

## What to do
The `preprocess_input` of that very family, on values from 0 to 255.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from segnosis.doctor.case import Case, Script
from segnosis.doctor.evidence.input_statistics import InputStatistics
from segnosis.doctor.evidence.layer_names import LayerNames
from segnosis.doctor.evidence.stored_statistics import AS_GIVEN, StoredStatistics
from segnosis.doctor.evidence.trainable_map import TrainableMap
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "PRE003", "warning"

_IMAGENET = re.compile(r"""weights\s*=\s*["']imagenet["']""")
_PRETRAINED = re.compile(r"""weights\s*=\s*["'](?!None)[^"']+["']""")


def check(
    layer_names: LayerNames,
    input_statistics: InputStatistics,
    *,
    slack: float = 0.2,
    max_times: float = 10.0,
    min_misfit: float = 1.0,
    max_misfit_of_best: float = 0.8,
    max_share_of_best: float = 0.35,
    stored_statistics: StoredStatistics | None = None,
    script: Script | None = None,
    backbone_weights: str | None = None,
    trainable_map: TrainableMap | None = None,
) -> Verdict:
    arriving = input_statistics.arriving or input_statistics.train
    measured = {
        "backbone": layer_names.family,
        "expects": layer_names.expects,
        "lowest_arriving": arriving.low,
        "highest_arriving": arriving.high,
        "pretrained": backbone_weights or ("in the script" if script and _PRETRAINED.search(script.source) else None),
    }
    stored = stored_statistics
    if stored is not None:
        given, best = stored.misfit[AS_GIVEN], stored.misfit[stored.best]
        measured |= {"misfit_of_stored_statistics": given, "misfit_of_best_scaling": best, "best_scaling": stored.best}
        if given >= min_misfit and best <= min(max_misfit_of_best, max_share_of_best * given):
            return _by_statistics(stored, measured)
    if layer_names.family is None or layer_names.expects is None:
        if stored is not None:
            return Healthy(measured)
        return NotApplicable("no backbone of keras.applications was recognised")
    if measured["pretrained"] is None:
        return NotApplicable(f"nothing says that the {layer_names.family} inside is pretrained")
    low, high = layer_names.low, layer_names.high
    width = high - low
    fits = arriving.low >= low - slack * width and arriving.high <= high + slack * width
    wide_enough = arriving.inner >= slack * width
    signed = low >= 0 or arriving.low < 0
    if fits and wide_enough and signed:
        return Healthy(measured)
    times = max(arriving.inner / width, width / max(arriving.inner, 1e-9))
    is_imagenet = (backbone_weights or "").startswith("imagenet") or bool(script and _IMAGENET.search(script.source))
    sure = times > max_times and is_imagenet and _is_loaded(trainable_map, layer_names.first)
    return Finding(
        says=f"The pretrained {layer_names.family} expects {layer_names.expects}, and gets {arriving.low:.3g} to "
        f"{arriving.high:.3g}.",
        measured=measured,
        fix=f"`x = keras.applications.{layer_names.module}.preprocess_input(x)` on values from 0 to 255, in place of "
        f"the other "
        "scaling.",
        where=(layer_names.first,),
        level="proven" if sure else "suspected",
        severity="warning",
    )


def _by_statistics(stored: StoredStatistics, measured: dict[str, Any]) -> Finding:
    return Finding(
        says=f"What reaches `{stored.layers[0]}` lies {stored.misfit[AS_GIVEN]:.1f} deviations from the statistics "
        f"that it was trained with, and {stored.misfit[stored.best]:.2f} if the images were `{stored.best}`: the "
        "encoder was trained on images of another scale.",
        measured=measured,
        fix=f"`x = {stored.best}` on the images, for training, validation and prediction.",
        where=stored.layers[:1],
        severity="warning",
    )


def _is_loaded(layers: TrainableMap | None, first: str) -> bool:
    """Whether the first layer holds other numbers than its random initializer gives."""
    parts = layers.parts if layers is not None else ()
    return any(part.name.rsplit("/", 1)[-1] == first and part.is_drawn is False for part in parts)


def _case(scale: float, shift: float, *, loaded: bool = True) -> Case:
    model = segmenter(3)
    model.get_layer("encoder_conv").name = "block1_conv1"
    if loaded:
        kernel, bias = model.get_layer("block1_conv1").get_weights()
        model.get_layer("block1_conv1").set_weights([5 * kernel, bias])
    batches = squares("ids", scale=scale)
    for batch in batches:
        batch.x[:] += np.float32(shift)
    return Case(model=model, batches=batches, backbone_weights="imagenet/vgg16")


def sick() -> Case:
    return _case(1.0, 0.0)


def sick_uncentred() -> Case:
    return _case(255.0, 0.0)


def _trained_encoder(scale: float) -> Case:
    """Statistics of images from −1 to 1 in its first layer."""
    import keras

    model = segmenter(3, "softmax", before=[keras.layers.BatchNormalization(name="encoder_norm")])
    batches = squares("ids")
    pixels = 2 * batches[0].x - 1
    norm = model.get_layer("encoder_norm")
    norm.moving_mean.assign(pixels.mean(axis=(0, 1, 2)))
    norm.moving_variance.assign(pixels.var(axis=(0, 1, 2)))
    for batch in batches:
        batch.x[:] = scale * (2 * batch.x - 1) + (1 - scale)
    return Case(model=model, batches=batches)


def sick_by_its_statistics() -> Case:
    return _trained_encoder(0.5)


def healthy_by_its_statistics() -> Case:
    return _trained_encoder(1.0)


def sick_made_anew() -> Case:
    """Names alone do not tell that anything was loaded."""
    return _case(1.0, 0.0, loaded=False)


def healthy() -> Case:
    return _case(255.0, -110.0)
