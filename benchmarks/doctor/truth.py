"""Whether planted faults do harm: each is trained beside its healthy twin, and independent foreground Dice decides."""

from __future__ import annotations

import gc
import json
import os
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from benchmarks.doctor import catalogue
from benchmarks.doctor.measure import Worker
from benchmarks.doctor.pictures import VOID
from benchmarks.doctor.recipe import Choices, Recipe

STORED = Path(__file__).parents[1] / "results" / "doctor-truth.json"
# Faults of the report, not of the model: the twin's scores are as good, but what the program prints of itself is wrong.
OF_THE_REPORT = ("DAT005", "DAT006", "PRE007", "MET001", "MET002", "EVA001", "OPT003", "NRM004")
MARGIN, CLEAR = 0.03, 0.15  # of Dice, over the seeds; a gap that is clear with one seed needs no second


def harmless() -> frozenset[str]:
    """Names of planted faults whose twin was not better, which are therefore not scored."""
    if not STORED.exists():
        return frozenset()
    return frozenset(entry["fault"] for entry in json.loads(STORED.read_text()) if entry["harm"] is False)


def prove_all(only: Sequence[str], log: Path | None) -> list[dict[str, Any]]:
    """Every planted fault in one way of writing; those already in `log` are read from it."""
    done: dict[str, Any] = {}
    if log is not None and log.exists():
        done = {entry["fault"]: entry for entry in map(json.loads, log.read_text().splitlines())}
    catalogue.fill()
    worker = Worker(_proved, seconds=600)
    try:
        for entry in catalogue.FAULTS:
            if entry.name in done or (only and not any(word in f"{entry.codes[0]} {entry.name}" for word in only)):
                continue
            try:
                done[entry.name] = worker.ask(entry.name)
            except (TimeoutError, EOFError) as error:
                done[entry.name] = {"fault": entry.name, "code": entry.codes[0], "harm": None, "why": str(error)}
            print(done[entry.name], flush=True)
            if log is not None:
                with log.open("a") as file:
                    file.write(json.dumps(done[entry.name]) + os.linesep)
    finally:
        worker.end()
    return [done[entry.name] for entry in catalogue.FAULTS if entry.name in done]


def _proved(name: str) -> dict[str, Any]:
    """Scores of the fault `name` and its twin; `harm` is `None` where Dice is not what it harms."""
    catalogue.fill()  # this may be another process than the one that asks
    entry = next(entry for entry in catalogue.FAULTS if entry.name == name)
    said: dict[str, Any] = {"fault": name, "code": entry.codes[0], "harm": None}
    if entry.codes[0] in OF_THE_REPORT:
        return {**said, "why": "harms what is reported, not the model"}
    ways = [way for way in (*catalogue.WAYS, *catalogue.REAL_WAYS) if catalogue.writable(way) and entry.fits(way)]
    if not ways:
        return {**said, "why": "is written in none of the fixed ways"}
    said["way"] = str(ways[0])
    said["planted"], said["twin"], gaps = [], [], []
    for seed in (0, 1):
        sick, well = _trained(f"{name}@{ways[0]}#{seed}", healthy=False), _twin(ways[0], seed)
        said["planted"].append(sick)
        said["twin"].append(well)
        gaps.append(1.0 if isinstance(sick, str) else well - sick)
        if gaps[0] > CLEAR:
            break
    said["harm"] = bool(np.mean(gaps) > MARGIN)
    return said


@cache
def _twin(way: Choices, seed: int) -> float:
    """Foreground Dice of the program without any fault; the same for all faults in this way of writing."""
    score = _trained(f"plain@{way}#{seed}", healthy=True)
    assert not isinstance(score, str), f"the healthy program {way} raised {score}"
    return score


def _trained(name: str, healthy: bool) -> float | str:
    """Foreground Dice on held-out images after twenty epochs, or the error that ended the training."""
    keras.backend.clear_session()
    gc.collect()
    recipe = catalogue.find(name).recipe(healthy=healthy)
    recipe.fit = {**recipe.fit, "validation_data": None}
    recipe.metrics = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            recipe.run()
            return round(foreground_dice(recipe), 3)
    except Exception as error:  # a program that raises has not learned either
        return type(error).__name__


def foreground_dice(recipe: Recipe) -> float:
    """Mean over classes but the background of Dice on held-out images, from argmax or threshold of the outputs.

    Pictures and masks are those that a healthy loader of the same seed would give.
    """
    right = Recipe(recipe.choices, recipe.seed)
    truth, x = right.val_masks, recipe.scale(right.val_images)
    y_pred = np.asarray(keras.ops.convert_to_numpy(recipe.model.predict(x, verbose=0)))  # type: ignore[union-attr]
    is_binary = right.target == "binary" or y_pred.shape[-1] == 1
    ids = y_pred[..., 0] > (0.0 if right.logits else 0.5) if is_binary else y_pred.argmax(-1)
    if ids.shape != truth.shape:
        return 0.0
    scores = []
    for class_id in range(1, right.num_classes):
        hit, true = (ids == class_id) & (truth != VOID), truth == class_id
        if true.any():
            scores.append(2 * (hit & true).sum() / max(1, hit.sum() + true.sum()))
    return float(np.mean(scores))
