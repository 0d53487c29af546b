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


def convolution(x: Any, kernel: Any, *, strides: Any, padding: str, dilation: Any) -> Any:
    """Keras' convolution, whose kernel learns by products of matrices where they are faster.

    Args:
        x: `(batch, height, width, in)`.
        kernel: `(rows, columns, in, out)`, of the type of `x`.
        strides: Of the two axes.
        padding: `"same"` or `"valid"`; with a stride above 1 only `"valid"`, unless the kernel is a pixel.
        dilation: Of the two axes.
    """
    import tensorflow as tf  # the gradient of its own operation takes up to twice as long on small maps

    name, every, apart = padding.upper(), [1, *strides, 1], [1, *dilation, 1]
    reach = [(size - 1) * rate for size, rate in zip(kernel.shape[:2], dilation, strict=True)]
    border = [(r // 2, r - r // 2) if padding == "same" else (0, 0) for r in reach]

    @tf.custom_gradient
    def convolve(x: Any, kernel: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            of_x = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, strides=every, padding=name,
                dilations=apart,
            )  # fmt: skip
            return of_x, _products(x, upstream, kernel.shape, strides, dilation, border)

        return tf.nn.conv2d(x, kernel, every, name, dilations=apart), gradient

    return convolve(x, kernel)


def convolution_transposed(x: Any, kernel: Any) -> Any:
    """Keras' transposed convolution of stride 2 and a 4×4 kernel `(4, 4, out, in)`, its kernel as in `convolution`."""
    import tensorflow as tf

    two, (batch, height, width, _) = [1, 2, 2, 1], tf.unstack(tf.shape(x))
    size = tf.stack([batch, 2 * height, 2 * width, kernel.shape[2]])

    @tf.custom_gradient
    def convolve(x: Any, kernel: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            of_x = tf.nn.conv2d(upstream, kernel, two, "SAME")
            return of_x, _products(upstream, x, kernel.shape, (2, 2), (1, 1), [(1, 1), (1, 1)])

        return tf.nn.conv2d_transpose(x, kernel, size, two, "SAME"), gradient

    return convolve(x, kernel)


def by_products(kernel: Any, dtype: str) -> bool:
    """Whether products of matrices give the gradient of a kernel faster than TensorFlow's own operation does.

    What each weight sees has to be copied first. That pays where many channels meet, which in these networks is on
    small maps; a kernel of one pixel needs no copy, but has a fast operation in bfloat16.
    """
    channels = min(kernel.shape[2:])
    if tuple(kernel.shape[:2]) == (1, 1):
        return bool(dtype == "float32" and channels >= 64)
    return bool(channels >= 256)


def _products(x: Any, upstream: Any, shape: Any, strides: Any, dilation: Any, border: Any) -> Any:
    """Gradient of a kernel of that shape: for each of its weights' places a product over all pixels."""
    import tensorflow as tf

    rows, columns, inside, outside = shape
    padded = tf.pad(x, [(0, 0), *border, (0, 0)]) if any(map(any, border)) else x
    height, width = tf.unstack(tf.shape(upstream))[1:3]
    pixels = tf.reshape(upstream, (-1, outside))
    taps = []
    for i in range(rows):
        for j in range(columns):
            top, left = i * dilation[0], j * dilation[1]
            seen = padded[
                :, top : top + strides[0] * (height - 1) + 1 : strides[0],
                left : left + strides[1] * (width - 1) + 1 : strides[1],
            ]  # fmt: skip
            taps.append(tf.matmul(tf.transpose(tf.reshape(seen, (-1, inside))), pixels))
    return tf.reshape(tf.stack(taps), shape)


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
