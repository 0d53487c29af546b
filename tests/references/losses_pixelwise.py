"""Losses that are a mean over pixels, in float64 loops. Named as the unit is.

Shared arguments: `target` and `prob` `(batch, *space, classes)`, the target of ignored pixels all 0; `weight` `(batch,
*space)`, 0 for pixels left out; `class_weights` `(classes,)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np


def cross_entropy(target, prob, weight, class_weights, *, label_smoothing=0.0):
    return _mean(_costs(target, prob, weight, class_weights, label_smoothing, gamma=0.0))


def focal(target, prob, weight, class_weights, *, gamma=2.0, label_smoothing=0.0):
    return _mean(_costs(target, prob, weight, class_weights, label_smoothing, gamma=gamma))


def top_k_cross_entropy(target, prob, weight, class_weights, *, k=0.1, label_smoothing=0.0):
    costs = sorted(_costs(target, prob, weight, class_weights, label_smoothing, gamma=0.0), reverse=True)
    number = max(1, math.ceil(k * len(costs) - 1e-9))
    return _mean(costs[:number])


def _costs(target, prob, weight, class_weights, label_smoothing, gamma) -> Iterator[float]:
    classes = target.shape[-1]
    for at in np.ndindex(*weight.shape):
        if weight[at] == 0:
            continue
        cost = 0.0
        for k in range(classes):
            soft = (1 - label_smoothing) * target[at][k] + label_smoothing / classes
            cost -= class_weights[k] * soft * (1 - prob[at][k]) ** gamma * math.log(prob[at][k])
        yield weight[at] * cost


def _mean(costs) -> float:
    costs = list(costs)
    return sum(costs) / max(1, len(costs))
