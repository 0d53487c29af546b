"""Scores of pixels, in plain loops. Named as the unit is.

Shared arguments: `true` and `pred` `(images, *space)` class ids; `keep` `(images, *space)` boolean; `classes` number of
classes; `skip_background` whether class 0 stays out of the mean.
"""

from __future__ import annotations

import math

import numpy as np


def mean_iou(true, pred, keep, classes, *, skip_background=False, **_):
    return _over_classes(_cells(true, pred, keep), classes, _iou, skip_background)


def mean_dice(true, pred, keep, classes, *, skip_background=False, **_):
    return _over_classes(_cells(true, pred, keep), classes, _dice, skip_background)


def mean_iou_per_image(true, pred, keep, classes, *, skip_background=False, **_):
    return _over_images(true, pred, keep, classes, _iou, skip_background)


def mean_dice_per_image(true, pred, keep, classes, *, skip_background=False, **_):
    return _over_images(true, pred, keep, classes, _dice, skip_background)


def iou(true, pred, keep, classes, *, class_id, **_):
    return _iou(_cells(true, pred, keep), class_id) or 0.0


def dice(true, pred, keep, classes, *, class_id, **_):
    return _dice(_cells(true, pred, keep), class_id) or 0.0


def pixel_accuracy(true, pred, keep, classes, *, skip_background=False, **_):
    cells = [(t, p) for t, p in _cells(true, pred, keep) if t or not skip_background]
    return sum(t == p for t, p in cells) / max(1, len(cells))


def boundary_iou(true, pred, keep, classes, *, skip_background=False, width=0.02, **_):
    steps = width if width >= 1 else max(1, round(width * math.dist((0,) * (true.ndim - 1), true.shape[1:])))

    def in_band(ids, image, at):
        for offset in np.ndindex(*(2 * steps + 1,) * len(at)):
            where = tuple(a + o - steps for a, o in zip(at, offset, strict=True))
            if any(not 0 <= w < size for w, size in zip(where, ids.shape[1:], strict=True)):
                return True
            if keep[image][where] and ids[image][where] != ids[image][at]:
                return True
        return False

    scores = []
    for k in range(1 if skip_background else 0, classes):
        both = either = 0
        for image, *rest in zip(*np.nonzero(keep), strict=True):
            at = tuple(rest)
            t = true[image][at] == k and in_band(true, image, at)
            p = pred[image][at] == k and in_band(pred, image, at)
            both += t and p
            either += t or p
        if either:
            scores.append(both / either)
    return sum(scores) / max(1, len(scores))


def expected_calibration_error(true, pred, keep, classes, *, prob, skip_background=False, bins=15, **_):
    members: dict[int, list[tuple[float, bool]]] = {}
    for at in zip(*np.nonzero(keep), strict=True):
        if skip_background and true[at] == 0:
            continue
        confidence = max(prob[at])
        members.setdefault(max(0, math.ceil(confidence * bins) - 1), []).append((confidence, true[at] == pred[at]))
    total = sum(map(len, members.values()))
    gaps = [abs(sum(c for c, _ in pixels) - sum(r for _, r in pixels)) for pixels in members.values()]
    return sum(gaps) / max(1, total)


def _cells(true, pred, keep):
    return [(int(true[at]), int(pred[at])) for at in zip(*np.nonzero(keep), strict=True)]


def _iou(cells, k):
    either = sum(t == k or p == k for t, p in cells)
    return sum(t == p == k for t, p in cells) / either if either else None


def _dice(cells, k):
    both = sum(t == k for t, _ in cells) + sum(p == k for _, p in cells)
    return 2 * sum(t == p == k for t, p in cells) / both if both else None


def _over_classes(cells, classes, score, skip_background):
    scores = [score(cells, k) for k in range(1 if skip_background else 0, classes)]
    scores = [s for s in scores if s is not None]
    return sum(scores) / max(1, len(scores))


def _over_images(true, pred, keep, classes, score, skip_background):
    means = []
    for image in range(len(true)):
        cells = _cells(true[image], pred[image], keep[image])
        if any(max(t, p) > 0 or not skip_background for t, p in cells):
            means.append(_over_classes(cells, classes, score, skip_background))
    return sum(means) / max(1, len(means))
