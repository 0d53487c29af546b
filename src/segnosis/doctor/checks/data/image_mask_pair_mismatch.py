"""An image is paired with another image's mask.

## What it looks for
Names: a mask that is named after another image of the data set than the one it is paired with, as stored or in the
lists that a pipeline holds. Sizes: masks that do not fit their images but each other's. Pixels: the outlines of a mask,
with their directions, are laid over the edges of every image of a sample; the best one-to-one assignment tells whether
masks fit other images better than their own. Masks that gain little by an exchange, look-alikes such as neighbouring
slices, are left alone; where right pairs stand out little from chance, as with tiny objects, an exchange is suspected
at most; without enough structure in the images the check abstains. Where no single pair proves itself, all together
may: when the pairs as given reach little of what the best assignment does, and this far more than mirrored and turned
masks ever do.

Masks that several unlike images share must fit more than one of them: a cache under the wrong key gives one away to
all.

Samples that the pipeline moves, each in another way, cannot fit each other's images: there a few exchanged masks are
chance. Where nobody knows whether they are moved, an exchange of less than half of the masks is suspected at most, and
it must be that of most masks in it, not of one, and rare among other pairs. Where the training batches leave it open,
the pairs of the validation batches are asked, which are hardly ever augmented and read by the same code; there at
least half of a dozen masks or more must fit others' images. And where validation masks fit their images and training
masks come to next to nothing of that, the training pairs are wrong, though nobody knows which mask is whose; that is
suspected where samples are moved, which can part image and mask too.

## Why the model does not learn
A wrong mask is noise that no network can explain. One in a hundred lowers the score a little; when two sorted lists
are shifted against each other all are wrong, and the best the network can do is to predict the average mask: the
loss stalls at the entropy of the class prior, and one batch can still be overfitted.

## What to do
Pair by name, not by position in two listings: `pairs = [(f, masks[f.stem]) for f in images]`. Sort both lists the
same way; `10` sorts before `2` in one and after it in the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence.common_map import CommonMap
from segnosis.doctor.evidence.drawn_again import DrawnAgain
from segnosis.doctor.evidence.pair_agreement import Exchange, PairAgreement, Reordered
from segnosis.doctor.evidence.pair_files import PairFiles
from segnosis.doctor.evidence.paired_names import PairedNames
from segnosis.doctor.evidence.repeated_masks import RepeatedMasks
from segnosis.doctor.evidence.sample_moves import AS_GIVEN, ONE_TURN, STANDING_OUT, SampleMoves
from segnosis.doctor.shown import files_side_by_side
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "DAT001", "error"
EXPLAINED_BY = ("PRE005",)

_LEAST_AS_GIVEN = 0.4
_BY_NAME = "`masks = {f.stem: f for f in mask_files}; pairs = [(f, masks[f.stem]) for f in image_files]`"
_LOOK = "Show five pairs side by side; pair by name: `pairs = [(f, masks[f.stem]) for f in image_files]`"


def check(
    pair_files: PairFiles | None = None,
    pair_agreement: PairAgreement | None = None,
    batch_agreement: PairAgreement | None = None,
    *,
    proven_gain: float = 0.4,
    suspected_gain: float = 0.25,
    most_own: float = 0.5,
    least_exchanged: float = 0.6,
    most_moved: float = 0.5,
    above_shuffled: float = 0.95,
    fewest: int = 30,
    proven_spreads: float = 6.0,
    suspected_spreads: float = 3.0,
    most_own_of_best: float = 0.3,
    above_turned: float = 1.3,
    least_typical: float = 0.4,
    most_alike: float = 0.05,
    fewest_held_out: int = 12,
    spreads_held_out: float = 3.0,
    most_of_held_out: float = 0.15,
    min_one_turn: float = ONE_TURN,
    most_as_given: float = AS_GIVEN,
    min_standing_out: float = STANDING_OUT,
    min_shared: float = 0.2,
    min_copies: int = 8,
    min_fit: float = 3.0,
    most_of_fit: float = 0.3,
    sure_masks: int = 4,
    validation_agreement: PairAgreement | None = None,
    drawn_again: DrawnAgain | None = None,
    sample_moves: SampleMoves | None = None,
    common_map: CommonMap | None = None,
    paired_names: PairedNames | None = None,
    repeated_masks: RepeatedMasks | None = None,
) -> Verdict:
    agreement = _better(pair_agreement, batch_agreement)
    if agreement is None and pair_files is None:
        return NotApplicable("neither images with masks nor batches were given")
    measured = _measured(pair_files, agreement)
    if pair_files is not None and (by_files := _by_files(pair_files, measured)) is not None:
        return by_files
    copies = repeated_masks
    if copies is not None and copies.shared - copies.masks >= max(min_copies, min_shared * copies.samples):
        measured |= {"with_a_shared_mask": copies.shared, "best_fit": copies.best, "fit_of_the_rest": copies.rest}
        if copies.best >= min_fit and copies.rest <= most_of_fit * copies.best:
            return _copied(copies, copies.masks >= sure_masks, measured)
    limits = _Limits(
        proven_gain, suspected_gain, most_own, least_exchanged, least_typical, most_alike, most_moved, proven_spreads,
        suspected_spreads, most_own_of_best, above_turned,
    )  # fmt: skip
    in_place: bool | None = True
    if agreement is not None and agreement is batch_agreement:
        in_place = drawn_again.in_place if drawn_again is not None else None
    moved_alike = bool(sample_moves and sample_moves.turned_alike(min_one_turn, most_as_given, min_standing_out))
    moved_alike |= common_map is not None and common_map.is_clear()
    found = None if agreement is None or moved_alike else _found(agreement, in_place, limits, measured)
    held_out = validation_agreement
    if held_out is not None and held_out.compared >= fewest_held_out and (found is None or not found.certain):
        # The other set may be augmented as well, so that few exchanged masks in it prove nothing.
        in_validation = _found(held_out, False, limits, measured)
        if in_validation is not None:
            return replace(in_validation, says=f"In the validation batches, {in_validation.says}")
    if found is not None and found.certain:
        return found
    if paired_names is not None and paired_names.wrong and not (agreement is not None and agreement.capable):
        no_better = agreement is not None and agreement.compared > 0 and agreement.above_shuffled < above_shuffled
        if no_better or not paired_names.by_variables:
            return _named_wrongly(paired_names, no_better and not paired_names.by_variables, measured)
    if found is not None:
        return found
    if agreement is None or agreement.compared < fewest or moved_alike or _is_moved(agreement, most_moved):
        return Healthy(measured)
    if held_out is not None and held_out.capable and _is_moved(held_out, most_moved):
        return Healthy(measured)  # what was done to all masks before they were augmented explains it
    fits_there = (
        held_out is not None
        and min(held_out.compared, agreement.compared) >= fewest_held_out
        and held_out.above_shuffled >= above_shuffled
        and held_out.unit >= spreads_held_out * held_out.spread
    )
    if held_out is not None and fits_there and agreement.own - agreement.chance <= most_of_held_out * held_out.unit:
        return _right_elsewhere(held_out, agreement, in_place is True, measured)
    if agreement.above_shuffled < above_shuffled:
        return Finding(
            says=f"The {agreement.compared} masks fit their own images no better than shuffled ones: their agreement "
            f"beats {agreement.above_shuffled:.0%} of 200 shufflings.",
            measured=measured,
            fix=_LOOK,
            level="suspected",
        )
    return Healthy(measured)


def _by_files(files: PairFiles, measured: dict[str, float | int | bool]) -> Finding | None:
    """Masks named after another image, or of another's size."""
    if files.wrong_name_count:
        mask, image, other = files.wrong_name[0]
        return Finding(
            says=f"{files.wrong_name_count} of {files.named} masks carry the name of another image than the one they "
            f"are paired with: {mask} is paired with {image}, and named after {other}.",
            measured=measured,
            fix=f"Pair by name: {_BY_NAME}",
            where=tuple(place for row in files.wrong_name[:5] for place in row[:2]),
            pictures=files_side_by_side(
                "As they are paired",
                [{"image": image, "its mask": mask} for mask, image, _ in files.wrong_name[:3]],
            ),
        )
    by_size = _fitting_sizes(files)
    if by_size:
        return Finding(
            says=f"The masks {by_size[0]} and {by_size[1]} do not have the size of their images, but of each other's.",
            measured=measured,
            fix=f"Exchange these two masks: `{by_size[0]}` and `{by_size[1]}`",
            where=by_size,
        )
    return None


def _copied(seen: RepeatedMasks, proves: bool, measured: dict[str, float | int | bool]) -> Finding:
    """One mask for several images, of which it fits one."""
    return Finding(
        says=f"{seen.shared} of {seen.samples} samples share {seen.masks} masks, and each fits one image alone: "
        f"{seen.best:.1f} standard deviations better than chance, the others {seen.rest:.1f}; {seen.first} and "
        f"{seen.second} have one mask.",
        measured=measured,
        fix="Give each image its own: a mask kept under a key that several images share, or an array that is filled "
        "anew and appended without `.copy()`, does that.",
        where=(seen.first, seen.second),
        level="proven" if proves else "suspected",
    )


def _right_elsewhere(
    held_out: PairAgreement, agreement: PairAgreement, proves: bool, measured: dict[str, float | int | bool]
) -> Finding:
    """Training pairs that come to nothing, where validation pairs show what right ones come to."""
    return Finding(
        says=f"The outlines of {held_out.compared} validation masks lie on the edges of their images (agreement "
        f"{held_out.own:.2f}, with another's mask {held_out.chance:.2f}), those of {agreement.compared} training "
        f"masks do not ({agreement.own:.2f}, {agreement.chance:.2f}).",
        measured={**measured, "agreement_in_validation": round(held_out.own, 4)},
        fix=_LOOK,
        level="proven" if proves else "suspected",
    )


def _named_wrongly(names: PairedNames, proves: bool, measured: dict[str, float | int | bool]) -> Finding:
    """Lists that put masks beside other images, where pixels do not say that the pairs are right all the same."""
    return Finding(
        says=f"{names.wrong} of {names.pairs} entries of `{names.masks}` are named after another image than the entry "
        f"of `{names.images}` at the same place: {Path(names.mask).name} stands beside {Path(names.image).name}.",
        measured={**measured, "listed_pairs": names.pairs, "listed_apart": names.wrong},
        fix=f"Sort both lists the same way, or pair by name: {_BY_NAME}",
        where=(names.image, names.mask),
        level="proven" if proves else "suspected",
    )


@dataclass(frozen=True)
class _Limits:
    """The thresholds of exchanges and of other orders."""

    proven_gain: float
    suspected_gain: float
    most_own: float
    least_exchanged: float
    least_typical: float
    most_alike: float
    most_moved: float
    proven_spreads: float
    suspected_spreads: float
    most_own_of_best: float
    above_turned: float


def _found(
    agreement: PairAgreement, in_place: bool | None, limits: _Limits, measured: dict[str, float | int | bool]
) -> Finding | None:
    """What the pixels say; `in_place` tells whether samples come unmoved."""
    if agreement.compared < 8 or _is_moved(agreement, limits.most_moved):
        return None
    # Where right pairs reach less than the unit, as under a common shift, a wrong one must still be worse than these.
    most_own = limits.most_own * min(1.0, max(agreement.as_given, _LEAST_AS_GIVEN))
    rings = [
        ring
        for ring in agreement.exchanges
        if ring.gain >= limits.suspected_gain
        and ring.own <= most_own
        and ring.exchanged >= limits.least_exchanged
        and ring.typical >= limits.least_typical
        and ring.alike <= limits.most_alike
    ]
    whole = sum(ring.size for ring in rings) >= limits.most_moved * agreement.compared
    # The best of 256 images fits a mask by 3 spreads by chance; where a right pair has no more, any ring gains.
    by_chance = agreement.unit < limits.suspected_spreads * agreement.spread
    if (in_place is False or by_chance) and not whole:
        rings = []  # two samples that were moved differently cannot have been exchanged
    reordered = agreement.reordered
    if reordered is not None and (
        reordered.own > limits.most_own_of_best or reordered.above_turned < limits.above_turned
    ):
        reordered = None
    stands_out = agreement.unit >= limits.proven_spreads * agreement.spread
    proves = bool(rings) and rings[0].gain >= limits.proven_gain and stands_out and (in_place is True or whole)
    if rings and (proves or reordered is None):
        return _exchanged(rings, measured, proves)
    return _in_another_order(agreement.compared, reordered, measured) if reordered is not None else None


def _exchanged(rings: list[Exchange], measured: dict[str, float | int | bool], proves: bool) -> Finding:
    first = rings[0]
    return Finding(
        says=f"{sum(ring.size for ring in rings)} masks fit other images than their own: the outlines of "
        f"{first.masks[0]} lie on the edges of its image {_of(first.own)} as well as in a right pair, and "
        f"{_of(first.exchanged)} as well when the masks of {' and '.join(first.images[:3])} are exchanged.",
        measured=measured,
        fix=f"Look at {first.images[0]} with its mask; give each image its own: exchange "
        + " and ".join(f"`{mask}`" for mask in first.masks[:3]),
        where=tuple(mask for ring in rings for mask in ring.masks)[:20],
        pictures=files_side_by_side("Each image with its mask and with the one that fits", _as_fits(first)),
        level="proven" if proves else "suspected",
    )


def _in_another_order(compared: int, reordered: Reordered, measured: dict[str, float | int | bool]) -> Finding:
    image, paired, fits = reordered.examples[0]
    return Finding(
        says=f"{reordered.moved} of {compared} masks fit other images than their own: as they are paired "
        f"they fit {_of(reordered.own)} as well as in another order, and that order "
        f"fits {reordered.above_turned:.1f} times as well as chance: the image {image} fits the mask {fits}, "
        f"not {paired}.",
        measured=measured,
        fix=_LOOK,
        where=tuple(example[1] for example in reordered.examples),
        pictures=files_side_by_side(
            "Each image with its mask and with the one that fits",
            [{"image": i, "its mask": own, "fits better": best} for i, own, best in reordered.examples[:3]],
        ),
    )


def _is_moved(agreement: PairAgreement, most: float) -> bool:
    """Whether one move explains most masks: then they are their images' own."""
    return agreement.commonest_move[1] >= most


def _as_fits(ring: Exchange) -> list[dict[str, str]]:
    """Of each image of a ring: itself, its mask, and the mask before it in the ring, which fits."""
    rows = zip(ring.images, ring.masks, (ring.masks[-1], *ring.masks), strict=False)
    return [{"image": image, "its mask": own, "fits better": fits} for image, own, fits in list(rows)[:3]]


def _better(first: PairAgreement | None, second: PairAgreement | None) -> PairAgreement | None:
    """What the model gets decides; stored pairs stand in when the batches say too little."""
    if second is not None and (first is None or second.compared >= 8):
        return second
    return first


def _fitting_sizes(files: PairFiles) -> tuple[str, ...]:
    """Two masks of the wrong size that have each other's, the only two of these sizes."""
    odd = files.other_size
    for k, one in enumerate(odd):
        fits = [
            two for two in odd[k + 1 :] if two.mask == one.image and two.image == one.mask and one.image != one.mask
        ]
        alike = [two for two in odd if two.mask == one.mask and two.image == one.image]
        if len(fits) == 1 and len(alike) == 1 and fits[0].mask != fits[0].image and len(odd) <= 4:
            return (one.where, fits[0].where)
    return ()


def _of(share: float) -> str:
    return f"{max(share, 0.0):.0%}"


def _measured(files: PairFiles | None, agreement: PairAgreement | None) -> dict[str, float | int | bool]:
    out: dict[str, float | int | bool] = {}
    if files is not None:
        out |= {"named_pairs": files.named, "wrong_names": files.wrong_name_count}
    if agreement is not None:
        out |= {
            "compared_pairs": agreement.compared,
            "agreement": round(agreement.own, 4),
            "agreement_of_shuffled": round(agreement.chance, 4),
            "above_shuffled": agreement.above_shuffled,
            "can_tell": agreement.capable,
            "right_pair_in_spreads": round(agreement.unit / agreement.spread, 2) if agreement.spread else 0.0,
            "best_exchange_gain": agreement.exchanges[0].gain if agreement.exchanges else 0.0,
            "own_of_best_order": agreement.reordered.own if agreement.reordered else 1.0,
            "best_order_over_chance": agreement.reordered.above_turned if agreement.reordered else 1.0,
        }
    return out


def sick() -> Case:
    images, masks = pair_patients.scenes(16)
    order = np.arange(16)
    order[[3, 7]] = 7, 3
    return Case(pairs=pair_patients.pairs(images, masks[order]), spec=pair_patients.SPEC)


def healthy() -> Case:
    return Case(pairs=pair_patients.pairs(*pair_patients.scenes(16)), spec=pair_patients.SPEC)


def sick_in_training_alone() -> Case:
    """Every image with a mask drawn at random, none of them its own; the validation pairs are right."""
    return Case(
        batches=pair_patients.batches(pair_patients.scenes(40)[0], pair_patients.scenes(40, seed=1)[1]),
        validation_batches=pair_patients.batches(*pair_patients.scenes(16, seed=2)),
    )


def sick_by_a_cache() -> Case:
    """Four images each get the mask of the first of them."""
    images, masks = pair_patients.scenes(32)
    return Case(batches=pair_patients.batches(images, np.repeat(masks[::4], 4, axis=0)))


def healthy_copies() -> Case:
    """The same scene four times, in another light each."""
    images, masks = pair_patients.scenes(8)
    light = np.tile(np.linspace(0.7, 1.3, 4, dtype=np.float32), 8)[:, None, None]
    return Case(batches=pair_patients.batches(np.repeat(images, 4, axis=0) * light, np.repeat(masks, 4, axis=0)))
