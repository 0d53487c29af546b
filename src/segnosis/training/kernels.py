"""Operations that TensorFlow does in one pass over memory and Keras in many; same numbers up to rounding."""

from __future__ import annotations

from typing import Any

import keras

from segnosis.training import machine


def available() -> bool:
    """Whether training uses them: on TensorFlow's CPU, where each of them was measured to be faster."""
    return keras.backend.backend() == "tensorflow" and machine.on_cpu()


def normalized(x: Any, scale: Any, offset: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """`x` with mean 0 and variance 1 over all axes but the last, scaled and shifted.

    Args:
        x: `(batch, height, width, channels)`; sums are float32 whatever its type.
        scale: `(channels,)` float32.
        offset: `(channels,)` float32.
        epsilon: Added to the variance.

    Returns:
        The result like `x`, the mean and the variance, `(channels,)` float32.
    """
    import tensorflow as tf  # its fused operation: Keras' takes four times as long

    none = tf.zeros_like(scale)
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=none, variance=none, epsilon=epsilon, is_training=True
    )
    # It divides by n - 1, Keras by n.
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    return y, mean, variance * (tf.maximum(count - 1.0, 1.0) / count)


def adam(
    variable: Any, mean: Any, square: Any, gradient: Any, rate: Any, betas: Any, powers: Any, epsilon: Any
) -> None:
    """Take one step of Adam.

    Args:
        variable: What learns.
        mean: Its gradient's running mean.
        square: Its squared gradient's running mean.
        gradient: Like `variable`.
        rate: Learning rate.
        betas: What the running means keep at each step.
        powers: `betas` to the power of the steps taken, this one included.
        epsilon: Added to the root of `square`.
    """
    import tensorflow as tf  # one pass over the four; Keras takes a dozen

    own = (x.value if isinstance(x, keras.Variable) else x for x in (variable, mean, square))
    tf.raw_ops.ResourceApplyAdam(
        **{name: x.handle for name, x in zip(("var", "m", "v"), own, strict=True)},
        beta1_power=powers[0], beta2_power=powers[1], lr=rate, beta1=betas[0], beta2=betas[1], epsilon=epsilon,
        grad=gradient,
    )  # fmt: skip
