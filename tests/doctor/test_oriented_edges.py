"""Both searches for a shift are one definition: by spectra for one outline, by a product of matrices for many."""

from __future__ import annotations

import numpy as np
import pytest

from segnosis.doctor.evidence._oriented_edges import GRID, best_shift, best_shifts, edges_and_outline
from segnosis.doctor.pair_patients import scenes


def test_many_outlines_at_once_are_found_where_each_alone_is() -> None:
    images, masks = scenes(4)
    both = [edges_and_outline(image, mask) for image, mask in zip(images, masks, strict=True)]
    fields, outlines = zip(*(one for one in both if one is not None), strict=True)
    moved = np.roll(fields[0], (3, -2), axis=(0, 1))
    assert len(outlines) == 4 and best_shift(moved, outlines[0])[:2] == (3, -2) and GRID // 8 >= 3
    for found, outline in zip(best_shifts(moved, outlines), outlines, strict=True):
        alone = best_shift(moved, outline)
        assert found[:2] == alone[:2]
        assert found[2:] == pytest.approx(alone[2:], abs=1e-4)
