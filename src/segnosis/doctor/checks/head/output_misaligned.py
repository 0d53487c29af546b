"""The output does not lie where the image does.

## What it looks for
An output of another size than its masks. And for three points of the output, where in the image it looks: the centre of
its slope with respect to the pixels, on noise. A few pixels come from striding, and a network that looks at much
of the image has no sharp centre: only an offset that all points share and that is larger than it looks wide counts, or
one several times as large, or one towards the middle from both sides. They come from `padding="valid"`, cropping or
padding on one side, and stretching back.
Of an output that is a list of pixels, `(batch, pixels, classes)`, less than `min_near` of the slope may lie about a
pixel's own place: then a reshape has mixed pixels and classes.

## Why the model does not learn
It learns shifted borders: the overlap has a ceiling that no training passes, and thin objects are lost.

## What to do
`padding="same"` in every convolution, and sizes divisible by 2 to the number of poolings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.alignment import Alignment
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "HED005", "error"


def check(
    heads: Sequence[Head],
    alignment: Mapping[str, Alignment],
    *,
    max_offset: float = 4.0,
    max_spreads: float = 1.5,
    certain_spreads: float = 3.0,
    min_stretch: float = 0.6,
    min_near: float = 0.1,
    encodings: Mapping[str, Encoding] | None = None,
) -> Verdict:
    measured: dict[str, float | str | None] = {}
    for head in heads:
        if head.name not in alignment:
            continue
        seen, encoding = alignment[head.name], (encodings or {}).get(head.name)
        masks: tuple[int, ...] = seen.size
        if encoding is not None and len(encoding.shape) >= 3 and not seen.flat:
            masks = encoding.shape[1:3]
        measured = {
            "head": head.name,
            "output_size": f"{seen.size[0]} × {seen.size[1]}",
            "mask_size": f"{masks[0]} × {masks[1]}",
            "largest_offset": seen.largest,
            "shared_offset": seen.shift,
            "opposed_offset": seen.stretch,
            "looks_as_wide_as": seen.spread,
        }
        if masks != seen.size:
            return Finding(
                says=f"The output `{head.name}` is {measured['output_size']}, its masks are {measured['mask_size']}: "
                f"the loss "
                "cannot compare them.",
                measured=measured,
                fix='`padding="same"` in every convolution, and image sizes divisible by 2 to the number of poolings.',
                where=head.place,
            )
        if seen.flat and seen.near < min_near and seen.largest > max_offset:
            return Finding(
                says=f"The pixels of `{head.name}`, one after the other, are not those of the image row by row: they "
                f"look up to {seen.largest:.0f} image pixels beside their own place, and {seen.near:.0%} of their "
                "slope lies about it.",
                measured={**measured, "slope_about_own_place": seen.near},
                fix="`keras.layers.Reshape((height * width, classes))` alone, without `Permute`: classes come last.",
                where=head.place,
            )
        is_shift = seen.shift > max(max_offset, max_spreads * seen.spread)
        is_stretch = seen.stretch > max(max_offset, min_stretch * seen.spread)
        if not (is_shift or is_stretch) and (
            seen.largest <= max(max_offset, max_spreads * seen.spread) or len(seen.offsets) < 2
        ):
            continue
        return Finding(
            says=f"Output pixels look up to {seen.largest:.1f} image pixels beside their own place "
            f"(offsets down, right: {', '.join(f'{a:+.0f}, {b:+.0f}' for a, b in seen.offsets)}).",
            measured=measured,
            fix='`padding="same"` in every convolution; no cropped output stretched back to the size of the image.',
            where=head.place,
            level="proven" if is_shift or seen.largest > certain_spreads * seen.spread else "suspected",
        )
    return Healthy(measured) if measured else NotApplicable("no output is a picture")


def sick() -> Case:
    import keras

    after = [keras.layers.Cropping2D(((12, 0), (12, 0))), keras.layers.Resizing(32, 32)]
    return Case(model=segmenter(3, after=after, size=32), batches=squares("ids", size=32))


def sick_by_valid_convolutions() -> Case:
    import keras

    after = [
        *(keras.layers.DepthwiseConv2D(5, depthwise_initializer="ones") for _ in range(5)),
        keras.layers.Resizing(48, 48),
    ]
    return Case(model=segmenter(3, after=after, size=48), batches=squares("ids", size=48))


def sick_with_a_wide_view() -> Case:
    import keras

    after = [
        keras.layers.ZeroPadding2D(((8, 0), (8, 0))),
        keras.layers.Cropping2D(((0, 8), (0, 8))),
        keras.layers.DepthwiseConv2D(9, padding="same", depthwise_initializer="ones"),
    ]
    return Case(model=segmenter(3, after=after, size=48), batches=squares("ids", size=48))


def _listed(*layers: Any) -> Case:
    import keras

    model = segmenter(3, after=layers, size=32)
    batches = [Batch(batch.x, np.reshape(batch.y, (len(batch.y), 32 * 32, 3))) for batch in squares("one-hot", size=32)]
    return Case(model=model, loss=keras.losses.CategoricalCrossentropy(from_logits=True), batches=batches)


def sick_list() -> Case:
    import keras

    return _listed(keras.layers.Reshape((3, 32 * 32)), keras.layers.Permute((2, 1)))


def healthy_list() -> Case:
    import keras

    return _listed(keras.layers.Reshape((32 * 32, 3)))


def healthy() -> Case:
    return Case(model=segmenter(3, size=32), batches=squares("ids", size=32))
