"""From what a data set measures to a plan: every choice with its reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from segnosis.data.bottleneck import cores
from segnosis.data.fingerprint import Fingerprint
from segnosis.training import build, machine, stretch
from segnosis.training.plan import Plan

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset

_DEPTH = 4
_SIDES = (128, 192, 256, 320)
_UNEVEN = 2.5
"""Ratio of the 90th to the 10th percentile of image contrast above which one scale cannot serve all images."""
_QUICK_MINUTES = 30.0
"""Budgets below this get a narrower network: more steps teach more than more filters."""
_BRIEF_MINUTES = 8.0
"""Minutes of one processor core below which a training sees too few crops to learn from: whole images are smaller."""
_WORTH_STRETCHING = 0.6
"""Share of a crop's pixels that whole images may have to be worth their loss of sharpness;"""
_SHARP = 0.95
"""the Dice that masks must keep at that size."""
_BRIEF_BATCH = 4
"""Samples a batch there, for more steps."""
_MANY_GROUPS = 50
"""Fewer patients, slides or single images than this are soon learnt by heart."""


def plan(
    fingerprint: Fingerprint,
    *,
    data: str,
    training_samples: int,
    seed: int = 0,
    model: str | None = None,
    backbone: str | None = None,
    weights: str | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    unreadable: str = "stop",
    fold: tuple[int, int] | None = None,
    nan: float | None = None,
    training: Dataset | None = None,
) -> Plan:
    """Decide everything.

    Args:
        fingerprint: What the data measures.
        data: Where it is.
        training_samples: Samples to learn from.
        seed: Seed of the run.
        model: Architecture that was asked for.
        backbone: Backbone that was asked for.
        weights: File of pretrained weights to start from.
        epochs: Epochs that were asked for.
        minutes: Budget that was asked for; how many steps fit is measured when training starts.
        unreadable: Whether an unreadable sample stops training or is left out.
        fold: Number and count of the fold that is held out, in cross-validation.
        nan: Number that NaN and infinite pixels were read as.
        training: The samples to learn from: what smaller images would cost is measured on their masks.
    """
    spec, reasons = fingerprint.spec, {}
    chosen: dict[str, Any] = {"data": data, "seed": seed, "fold": fold, "class_names": spec.class_names}
    chosen["unreadable"] = unreadable
    reasons["class_names"] = f"{spec.num_classes} classes: {spec.saw}"
    chosen["reader"], reasons["reader"] = spec.reader, "it recognised the folder"
    if spec.ignore_class is not None:
        chosen["ignore_class"] = spec.ignore_class
        reasons["ignore_class"] = f"{fingerprint.ignored_share:.1%} of the mask pixels are no class"

    if nan is not None:
        chosen["nan"], reasons["nan"] = nan, "you asked for it"

    side, chosen["fit_to_size"], reasons["size"] = _size(fingerprint)
    chosen["size"] = (side, side)
    half = _half(fingerprint, side, training, minutes, reasons) if chosen["fit_to_size"] == "crop" else None
    if half is not None:
        chosen["size"], chosen["fit_to_size"] = half, "resize"
    else:
        reasons["fit_to_size"] = (
            "objects are larger than a crop: whole images, stretched to the size"
            if chosen["fit_to_size"] == "resize"
            else "crops keep the resolution of the files"
        )
    chosen["preprocessing"], chosen["intensity"], reasons["preprocessing"] = _preprocessing(fingerprint)
    chosen["precision"], reasons["precision"] = machine.precision()
    chosen["batch_size"], reasons["batch_size"] = machine.batch_size(8 if side <= 256 else 4)
    if half is None:
        chosen["foreground_share"], reasons["foreground_share"] = _foreground(fingerprint, side)
    else:
        reasons["batch_size"] = f"twice the steps of batches of {2 * _BRIEF_BATCH}, of which there would be few"
        chosen["batch_size"] = _BRIEF_BATCH
    chosen["augment"], reasons["augment"] = _augment(fingerprint, training_samples, minutes)

    quick = minutes is not None and minutes <= _QUICK_MINUTES
    chosen["model"], reasons["model"] = model, "you asked for it"
    if model is None:
        chosen["model"], reasons["model"] = "unet", "the strongest simple default for any number of classes"
    if chosen["model"] in ("unet", "unet_plus_plus"):
        width = 16 if quick or machine.on_cpu() else 32
        chosen["model_arguments"] = {"width": width, "depth": _DEPTH}
        reasons["model_arguments"] = f"{width} filters at full resolution" + (
            ": on a CPU more steps teach more than more filters" if width == 16 else ""
        )
        if chosen["model"] == "unet_plus_plus":
            chosen["model_arguments"]["deep_supervision"] = True
            reasons["model_arguments"] += ", and an output per depth, so that you can choose one by its score and cost"
    reasons["normalization_momentum"] = "Keras' 0.99 still keeps a third of the start values after 100 steps"
    chosen["losses"] = {"CrossEntropy": 1.0, "Dice": 1.0}
    rarest = min((facts.share for facts in fingerprint.classes[1:] if facts.images), default=1.0)
    reasons["losses"] = f"cross-entropy for every pixel, Dice against imbalance: the rarest class covers {rarest:.2%}"
    chosen["optimizer"], chosen["learning_rate"] = "adamw", 2e-3
    reasons["learning_rate"] = "AdamW with BatchNormalization and a warm-up takes it"
    reasons["recompute_statistics"] = "the running means of training remember about ten batches"
    chosen["schedule"], reasons["schedule"] = "cosine", "ends with small steps, so that the last epochs are the best"
    chosen["weight_decay"] = 1e-2
    reasons["weight_decay"] = "decoupled from the loss, which therefore shows the data term alone"
    chosen |= _length(training_samples, chosen["batch_size"], epochs, minutes, reasons)
    chosen["window"], reasons["window"] = _window(fingerprint, chosen["size"], crop=chosen["fit_to_size"] == "crop")
    chosen["mirror"] = bool(quick)
    reasons["mirror"] = "the mean over mirror images is steadier" if quick else "one look is enough"
    return changed(Plan(**chosen, reasons=reasons), backbone=backbone, weights=weights)


def changed(plan: Plan, *, backbone: str | None = None, weights: str | None = None, **changes: Any) -> Plan:
    """`plan` with what was asked for; a backbone and pretrained weights bring with them what they need.

    Args:
        plan: A plan.
        backbone: Backbone to encode with.
        weights: File of pretrained weights to start from.
        changes: Fields of the plan.

    Raises:
        ArgumentError: There is no model, backbone or loss of the name that the plan gives.
    """
    plan = plan.with_(**changes)
    if backbone is not None:
        # A backbone has five levels, and the decoder as many.
        kept = {name: value for name, value in plan.model_arguments.items() if name != "depth"}
        arguments = {**kept, "backbone": backbone}
        plan = plan.with_({"model_arguments": f"{backbone}: you asked for it"}, model_arguments=arguments)
    build.check_names(plan)
    if not weights:
        return plan
    plan = plan.with_({"weights": "you asked for it"}, weights=weights)
    if build.backbone(plan) is None:
        return plan
    kept_for = max(1, plan.epochs // 10)
    return plan.with_(
        {
            "weights_into": "the backbone is pretrained, the rest learns from scratch",
            "preprocessing": "pixel values as the backbone's published weights expect them",
            "frozen": "until the new layers make sense, the pretrained ones stay as they are",
            "thawed_rate": "small steps keep what the backbone knows",
        },
        weights_into="backbone",
        preprocessing="backbone",
        frozen={"backbone": kept_for},
    )


def pixels_of_tiles(plan: Plan, fingerprint: Fingerprint) -> float:
    """Pixels the model is shown to predict one whole image once: overlapping tiles and all."""
    window = plan.window or plan.size
    tile = float(window[0] * window[1])
    tiles = 1.0
    if plan.fit_to_size == "crop":
        for extent, side in ((fingerprint.height, window[0]), (fingerprint.width, window[1])):
            tiles *= max(1.0, math.ceil((extent[1] - side) / (side * (1 - plan.overlap)) + 1))
    return tiles * tile


def _size(fingerprint: Fingerprint) -> tuple[int, str, str]:
    """Side of a training image, how it is cut, and why."""
    height, width = fingerprint.height[1], fingerprint.width[1]
    extent = max((math.sqrt(c.object_area[2]) for c in fingerprint.classes[1:] if c.object_area), default=0.0)
    longest = max(height, width)
    if extent > 0.35 * longest and longest > _SIDES[2]:
        return 256, "resize", f"large objects span {extent:.0f} of {longest} pixels"
    want = max(128.0, 4.0 * extent)
    side = next((side for side in _SIDES[:3] if side >= want), _SIDES[2])
    side = min(side, max(128, math.ceil(min(height, width) / 2**_DEPTH) * 2**_DEPTH))
    reason = f"large objects span {extent:.0f} pixels" if extent else "objects are small"
    return side, "crop", f"{reason}; the median image is {height} × {width}"


def _half(
    fingerprint: Fingerprint, side: int, training: Dataset | None, minutes: float | None, reasons: dict[str, str]
) -> tuple[int, int] | None:
    """Half the size of the images where the minutes are few and what is lost is little, and why."""
    if training is None or minutes is None or not machine.on_cpu() or minutes * cores() > _BRIEF_MINUTES:
        return None
    half = stretch.halved(fingerprint)
    share = math.inf if half is None else half[0] * half[1] / side**2
    if half is None or share > _WORTH_STRETCHING:
        return None
    kept = stretch.kept(training, half)
    if kept < _SHARP:
        return None
    reasons["size"] = (
        f"in {minutes:g} min on {cores()} processor core{'s' * (cores() > 1)} steps are few: whole images at half "
        f"their size have {share:.2f} of the pixels of {side} × {side} crops, and masks keep a Dice of {kept:.3f} there"
    )
    reasons["fit_to_size"] = "whole images, stretched to the size"
    return half


def _window(fingerprint: Fingerprint, size: tuple[int, int], *, crop: bool) -> tuple[tuple[int, int], str]:
    """Tile of whole-image prediction, and why: no larger than the images, or mirrored margins cost as much as they."""
    if not crop:
        return size, "the training size"
    most = min(256, 2 * max(size))
    height, width = (
        min(most, math.ceil(x[1] / 2**_DEPTH) * 2**_DEPTH) for x in (fingerprint.height, fingerprint.width)
    )
    return (height, width), "whole images where they are no larger than a tile, overlapping tiles where they are"


def _preprocessing(fingerprint: Fingerprint) -> tuple[str, tuple[float, float], str]:
    """First layer, its range, and why."""
    if fingerprint.spec.dtype == "uint8":
        low, _, high = fingerprint.contrast or (1.0, 1.0, 1.0)
        if high > _UNEVEN * max(low, 1e-6):
            return (
                "standardize",
                (0.0, 255.0),
                (f"contrast differs {high / max(low, 1e-6):.0f}-fold between images: each gets mean 0 and deviation 1"),
            )
        return "scale", (0.0, 255.0), "8-bit images: 0–255 to −1…1 inside the model"
    low, high = (f(getattr(c, k) for c in fingerprint.channels) for f, k in ((min, "p005"), (max, "p995")))
    return "standardize", (low, high), "intensities have no fixed unit: every image gets mean 0 and deviation 1"


def _foreground(fingerprint: Fingerprint, side: int) -> tuple[float, str]:
    """Share of crops that must hold foreground, and why."""
    rarest = min((facts.share for facts in fingerprint.classes[1:] if facts.images), default=1.0)
    area = side * side / (fingerprint.height[1] * fingerprint.width[1])
    if rarest < 0.2 and area < 0.9:
        return 0.5, f"the rarest class covers {rarest:.2%}: half the crops are centred on a class, each equally often"
    return 0.0, "crops hold enough of every class as they fall"


def _augment(fingerprint: Fingerprint, samples: int, minutes: float | None) -> tuple[str, str]:
    """How much the training images are varied, and why."""
    brief = minutes is not None and minutes <= _QUICK_MINUTES and machine.on_cpu()
    if brief and fingerprint.groups >= _MANY_GROUPS:
        return "light", (
            f"in {minutes:g} minutes a CPU sees {samples} samples too seldom to learn them by heart: mirror images do"
        )
    return "default", f"{samples} training samples are few: flips, turns, scales, brightness and contrast"


def _length(
    samples: int, batch_size: int, epochs: int | None, minutes: float | None, reasons: dict[str, str]
) -> dict[str, Any]:
    steps = max(math.ceil(samples / batch_size), 20)
    if minutes is not None:
        reasons["minutes"] = "you asked for it; epochs and steps follow from the measured speed when training starts"
        return {"minutes": minutes, "steps_per_epoch": steps, "epochs": 20}
    reasons["steps_per_epoch"] = f"{samples} samples in batches of {batch_size}" + (
        ", each cropped several times" if steps * batch_size > samples + batch_size else ""
    )
    if epochs is not None:
        reasons["epochs"] = "you asked for it"
        return {"epochs": epochs, "steps_per_epoch": steps}
    wanted = int(min(max(math.ceil(3000 / steps), 20), 150))
    reasons["epochs"] = f"{wanted} × {steps} = {wanted * steps} steps, all of them: the small ones at the end count"
    return {"epochs": wanted, "steps_per_epoch": steps}
