"""The same seed gives the same run: how TensorFlow is asked for it, and the other backends need not be."""

from __future__ import annotations


def start(seed: int) -> None:
    """Seed every generator a run uses, and ask the backend for reproducible kernels.

    Args:
        seed: Any non-negative integer.
    """
    import keras

    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # the only way to ask TensorFlow for deterministic kernels

        tf.config.experimental.enable_op_determinism()


def compiled() -> bool:
    """Whether XLA should compile the step: it must on JAX, and it slows convolutions on a TensorFlow CPU."""
    import keras

    return keras.backend.backend() == "jax"
