"""Masks lie elsewhere than what they mark: another size, turned, flipped or shifted.

## What it looks for
Masks of another height or width than their image. Masks whose outlines fit the edges of the image clearly better when
transposed, flipped, turned or shifted by up to an eighth of the image: in most pairs, or, by a wider margin, in one. A
mask that fits by chance is told by the spread of chance: a single one must stand 4 of its standard deviations above,
and as far above what the same mask, moved alike, reaches on images that are not its own. One shifted mask is only
suspected: a small outline finds a second place by chance. Symmetric scenes gain nothing by a flip and stay silent. A
turn that an augmentation mirrors afterwards, image and mask together, is found as what it has become, a transposition
along either diagonal say, where at most `most_as_given` of the masks fit as they are. And one scaling and shift of all
masks, what a cut, a border or another size does to one side alone: searched on half of the samples, it must fit the
other half clearly better than other masks, and the other way round. Where the training batches leave it open, the pairs
of the validation batches are asked, which are hardly ever augmented: there one move must explain most of at least
`fewest_held_out` pairs. Behind an augmentation that moves every sample, one shifted mask is nothing: a crop may leave
too little of its outline. And images or masks whose numbers stand in the wrong places: read as channels, height, width,
or as width, height, neighbours differ far less than as given.

## Why the model does not learn
The network is asked to mark the place where the object would be in a mirror. It learns what the objects look like,
and is punished for it; where a constant shift is small it learns the shift.

## What to do
Export the mask in the orientation and at the size of its image; apply EXIF orientation to both or to neither;
exchange axes once: `mask = mask.T`. Resize masks with nearest interpolation only. Axes are moved by `transpose`;
`reshape` leaves the numbers in their order and puts them into other places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from scipy import ndimage as nd

from segnosis.doctor import pair_patients
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.axis_orders import AxisOrder, AxisOrders
from segnosis.doctor.evidence.common_map import LEAST_GAIN, LEAST_MOVED, MOST_IN_PLACE, CommonMap
from segnosis.doctor.evidence.drawn_again import DrawnAgain
from segnosis.doctor.evidence.pair_agreement import Misplaced, PairAgreement
from segnosis.doctor.evidence.pair_files import PairFiles
from segnosis.doctor.evidence.sample_moves import AS_GIVEN, CERTAIN, ONE_TURN, STANDING_OUT, SampleMoves
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "DAT002", "error"
EXPLAINED_BY = ("DAT001", "PRE005")

_MENDS = {
    "flipped left to right": "mask = mask[:, ::-1]",
    "flipped top to bottom": "mask = mask[::-1]",
    "rotated by 180°": "mask = mask[::-1, ::-1]",
    "transposed": "mask = mask.T",
    "rotated by 90°": "mask = np.rot90(mask, -1)",
    "rotated by 270°": "mask = np.rot90(mask)",
    "transposed along the other diagonal": "mask = mask[::-1, ::-1].T",
}


def check(
    pair_files: PairFiles | None = None,
    pair_agreement: PairAgreement | None = None,
    batch_agreement: PairAgreement | None = None,
    *,
    most: float = 0.6,
    mean_gain: float = 0.25,
    proven_gain: float = 0.4,
    suspected_gain: float = 0.3,
    shift_gain: float = 0.9,
    suspected_noise: float = 2.5,
    proven_noise: float = 4.0,
    suspected_surprise: float = 3.5,
    proven_surprise: float = 5.0,
    most_own: float = 0.5,
    most_as_given: float = AS_GIVEN,
    min_one_turn: float = ONE_TURN,
    min_standing_out: float = STANDING_OUT,
    certain_standing_out: float = CERTAIN,
    min_map_gain: float = LEAST_GAIN,
    max_map_in_place: float = MOST_IN_PLACE,
    min_map_moved: float = LEAST_MOVED,
    certain_map_gain: float = 8.0,
    certain_map_in_place: float = 0.35,
    fewest_held_out: int = 12,
    max_roughness: float = 0.88,
    min_smoother: float = 0.9,
    fewest_arrays: int = 8,
    sample_moves: SampleMoves | None = None,
    common_map: CommonMap | None = None,
    validation_agreement: PairAgreement | None = None,
    drawn_again: DrawnAgain | None = None,
    axis_orders: AxisOrders | None = None,
) -> Verdict:
    agreement = batch_agreement if batch_agreement is not None and batch_agreement.compared >= 8 else pair_agreement
    orders = {} if axis_orders is None else {"image": axis_orders.images, "mask": axis_orders.masks}
    for part, order in orders.items():
        if order.samples >= fewest_arrays and order.roughness <= max_roughness and order.smoother >= min_smoother:
            return _scrambled(part, order)
    if agreement is None and pair_files is None:
        return NotApplicable("neither images with masks nor batches were given")
    move, share, gain = agreement.commonest_move if agreement is not None else ("none", 0.0, 0.0)
    measured = {
        "other_size": pair_files.other_size_count if pair_files else 0,
        "pairs": pair_files.pairs if pair_files else 0,
        "compared_pairs": agreement.compared if agreement else 0,
        "commonest_move": move,
        "share_that_gain_by_it": share,
        "mean_gain": gain,
    }
    if pair_files is not None and pair_files.other_size_count:
        odd = pair_files.other_size[0]
        how = (
            "height and width are exchanged"
            if pair_files.transposed == pair_files.other_size_count
            else "the scale differs"
            if pair_files.scaled == pair_files.other_size_count
            else "the sizes have nothing in common"
        )
        return Finding(
            says=f"{pair_files.other_size_count} of {pair_files.pairs} masks have another size than their image "
            f"({how}): "
            f"{odd.where} is {odd.mask[0]} × {odd.mask[1]}, its image {odd.image[0]} × {odd.image[1]}.",
            measured=measured,
            fix="mask = mask.T"
            if pair_files.transposed == pair_files.other_size_count
            else f"Export the masks at the size of their images, or `mask = cv2.resize(mask, ({odd.image[1]}, "
            f"{odd.image[0]}), "
            "interpolation=cv2.INTER_NEAREST)`",
            where=tuple(item.where for item in pair_files.other_size[:20]),
        )
    turned = None
    if sample_moves is not None:
        turned = _turned_before_an_augmentation(
            sample_moves, measured, min_one_turn, most_as_given, min_standing_out, certain_standing_out
        )
    if turned is None and common_map is not None and common_map.is_clear(min_map_gain, max_map_in_place, min_map_moved):
        is_certain = common_map.gain >= certain_map_gain and common_map.in_place <= certain_map_in_place
        turned = _mapped(common_map, measured, is_certain)
    if agreement is not None and agreement.capable and share >= most and gain >= mean_gain:
        return _alike(agreement, "", measured)
    held_out = validation_agreement
    if held_out is not None and held_out.capable and held_out.compared >= fewest_held_out:
        _, share, gain = held_out.commonest_move
        if share >= most and gain >= mean_gain:
            return _alike(held_out, "In the validation batches, ", measured)
    if turned is not None or agreement is None or not agreement.capable:
        return turned or Healthy(measured)
    moved = drawn_again is not None and drawn_again.in_place is False and agreement is batch_agreement
    noise = agreement.spread / agreement.unit
    single = [
        item
        for item in agreement.misplaced
        if item.own <= most_own
        and not (moved and "shifted" in item.move)  # a crop may leave too little of an outline to know its place
        and item.gain >= _least(item, suspected_gain, shift_gain)
        and item.own + item.gain >= suspected_noise * noise
        and item.surprise >= suspected_surprise
    ]
    if single:
        worst = single[0]
        return Finding(
            says=f"{len(single)} of {agreement.compared} masks fit their images better when moved: {worst.where} "
            f"fits {max(worst.own, 0):.0%} "
            f"as well as a right pair as it is, and {worst.own + worst.gain:.0%} when {worst.move}.",
            measured=measured,
            fix=_mend(worst.move),
            where=tuple(item.where for item in single[:20]),
            level="proven"
            if worst.gain >= proven_gain
            and "shifted" not in worst.move
            and worst.own + worst.gain >= proven_noise * noise
            and worst.surprise >= proven_surprise
            else "suspected",
        )
    return Healthy(measured)


def _scrambled(part: str, order: AxisOrder) -> Finding:
    """Numbers in the wrong places; a mask may still lie on its image, where both were treated so."""
    axes = order.order.split(", ")
    moved = f"{part} = {part}.transpose(1, 2, 0)" if len(axes) == 3 else f"{part}.reshape(height, width)"
    return Finding(
        says=f"The numbers of the {part}s stand in the wrong places: read as ({order.order}), neighbours differ "
        f"{order.roughness:.2f} times as much as now, in {order.smoother:.0%} of {order.samples} samples.",
        measured={"samples": order.samples, "roughness": order.roughness, "smoother": order.smoother},
        fix=f"Where `reshape` gives the {part}s another order of axes: `{moved}`",
    )


def _alike(agreement: PairAgreement, where: str, measured: Mapping[str, Any]) -> Finding:
    """Most masks are moved in one way."""
    move, share, gain = agreement.commonest_move
    shift = "shifted" in move
    named = [item for item in agreement.misplaced if item.move == move or (shift and "shifted" in item.move)]
    spoken = named[0].move if shift and named else move
    return Finding(
        says=f"{where}{share:.0%} of {agreement.compared} masks fit their images better when {spoken}; the mean gain "
        f"is {gain:.0%} of what sets a right pair apart from a wrong one.",
        measured=measured,
        fix=_mend(spoken),
        where=tuple(item.where for item in named[:20]),
    )


def _turned_before_an_augmentation(
    sample_moves: SampleMoves,
    measured: Mapping[str, Any],
    min_one_turn: float,
    most_as_given: float,
    min_standing_out: float,
    certain_standing_out: float,
) -> Finding | None:
    seen = sample_moves.turned_alike(min_one_turn, most_as_given, min_standing_out)
    if seen is None:
        return None
    return Finding(
        says=f"{seen.share:.0%} of the masks that fit their images in some turn fit when {seen.turn}, some of them "
        f"after mirroring both; {seen.as_given:.0%} fit as they are ({sample_moves.compared} samples).",
        measured={**measured, "masks_that_fit_when_turned": seen.share, "masks_that_fit_as_they_are": seen.as_given},
        fix=_mend(seen.turn),
        where=("the input pipeline, before the augmentation",),
        level="proven" if seen.stands_out >= certain_standing_out else "suspected",
    )


def _mapped(seen: CommonMap, measured: Mapping[str, Any], is_certain: bool) -> Finding:
    """Image and mask cut, padded or scaled by different amounts, all of them alike."""
    return Finding(
        says=f"Together, the masks of {seen.samples} samples fit their images better when {seen.told()}: as given "
        f"{max(seen.in_place, 0):.0%} as well. In samples that were not searched it gains {seen.gain:.0f} standard "
        "errors.",
        measured={
            **measured,
            "scale_of_height": seen.scale[0],
            "scale_of_width": seen.scale[1],
            "shift_down": seen.shift[0],
            "shift_right": seen.shift[1],
            "gain_in_standard_errors": seen.gain,
            "fit_as_given": seen.in_place,
        },
        fix="Cut, pad and resize both by the same amounts: `mask = cv2.resize(mask, size, interpolation="
        "cv2.INTER_NEAREST)` where the image is resized, the same rows and columns where it is cut or padded",
        where=("the input pipeline",),
        level="proven" if is_certain else "suspected",
    )


def _least(item: Misplaced, turn: float, shift: float) -> float:
    return shift if "shifted" in item.move else turn


def _mend(move: str) -> str:
    if move in _MENDS:
        return f"`{_MENDS[move]}`"
    shift = move.removeprefix("shifted by ").removesuffix(" pixels")
    return (
        f"`mask = scipy.ndimage.shift(mask, {shift}, order=0)`, and find what moved it (padding, a crop, an off-by-one)"
    )


def sick() -> Case:
    images, masks = pair_patients.scenes(16)
    return Case(pairs=pair_patients.pairs(images, [mask.T for mask in masks]), spec=pair_patients.SPEC)


def sick_by_reshape() -> Case:
    images, masks = pair_patients.scenes(16)
    images = np.stack([nd.gaussian_filter(image, 1) for image in images])
    planes = images[:, None] * np.array([1.0, 0.8, 0.6], np.float32)[:, None, None]  # channels first
    return Case(batches=[Batch(planes.reshape(*images.shape, 3) / 255, masks)])


def sick_by_a_cut() -> Case:
    """The image is scaled to half its size, of the mask the middle is cut out."""
    images, masks = pair_patients.scenes(40, size=96)
    small = np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA) for image in images])
    return Case(batches=pair_patients.batches(small, masks[:, 24:72, 24:72]))


def sick_by_a_border() -> Case:
    """The image is padded all around, the mask above and to the left alone."""
    images, masks = pair_patients.scenes(40, size=40)
    images = np.pad(images, ((0, 0), (4, 4), (4, 4)), mode="edge")
    masks = np.pad(masks, ((0, 0), (8, 0), (8, 0)), mode="edge")
    return Case(batches=pair_patients.batches(images, masks))


def healthy_in_batches() -> Case:
    return Case(batches=pair_patients.batches(*pair_patients.scenes(40)))


def healthy() -> Case:
    return Case(pairs=pair_patients.pairs(*pair_patients.scenes(16)), spec=pair_patients.SPEC)
