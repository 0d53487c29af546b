"""Losses about the overlap of regions, in float64 loops; arguments as in `losses_pixelwise`."""

from __future__ import annotations

import numpy as np


def dice(target, prob, weight, class_weights, *, per_image=False, squared=False, smooth=1e-5, absent="penalize"):
    def cost(both, pred, true, pred_squared, true_squared):
        bottom = pred_squared + true_squared if squared else pred + true
        return 1 - (2 * both + smooth) / (bottom + smooth)

    return _mean(target, prob, weight, class_weights, cost, per_image, absent)


def jaccard(target, prob, weight, class_weights, *, per_image=False, smooth=1e-5, absent="penalize"):
    def cost(both, pred, true, *_):
        return 1 - (both + smooth) / (pred + true - both + smooth)

    return _mean(target, prob, weight, class_weights, cost, per_image, absent)


def tversky(
    target, prob, weight, class_weights, *, per_image=False, alpha=0.3, beta=0.7, smooth=1e-5, absent="penalize"
):
    return focal_tversky(
        target,
        prob,
        weight,
        class_weights,
        per_image=per_image,
        alpha=alpha,
        beta=beta,
        gamma=1.0,
        smooth=smooth,
        absent=absent,
    )


def focal_tversky(
    target,
    prob,
    weight,
    class_weights,
    *,
    per_image=False,
    alpha=0.3,
    beta=0.7,
    gamma=0.75,
    smooth=1e-5,
    absent="penalize",
):
    def cost(both, pred, true, *_):
        false_positives, false_negatives = pred - both, true - both
        index = (both + smooth) / (both + alpha * false_positives + beta * false_negatives + smooth)
        return max(0.0, 1 - index) ** gamma

    return _mean(target, prob, weight, class_weights, cost, per_image, absent)


def generalized_dice(target, prob, weight, class_weights, *, per_image=False, smooth=0.0):
    costs = []
    for images in _groups(len(target), per_image):
        if not any(weight[image].any() for image in images):
            continue
        sums = [_sums(target, prob, weight, images, k) for k in range(target.shape[-1])]
        rarity = [1 / true**2 if true > 0 else None for _, _, true, *_ in sums]
        most = max(value for value in rarity if value is not None)
        rarity = [most if value is None else value for value in rarity]
        factor = [value * w for value, w in zip(rarity, class_weights, strict=True)]
        top = sum(f * both for f, (both, *_) in zip(factor, sums, strict=True))
        bottom = sum(f * (pred + true) for f, (_, pred, true, *_) in zip(factor, sums, strict=True))
        # `smooth` is on the scale of weights of at most 1 and sizes that are shares of the group
        total = sum(weight[image].sum() for image in images)
        costs.append(1 - (2 * top / most / total + smooth) / (bottom / most / total + smooth))
    return float(np.mean(costs)) if costs else 0.0


def cl_dice(target, prob, weight, class_weights, *, per_image=False, iterations=3, smooth=1e-5, absent="penalize"):
    keep = (weight != 0)[..., None]
    target, prob = target * keep, prob * keep
    line, true_line = np.zeros_like(prob), np.zeros_like(target)
    for image in range(len(prob)):
        for k in range(prob.shape[-1]):
            line[image, ..., k] = _skeleton(prob[image, ..., k], iterations)
            true_line[image, ..., k] = _skeleton(target[image, ..., k], iterations)

    def score(images, k):
        def share(inner, outer):
            inside = sum((weight[i] * inner[i, ..., k] * outer[i, ..., k]).sum() for i in images)
            return (inside + smooth) / (sum((weight[i] * inner[i, ..., k]).sum() for i in images) + smooth)

        precision, sensitivity = share(line, target), share(true_line, prob)
        return 1 - 2 * precision * sensitivity / (precision + sensitivity)

    return _mean(target, prob, weight, class_weights, None, per_image, absent, score)


def _skeleton(image, iterations):
    def neighbours(at, cross):
        for step in np.ndindex(*(3,) * image.ndim):
            offset = [s - 1 for s in step]
            if cross and sum(abs(o) for o in offset) > 1:
                continue
            where = tuple(a + o for a, o in zip(at, offset, strict=True))
            if all(0 <= w < size for w, size in zip(where, image.shape, strict=True)):
                yield where

    def erode(values):
        return np.array([min(values[n] for n in neighbours(at, True)) for at in np.ndindex(*image.shape)]).reshape(
            image.shape
        )

    def dilate(values):
        return np.array([max(values[n] for n in neighbours(at, False)) for at in np.ndindex(*image.shape)]).reshape(
            image.shape
        )

    values = image
    skeleton = np.maximum(values - dilate(erode(values)), 0)
    for _ in range(iterations):
        values = erode(values)
        removed = np.maximum(values - dilate(erode(values)), 0)
        skeleton = skeleton + np.maximum(removed - skeleton * removed, 0)
    return skeleton


def _mean(target, prob, weight, class_weights, cost, per_image, absent, score=None):
    of_groups = []
    for images in _groups(len(target), per_image):
        total = sum(weight[image].sum() for image in images)
        if per_image and not weight[images[0]].any():
            continue
        top = bottom = 0.0
        for k in range(target.shape[-1]):
            sums = _sums(target, prob, weight, images, k)
            _, pred, true, *_ = sums
            if true > 0 or absent == "smooth":
                term = score(images, k) if score else cost(*sums)
            elif absent == "skip":
                continue
            else:
                term = pred / total if total else 0.0
            top += class_weights[k] * term
            bottom += class_weights[k]
        of_groups.append(top / bottom if bottom else 0.0)
    return float(np.mean(of_groups)) if of_groups else 0.0


def _groups(batch, per_image):
    return [[image] for image in range(batch)] if per_image else [list(range(batch))]


def _sums(target, prob, weight, images, k):
    both = pred = true = pred_squared = true_squared = 0.0
    for image in images:
        for at in np.ndindex(*weight[image].shape):
            w, t, p = weight[image][at], target[image][at][k], prob[image][at][k]
            both += w * t * p
            pred += w * p
            true += w * t
            pred_squared += w * p * p
            true_squared += w * t * t
    return both, pred, true, pred_squared, true_squared
