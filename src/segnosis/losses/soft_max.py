"""What losses of class ids need of a soft-max, with its gradient in as few passes over the scores as it takes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any  # a tensor of whichever backend Keras runs on


def truth_and_mass(scores: Tensor, ids: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Log-probability of each pixel's class, and the probability that each class was given in all.

    Automatic differentiation would go over an array of the size of the scores once for every step of the formula; the
    gradient written out, `p · (w·g − Σ w·g·p − h)`, and `h` more at the true class, takes one.

    Args:
        scores: Logits `(batch, *space, num_classes)` float32.
        ids: Class ids `(batch, *space)` int32, all of them classes.
        weight: Weight of each pixel in the sums `(batch, *space)`, or `None` for 1 each.

    Returns:
        Log-probabilities `(batch, *space)`, and weighted sums over pixels `(batch, num_classes)`.

    Example:
        >>> import numpy as np
        >>> log_prob, mass = truth_and_mass(np.zeros((1, 2, 2, 2), "float32"), np.ones((1, 2, 2), "int32"), None)
        >>> np.exp(ops.convert_to_numpy(log_prob)).round(3).tolist(), ops.convert_to_numpy(mass).tolist()
        ([[[0.5, 0.5], [0.5, 0.5]]], [[2.0, 2.0]])
    """
    batch, classes = ops.shape(scores)[0], scores.shape[-1]
    flat = ops.reshape(scores, (batch, -1, classes))
    truth = ops.reshape(ids, (batch, -1))
    pixel_weight = None if weight is None else ops.reshape(weight, (batch, -1))
    forward = _in_few_steps if keras.backend.backend() == "torch" else _fused

    @ops.custom_gradient
    def both(flat: Tensor) -> tuple[Tensor, Any]:
        log_prob, mass, gradient_of = forward(flat, truth, pixel_weight)

        def gradient(*args: Tensor, upstream: Tensor = None) -> Tensor:
            upstream = args[-1] if upstream is None else upstream  # torch names it, the others do not
            return gradient_of(upstream[:, :-classes], upstream[:, -classes:])

        # One output, since that is what a custom gradient has on torch.
        return ops.concatenate([log_prob, mass], axis=1), gradient

    joined = both(flat)
    return ops.reshape(joined[:, :-classes], ops.shape(ids)), joined[:, -classes:]


def _fused(scores: Tensor, ids: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Any]:
    """XLA fuses all but the exponential and the products with it, and never writes the one-hot truth."""
    highest = ops.max(scores, axis=-1)
    exp = ops.exp(scores - highest[..., None])
    total = ops.sum(exp, axis=-1)
    scale = 1.0 / total
    pixels = ops.reshape(ids, (-1,))
    first = ops.arange(0, ops.shape(pixels)[0], dtype="int32") * scores.shape[-1]
    at_truth = ops.reshape(ops.take(ops.reshape(scores, (-1,)), first + pixels), ops.shape(ids))
    log_prob = at_truth - highest - ops.log(total)
    counted = scale if weight is None else scale * weight
    mass = ops.matmul(counted[:, None, :], exp)[:, 0]

    def gradient(of_log_prob: Tensor, of_mass: Tensor) -> Tensor:
        common = ops.matmul(exp, of_mass[..., None])[..., 0] * counted + of_log_prob
        spread = exp * (of_mass[:, None, :] * counted[..., None] - (common * scale)[..., None])
        is_true = ops.equal(ids[..., None], ops.arange(scores.shape[-1], dtype="int32"))
        return spread + ops.where(is_true, of_log_prob[..., None], 0.0)

    return log_prob, mass, gradient


def _in_few_steps(scores: Tensor, ids: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Any]:
    """Torch runs one operation after the other: few of them, in place where the array is our own."""
    log_probs = ops.log_softmax(scores, axis=-1)
    index = ops.cast(ids, "int64")[..., None]
    log_prob = ops.take_along_axis(log_probs, index, axis=-1)[..., 0]
    prob = log_probs.exp_()
    counted = ops.ones_like(log_prob) if weight is None else weight
    mass = ops.matmul(counted[:, None, :], prob)[:, 0]

    def gradient(of_log_prob: Tensor, of_mass: Tensor) -> Tensor:
        common = ops.matmul(prob, of_mass[..., None])[..., 0] * counted + of_log_prob
        of_mass = of_mass[:, None, :] if weight is None else of_mass[:, None, :] * weight[..., None]
        spread = (of_mass - common[..., None]).mul_(prob)
        return spread.scatter_add_(-1, index, of_log_prob[..., None])

    return log_prob, mass, gradient
