"""Losses that rank or measure pixels, in float64 loops; arguments as in `losses_pixelwise`."""

from __future__ import annotations

import math

import numpy as np


def lovasz(target, prob, weight, class_weights, *, per_image=False, absent="penalize"):
    """The extension by its definition: errors from the largest on, each times what adding its pixel does to 1 − IoU."""
    of_groups = []
    for images in [[i] for i in range(len(target))] if per_image else [list(range(len(target)))]:
        pixels = [(i, *at) for i in images for at in np.ndindex(*weight[i].shape) if weight[(i, *at)] != 0]
        if not pixels:
            continue
        top = bottom = 0.0
        for k in range(target.shape[-1]):
            truth = {at for at in pixels if target[at][k] == 1}
            if not truth and absent == "skip":
                continue
            error = {at: weight[at] * abs(target[at][k] - prob[at][k]) for at in pixels}
            wrong: set = set()
            before = cost = 0.0
            for at in sorted(pixels, key=error.__getitem__, reverse=True):
                wrong.add(at)
                union = len(truth | wrong)
                now = 1 - len(truth - wrong) / union
                cost += error[at] * (now - before)
                before = now
            top += class_weights[k] * cost
            bottom += class_weights[k]
        of_groups.append(top / bottom if bottom else 0.0)
    return float(np.mean(of_groups)) if of_groups else 0.0


def boundary(target, prob, weight, class_weights, *, radius=8):
    """Distances by looking at every pair of pixels."""
    cost, number = 0.0, 0
    for image in range(len(target)):
        pixels = [at for at in np.ndindex(*weight[image].shape) if weight[image][at] != 0]
        for at in pixels:
            number += 1
            for k in range(target.shape[-1]):
                side = target[image][at][k]
                others = [math.dist(at, other) for other in pixels if target[image][other][k] != side]
                distance = min(1.0, (min(others) - 0.5) / radius) if others else 1.0
                error = abs(side - prob[image][at][k])
                cost += weight[image][at] * class_weights[k] * distance * error / class_weights.sum()
    return cost / max(1, number)
