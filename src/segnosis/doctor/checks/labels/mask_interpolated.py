"""Masks hold values between their classes.

## What it looks for
Fractions where class ids are expected. Masks with eight or more different in-between values along their outlines: JPEG,
anti-aliasing or resizing of a black-and-white mask. Steps between two regions, ids two or more apart, that pass through
the ids in between: a resized mask whose border of 0 and 2 shows a rim of 1. Rims that a data set's other masks have
too, as nested organs do, are told from those. Where a quarter of such steps or more do, of every pair of ids, and
mostly in lines, not in bands as the states of one thing do, that is suspected. So is an id that fills areas and yet
borders on another mostly as a line of one or two pixels in front of a third, on either side of it in number, unless two
other ids touch with none in between, or the line widens in places as a thin drawn part does.

## Why the model does not learn
Every border carries a rim of pixels of a class that is not there. The network learns phantom classes around its
objects; where a fractional id is cut to an integer, borders move.

## What to do
Resize masks with nearest interpolation only (`cv2.INTER_NEAREST`, `order=0`, `method="nearest"`), and save them as
PNG, never JPEG.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import cv2
import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence._mask_look import WIDEST_RUN
from segnosis.doctor.evidence.label_census import LabelCensus
from segnosis.doctor.evidence.label_space import LabelSpace
from segnosis.doctor.evidence.target_census import TargetCensus
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LAB005", "error"
EXPLAINED_BY = ("LAB003", "LAB004", "LAB006")
_LINE = 2
"""Averages of two ids between them are one or two pixels wide."""


def check(
    label_space: LabelSpace,
    label_census: LabelCensus | None = None,
    target_census: TargetCensus | None = None,
    spec: DatasetSpec | None = None,
    *,
    max_fractional: float = 0.0,
    max_smooth: float = 0.8,
    fewest_steps: int = 100,
    few_masks: float = 0.5,
    fewest_steps_of_pair: int = 30,
    min_smooth_everywhere: float = 0.25,
    min_thin: float = 0.5,
    min_line: float = 0.5,
    min_smooth_of_lines: float = 0.04,
    max_share_of_lines: float = 0.1,
    min_of_one_width: float = 0.65,
) -> Verdict:
    after = target_census is not None
    census = target_census.census if target_census is not None else label_census
    if census is None:
        return NotApplicable("neither masks nor batches were given")
    steps = census.smooth + census.direct
    lined = _lined(census, fewest_steps, max_share_of_lines, min_of_one_width)
    shares = {
        pair: census.smooth_steps.get(pair, 0) / total
        for pair in {*census.smooth_steps, *census.direct_steps}
        if (total := census.smooth_steps.get(pair, 0) + census.direct_steps.get(pair, 0)) >= fewest_steps_of_pair
    }
    least = min(shares.values(), default=0.0)
    measured = {
        "masks": census.masks,
        "with_fractions": census.fractional.count,
        "share_of_fractions": round(census.fractional_pixels / max(1, census.pixels), 6),
        "with_in_between_values": census.fuzzy.count,
        "jpeg_files": census.lossy.count,
        "steps_through_other_ids": census.smooth,
        "steps": steps,
        "pairs_of_ids": len(shares),
        "least_share_of_a_pair": round(least, 4),
        "border_that_is_a_line": round(lined[0], 4),
        "lines_among_narrow_places": round(_thin(census), 4),
    }
    if target_census is not None:
        if target_census.form not in ("ids", "one-hot"):
            return NotApplicable("the targets are no class ids")
        if label_space.channels == 1 or ((label_space.num_classes or 2) <= 2 and _in_unit_range(target_census)):
            return Healthy({**measured, "soft_labels": census.fractional.count})
    if census.fractional_pixels > max_fractional * census.pixels and not (not after and _is_probability(census)):
        return Finding(
            says=f"{census.fractional.count} of {census.masks} masks of class ids hold fractions, "
            f"{census.fractional_pixels / census.pixels:.2%} of all pixels.",
            measured=measured,
            fix="Resize masks with nearest interpolation: `cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)`, "
            "`order=0`, or "
            '`tf.image.resize(mask, size, method="nearest")`',
            where=tuple(census.fractional.where[:20]),
        )
    if census.fuzzy:
        jpeg = census.lossy.count > 0
        return Finding(
            says=f"{census.fuzzy.count} of {census.masks} masks hold in-between values along their outlines "
            f"({census.fuzzy_pixels} pixels): "
            + ("they were saved as JPEG." if jpeg else "they were saved as JPEG once, or resized with interpolation."),
            measured=measured,
            fix="Export these masks again as PNG without smoothing; to save what there is, take the nearest class: "
            "`mask = levels[np.abs(mask[..., None] - levels).argmin(-1)]`",
            where=tuple(census.fuzzy.where),
        )
    if steps >= fewest_steps:
        reference = label_census if after else None
        direct_as_stored = (
            reference is not None and reference.direct >= fewest_steps and reference.direct > 4 * reference.smooth
        )
        if census.smooth > max_smooth * steps and (direct_as_stored or not _has_bodies(census, max_share_of_lines)):
            return Finding(
                says=f"{census.smooth} of {steps} steps between regions of ids two or more apart pass through an id "
                f"in between"
                + ("; as stored they do not." if direct_as_stored else ": a rim of a class that may not be there."),
                measured=measured,
                fix='Resize masks with nearest interpolation: `cv2.INTER_NEAREST`, `order=0`, `method="nearest"`',
                where=tuple(census.ridged.where[:20]),
                level="proven" if direct_as_stored else "suspected",
            )
        if len(shares) > 1 and least >= min_smooth_everywhere and _thin(census) >= min_thin:
            return Finding(
                says=f"For each of {len(shares)} pairs of ids two or more apart, at least {least:.0%} of the steps "
                "from one region to the other pass through ids in between; where regions are drawn, some pairs touch.",
                measured=measured,
                fix='Turn and resize masks by the nearest value: `cv2.INTER_NEAREST`, `order=0`, `method="nearest"`',
                level="suspected",
            )
        if census.ridged and census.ridged.count <= few_masks * census.masks and _thin(census) >= min_thin:
            return Finding(
                says=f"In {census.ridged.count} of {census.masks} masks the borders between regions pass through ids "
                f"in between, in the others "
                "they do not: these were resized with interpolation.",
                measured=measured,
                fix="Export these masks again, or resize them from their source with nearest interpolation",
                where=tuple(census.ridged.where),
                level="proven" if census.ridged.count <= 0.1 * census.masks else "suspected",
            )
    if lined[0] >= min_line and (not shares or least >= min_smooth_of_lines):
        lower, between, upper = lined[1]
        return Finding(
            says=f"{lined[0]:.0%} of the border of {between} with {upper if lined[2] else lower} is a line of one or "
            f"two pixels between {lower} and {upper}, though {between} fills areas elsewhere: averages of {lower} and "
            f"{upper} look like that.",
            measured=measured,
            fix='Resize masks with nearest interpolation: `cv2.INTER_NEAREST`, `order=0`, `method="nearest"`',
            level="suspected",
        )
    return Healthy(measured)


def _lined(
    census: LabelCensus, fewest: int, max_share: float, min_of_one_width: float
) -> tuple[float, tuple[int, ...], bool]:
    """The largest share of a border between two ids that is a line of one of them, that id's ids, and which border.

    Only of lines with a width of their own: what is drawn thin in places is drawn a little wider beside them.
    """
    found: list[tuple[float, tuple[int, ...], bool]] = [(0.0, (), False)]
    widths, shares = defaultdict[tuple[int, ...], list[int]](lambda: [0] * WIDEST_RUN), _line_shares(census)
    for (*ids, width), places in census.runs.items():
        widths[tuple(ids)][width - 1] = places
    for run, by_width in widths.items():
        lower, between, upper = run
        lines = by_width[:_LINE]
        if sum(lines) < fewest or max(lines) < min_of_one_width * sum(by_width) or shares[between] > max_share:
            continue
        for ends, is_upper in (((lower, between), False), ((between, upper), True)):
            found.append((min(1.0, sum(lines) / max(1, census.contacts.get(ends, 0))), run, is_upper))
    return max(found)


def _line_shares(census: LabelCensus) -> Mapping[int, float]:
    """Id → share of its pixels that are lines between two others; a line of one or two pixels is met twice."""
    places = Counter[int]()
    for (_, between, _, width), number in census.runs.items():
        places[between] += number if width <= _LINE else 0
    return {value: 0.75 * number / max(1, census.values[float(value)].pixels) for value, number in places.items()}


def _thin(census: LabelCensus) -> float:
    """Of the places where an id lies narrow between two others, the share where it is a line: a rim, not a state."""
    lines = sum(number for (*_, width), number in census.runs.items() if width <= _LINE)
    return lines / max(1, sum(census.runs.values()))


def _has_bodies(census: LabelCensus, max_share: float) -> bool:
    """Whether every id that lies between two others fills areas too: a nested region, not a rim of one that is not."""
    shares = [share for share in _line_shares(census).values() if share > 0]
    return bool(shares) and max(shares) <= max_share


def _in_unit_range(target: TargetCensus) -> bool:
    return target.minimum >= 0 and target.maximum <= 1


def _is_probability(census: LabelCensus) -> bool:
    """Stored masks from 0 to 1 are probabilities, or already scaled: LAB004 and the reader judge those."""
    return census.minimum >= 0 and census.maximum <= 1


def _case(interpolation: int) -> Case:
    images, masks = pair_patients.scenes(8)
    classes = (masks * 2 + 2 * np.where(np.arange(64) > 32, masks, 0)).astype(np.float32)
    small = [cv2.resize(mask, (48, 48), interpolation=interpolation) for mask in classes]
    images = np.stack([cv2.resize(image, (48, 48)) for image in images])
    return Case(batches=pair_patients.batches(images, np.stack(small)), num_classes=5)


def sick() -> Case:
    return _case(cv2.INTER_LINEAR)


def _trimaps(interpolation: int) -> Case:
    """Ground (1) around an object (0) whose outline (2) is marked."""
    images, masks = pair_patients.scenes(8)
    big = [cv2.resize(mask, (256, 256), interpolation=cv2.INTER_NEAREST) for mask in masks]
    outlines = [cv2.dilate(mask, np.ones((17, 17), np.uint8)) - mask for mask in big]
    marked = [
        np.where(line, 2, np.where(mask, 0, 1)).astype(np.float32) for mask, line in zip(big, outlines, strict=True)
    ]
    small = [np.round(cv2.resize(mask, (60, 60), interpolation=interpolation)) for mask in marked]
    images = np.stack([cv2.resize(image, (60, 60)) for image in images])
    return Case(batches=pair_patients.batches(images, np.stack(small)), num_classes=3)


def sick_trimaps() -> Case:
    return _trimaps(cv2.INTER_LINEAR)


def healthy_trimaps() -> Case:
    return _trimaps(cv2.INTER_NEAREST)


def healthy_nested() -> Case:
    """A cup (2) near the rim of its disc (1): in between there is a line in one place, and an area elsewhere."""
    images = np.full((24, 64, 64), 0.2, np.float32)
    masks = np.zeros((24, 64, 64), np.uint8)
    for number, mask in enumerate(masks):
        cv2.circle(mask, (32, 32), 24, 1, -1)
        cv2.circle(mask, (32 + 11, 32 - 4 + number % 8), 11, 2, -1)
    return Case(batches=pair_patients.batches(images, masks), num_classes=3)


def healthy_shells() -> Case:
    """A filling (2) inside a tooth (1), off its middle: the wall between filling and ground is of any thickness."""
    tooth = np.zeros((64, 64), np.uint8)
    cv2.circle(tooth, (32, 32), 26, 1, -1)
    cv2.circle(tooth, (34, 32), 23, 2, -1)
    cv2.rectangle(tooth, (0, 54), (64, 64), 1, -1)
    masks = np.stack([np.rot90(tooth, number % 4) for number in range(24)])
    images = np.full((24, 64, 64), 0.2, np.float32)
    return Case(batches=pair_patients.batches(images, masks), num_classes=3)


def healthy_states() -> Case:
    """How far rust has gone, 0 to 3: no state borders on one that is two further, and each is a band."""
    down, across = np.mgrid[:64, :64]
    spots = [((9 + 3 * k) % 20 + 22, (7 * k) % 20 + 22) for k in range(24)]
    deep = [10 - np.hypot(down - y, across - x) / 2.5 for y, x in spots]
    masks = np.stack([np.digitize(depth, (2.0, 3.5, 5.0)) for depth in deep]).astype(np.uint8)
    return Case(batches=pair_patients.batches(np.full((24, 64, 64), 0.2, np.float32), masks), num_classes=4)


def healthy() -> Case:
    return _case(cv2.INTER_NEAREST)
