"""Augmentation moves the image and not the mask.

## What it looks for
A pattern is sent through the augmentation as image and as mask, a few dozen times: both must come out moved alike.
Random flips, rotations and shifts inside the model, where no mask passes. And samples that the pipeline gives twice
with exactly the same mask: their images must not be mirrored, turned or shifted copies of each other. Brightness,
noise and blur may differ. And the masks of all samples are searched for on their own images and on others': they must
fit where they are given, not mirrored, turned or shifted, each in another way; nor in the same way whenever a sample
is drawn, for then they are stored so.

## Why the model does not learn
Every epoch the target lies somewhere else than the object, so the best answer is a blur around the mean, or nothing:
the loss stays near the entropy of the class shares, and is worse with augmentation than without.

## What to do
One joint transform for both, or the same seed for both generators.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segnosis.doctor import pair_patients
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.augmentation_geometry import AugmentationGeometry
from segnosis.doctor.evidence.common_map import CommonMap
from segnosis.doctor.evidence.sample_moves import (
    AS_GIVEN,
    CERTAIN,
    IN_PLACE,
    ONE_TURN,
    STANDING_OUT,
    SampleMoves,
)
from segnosis.doctor.evidence.steady_moves import SteadyMoves
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.shown import tiles
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "PRE005", "error"


def check(
    augmentation_geometry: AugmentationGeometry,
    *,
    min_apart: float = 0.15,
    min_met: int = 3,
    min_moved: float = 0.25,
    min_standing_out: float = STANDING_OUT,
    certain_standing_out: float = CERTAIN,
    max_in_place: float = IN_PLACE,
    max_one_move: float = 0.75,
    min_one_turn: float = ONE_TURN,
    max_as_given: float = AS_GIVEN,
    max_steady: float = 0.85,
    sample_moves: SampleMoves | None = None,
    steady_moves: SteadyMoves | None = None,
    common_map: CommonMap | None = None,
) -> Verdict:
    seen = augmentation_geometry
    measured = {
        "geometric_layers_in_model": ", ".join(seen.layers) or "none",
        "patterns_tried": seen.tried,
        "moved_apart": seen.apart,
        "mask_left_as_it_was": seen.mask_kept,
        "samples_met_twice": seen.met_again,
        "image_moved_mask_not": seen.moved_again,
        "masks_searched_for": sample_moves.compared if sample_moves else None,
        "fit_in_place": sample_moves.widest.in_place if sample_moves else None,
    }
    if seen.layers:
        names = ", ".join(f"`{name}`" for name in seen.layers)
        return Finding(
            says=f"Inside the model, {names} move{'s' * (len(seen.layers) == 1)} the image while training, and no mask "
            "passes there.",
            measured=measured,
            fix=f"Take {names} out of the model and move image and mask together in the input pipeline: "
            '`segnosis.data.feed(dataset, batch_size=8, size=(256, 256), augment="default")`.',
            where=seen.layers,
        )
    if seen.tried and seen.apart >= max(2, min_apart * seen.tried):
        kept = seen.mask_kept >= 0.8 * seen.apart
        return Finding(
            says=f"In {seen.apart} of {seen.tried} tries the augmentation moved the image and "
            + ("left the mask as it was." if kept else "moved the mask differently."),
            measured=measured,
            fix=_fix(kept),
            where=("augmentation",),
            pictures=(tiles("A pattern sent through your augmentation as image and as mask", [seen.seen]),),
        )
    if seen.met_again >= min_met and seen.moved_again >= max(2, min_moved * seen.met_again):
        return Finding(
            says=f"Of {seen.met_again} samples met again with exactly the same mask, {seen.moved_again} had their "
            f"image moved ({seen.example}): the pipeline augments the image alone.",
            measured=measured,
            fix=_fix(True),
            where=("the input pipeline",),
        )
    if sample_moves is not None:
        search = sample_moves.widest
        commonest = max(search.moves.values()) / sample_moves.compared  # one move for all is not augmentation
        # nor is one that joint mirroring has multiplied: DAT002 says so
        alike = sample_moves.turned_alike(min_one_turn, max_as_given, min_standing_out)
        one_for_all = commonest > max_one_move or alike is not None
        one_for_all |= common_map is not None and common_map.is_clear()
        if steady_moves is not None:  # a second draw would move them in another way
            measured |= {"drawn_twice": steady_moves.met, "moved_in_one_way": steady_moves.kept}
            one_for_all |= steady_moves.kept >= max_steady * steady_moves.met
        if search.lies_elsewhere(min_standing_out, max_in_place) and not one_for_all:
            told = ", ".join(f"{count} {name}" for name, count in search.moves.items())
            return Finding(
                says=f"The masks of {sample_moves.compared} samples fit their own images in ways that differ from "
                f"sample to sample ({told}): image and mask are moved differently.",
                measured=measured,
                fix=_fix(False),
                where=("the input pipeline",),
                level="proven" if search.stands_out >= certain_standing_out else "suspected",
            )
    return Healthy(measured)


def _fix(kept: bool) -> str:
    if kept:
        return (
            "Apply the same flip, rotation or shift to the mask, with nearest interpolation: "
            "`if rng.random() < 0.5: image, mask = image[:, ::-1], mask[:, ::-1]`; with Keras' generators two flows of "
            "one `seed`, images and masks, zipped."
        )
    return (
        "Draw the parameters once for both, or give both generators the same `seed` and the same geometric arguments."
    )


def _case(augment: Any) -> Case:
    return Case(model=segmenter(3), batches=squares("ids"), augment=augment)


def sick() -> Case:
    random = np.random.default_rng(0)

    def flip_image(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (image[:, ::-1] if random.random() < 0.5 else image), mask

    return _case(flip_image)


def _drawn(turns: tuple[int, int]) -> Case:
    """Batches as a generator gives them: images and masks turned by themselves as often as told, at most."""
    random = np.random.default_rng(0)
    batches = []
    for batch in squares("ids", count=6, size=32):
        x, y = ([np.rot90(part, int(random.integers(most + 1))) for part in array] for array, most in
                zip((batch.x, batch.y), turns, strict=True))  # fmt: skip
        batches.append(Batch(np.stack(x), np.stack(y)))
    return Case(model=segmenter(3, size=32), batches=batches)


def sick_in_every_sample() -> Case:
    return _drawn((3, 3))


def healthy_in_every_sample() -> Case:
    return _drawn((0, 0))


def healthy_stored_upside_down() -> Case:
    """Every third image lies upside down on the disk; what turns the pairs afterwards turns both."""
    import keras

    images, masks = pair_patients.scenes(32)
    images[::3] = images[::3, ::-1, ::-1]
    random = np.random.default_rng(0)

    class Mirrored(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(4 * index, 4 * index + 4)
            turns = [(part, int(random.integers(4))) for part in range(4)]
            x, y = ([np.rot90(array[rows][part], turn) for part, turn in turns] for array in (images, masks))
            return np.stack(x)[..., None] / 255, np.stack(y)

    data = Mirrored()
    return Case(batches=[Batch(*data[index]) for index in range(8)], fit_arguments={"x": data})


def healthy() -> Case:
    random = np.random.default_rng(0)

    def flip_both(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if random.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return 0.8 * image + 0.05 * random.normal(size=image.shape), mask

    return _case(flip_both)
