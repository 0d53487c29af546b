"""What this machine is good at, measured in a second."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

_WORTH_A_DOUBLING = 0.7
"""Share of an image's time below which a batch twice as large pays for half the steps."""
_LARGEST = 32


@cache
def on_cpu() -> bool:
    """Whether the backend has no accelerator."""
    import keras

    return all(str(device).lower().startswith("cpu") for device in keras.distribution.list_devices())


def devices() -> int:
    """Devices that train together: all that JAX sees, in all processes; the other backends train on one."""
    import keras

    return len(keras.distribution.list_devices()) if keras.backend.backend() == "jax" else 1


@cache
def precision() -> tuple[str, str]:
    """The faster safe precision and the measured reason: bfloat16 has float32's range and needs no loss scaling.

    Returns:
        `"float32"` or `"bfloat16"`, and one sentence.
    """
    import keras

    # The GPU figure would be another: there bfloat16 has had its own units for years.
    ratio = _seconds("bfloat16") / _seconds("float32")
    if keras.backend.backend() == "torch" and on_cpu():
        return "float32", "bfloat16 on a CPU is left to TensorFlow and JAX"
    if ratio < 0.8:
        return "bfloat16", f"a convolution takes {ratio:.2f} of its float32 time on this machine; weights stay float32"
    return "float32", f"bfloat16 would take {ratio:.2f} of the time on this machine: no gain worth it"


@cache
def batch_size(least: int) -> tuple[int, str]:
    """Samples a batch and the measured reason: more than `least` only where an accelerator has room for them.

    Args:
        least: Samples that BatchNormalization needs, or that memory allows.
    """
    size, ratio = least, _seconds("float32", 2 * least) / (2 * _seconds("float32", least))
    if on_cpu():
        return least, (
            f"BatchNormalization needs several images a step; an image takes {ratio:.2f} of the time in batches of "
            f"{2 * least}, and on a CPU more steps teach more"
        )
    reason = f"an image would take {ratio:.2f} of the time in batches of {2 * size}: no gain worth fewer steps"
    while ratio < _WORTH_A_DOUBLING and size < _LARGEST:
        reason = f"an image takes {ratio:.2f} of the time it takes in batches of {size}"
        size *= 2
        ratio = _seconds("float32", 2 * size) / (2 * _seconds("float32", size))
    if size % devices():
        size, reason = size + -size % devices(), f"{reason}; a multiple of {devices()} devices"
    return size, reason


def _seconds(dtype: str, batch: int = 4) -> float:
    """Median seconds of a 3×3 convolution, batch × 96 × 96 × 32 to 32."""
    from keras import ops

    rng = np.random.default_rng(0)
    image = ops.cast(rng.normal(size=(batch, 96, 96, 32)).astype(np.float32), dtype)
    kernel = ops.cast(rng.normal(size=(3, 3, 32, 32)).astype(np.float32), dtype)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        ops.convert_to_numpy(ops.cast(ops.conv(image, kernel, padding="same"), "float32"))
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[2:]))
