"""Masks are colour pictures instead of class ids.

## What it looks for
Targets of three or four channels where the head has another number: three equal ones (grey saved as RGB) or
colours. As stored: masks that are colour pictures where the others hold one value per pixel, and colours that are
no class of the palette, with their share of pixels.

## Why the model does not learn
A loss on class ids gets colours: with three channels it raises or broadcasts, with one of them taken every colour
becomes some class.

## What to do
Map colours to ids with the palette: `ids = lookup[mask[..., 0].astype(int) << 16 | mask[..., 1].astype(int) << 8 |
mask[..., 2]]`. A palette PNG read with `PIL.Image.open` gives ids; `cv2.imread` and `.convert("RGB")` give its
colours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence.label_census import LabelCensus
from segnosis.doctor.evidence.label_space import LabelSpace
from segnosis.doctor.evidence.target_census import TargetCensus
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LAB006", "error"


def check(
    label_space: LabelSpace,
    label_census: LabelCensus | None = None,
    target_census: TargetCensus | None = None,
    spec: DatasetSpec | None = None,
    *,
    max_unmatched: float = 0.02,
) -> Verdict:
    if target_census is not None:
        return _after_pipeline(target_census, label_space)
    if label_census is None:
        return NotApplicable("neither masks nor batches were given")
    census, known = label_census, {int(value) for value in (spec.values if spec else ())}
    unmatched = sum(pixels for colour, pixels in census.colours.items() if colour not in known)
    share = unmatched / max(1, sum(census.colours.values()))
    strange = [
        value
        for value, count in census.values.items()
        if known and int(value) not in known and count.masks <= census.copied.count
    ]
    copies = census.copied if strange and census.copied.count < 0.5 * census.masks else None
    measured = {
        "masks": census.masks,
        "colour_masks": census.coloured.count,
        "grey_as_rgb": census.copied.count,
        "colours": len(census.colours),
        "share_of_colours_unmatched": round(share, 6),
    }
    mixed = (
        census.coloured and (census.layouts.get("ids", 0) + census.layouts.get("copies", 0)) >= census.coloured.count
    )
    if mixed:
        commonest = [f"#{colour:06x}" for colour in list(census.colours)[:4]]
        return Finding(
            says=f"{census.coloured.count} of {census.masks} masks are colour pictures ({', '.join(commonest)}), the "
            f"others hold one value per pixel.",
            measured=measured,
            fix="Save them as the others are: map each colour to its class id, or open the original palette file with "
            '`np.asarray(PIL.Image.open(file))`, without `.convert("RGB")`',
            where=tuple(census.coloured.where),
        )
    if census.coloured and known and share > max_unmatched:
        return Finding(
            says=f"{share:.1%} of the pixels of {census.coloured.count} colour masks have a colour that is no class.",
            measured=measured,
            fix="Save the masks as PNG (JPEG and smoothing mix colours), or map each pixel to the nearest colour of "
            "the palette",
            where=tuple(census.coloured.where[:5]),
        )
    if copies:
        return Finding(
            says=f"{copies.count} of {census.masks} masks are grey pictures of three channels with the value "
            f"{strange[0]:g}, which the others do not have.",
            measured=measured,
            fix="Map their grey levels to class ids, as in the others",
            where=tuple(copies.where),
            level="suspected",
        )
    return Healthy(measured)


def _after_pipeline(target: TargetCensus, space: LabelSpace) -> Verdict:
    measured = {
        "planes": target.planes,
        "channels": space.channels,
        "maximum": round(target.maximum, 6),
        "distinct": target.distinct,
        "shape": str(target.shape),
    }
    if target.form != "colour":
        return Healthy(measured)
    equal = target.census.layouts.get("copies", 0) == target.census.masks
    if not equal and target.maximum <= 1.0 and target.distinct <= 2 and space.channels is None:
        return NotApplicable("three planes of 0 and 1 may be three labels; no head says otherwise")
    return Finding(
        says=f"The target has {target.planes} channels"
        + (", all equal" if equal else f" of colours up to {target.maximum:g}")
        + (f"; the head has {space.channels}." if space.channels else "."),
        measured=measured,
        fix="`mask = mask[..., :1]`"
        + (" and divide by 255" if target.maximum > 1 else "")
        + ': it was read as RGB; read it with `cv2.IMREAD_UNCHANGED` or `color_mode="grayscale"`'
        if equal
        else "Map colours to class ids before the loss: `ids = lookup[mask[..., 0].astype(int) << 16 | mask[..., "
        "1].astype(int) << 8 | mask[..., 2]]`",
        where=("batch 0",),
    )


def _case(color: bool) -> Case:
    images, masks = pair_patients.scenes(8)
    palette = np.array([[0, 0, 0], [128, 0, 0]], np.uint8)
    pairs = pair_patients.pairs(images, [palette[mask] if color and k == 5 else mask for k, mask in enumerate(masks)])
    return Case(pairs=pairs, spec=pair_patients.SPEC)


def sick() -> Case:
    return _case(color=True)


def sick_off_palette() -> Case:
    images, masks = pair_patients.scenes(8)
    palette = np.array([[0, 0, 0], [0, 128, 0]], np.uint8)
    spec = replace(pair_patients.SPEC, values={0x000000: 0, 0x800000: 1})
    return Case(pairs=pair_patients.pairs(images, [palette[mask] for mask in masks]), spec=spec)


def healthy() -> Case:
    return _case(color=False)
