"""DeepLab by plain TensorFlow operations on the tensors of a checkpoint, found by their published names.

Written from the papers and the names alone; knows nothing of layers, strides that become dilation, or of Keras. The
names are also what the tests write checkpoints with.
"""

from __future__ import annotations

import numpy as np

Tensors = dict[str, np.ndarray]

XCEPTION_UNITS = [
    ("entry_flow/block1", 1, (64, 128, 128, 128), True),
    ("entry_flow/block2", 1, (128, 256, 256, 256), True),
    ("entry_flow/block3", 1, (256, 728, 728, 728), True),
    ("middle_flow/block1", 16, (728, 728, 728, 728), False),
    ("exit_flow/block1", 1, (728, 728, 1024, 1024), True),
    ("exit_flow/block2", 1, (1024, 1536, 1536, 2048), False),
]
# (expansion, filters, stride) of expanded_conv, expanded_conv_1, …
MOBILENET_BLOCKS = (
    [(1, 16, 1)] + [(6, 24, 2), (6, 24, 1)] + [(6, 32, 2)] + [(6, 32, 1)] * 2 + [(6, 64, 2)] + [(6, 64, 1)] * 3
    + [(6, 96, 1)] * 3 + [(6, 160, 2)] + [(6, 160, 1)] * 2 + [(6, 320, 1)]
)  # fmt: skip


def xception_tensors(num_classes: int, seed: int = 0) -> Tensors:
    """A checkpoint of DeepLab v3+ with Xception-65: true names and shapes, random numbers of a sane size."""
    write = _Writer(seed)
    write.convolution("xception_65/entry_flow/conv1_1", 3, 3, 32)
    write.convolution("xception_65/entry_flow/conv1_2", 3, 32, 64)
    for block, units, (first, *widths), shortcut in XCEPTION_UNITS:
        for unit in range(1, units + 1):
            module = f"xception_65/{block}/unit_{unit}/xception_module"
            before = first
            for index, width in enumerate(widths, start=1):
                write.separable(f"{module}/separable_conv{index}", before, width)
                before = width
            if shortcut:
                write.convolution(f"{module}/shortcut", 1, first, widths[-1])
    write.convolution("image_pooling", 1, 2048, 256)
    write.convolution("aspp0", 1, 2048, 256)
    for branch in (1, 2, 3):
        write.separable(f"aspp{branch}", 2048, 256)
    write.convolution("concat_projection", 1, 5 * 256, 256)
    write.convolution("decoder/feature_projection0", 1, 256, 48)
    write.separable("decoder/decoder_conv0", 304, 256)
    write.separable("decoder/decoder_conv1", 256, 256)
    write.logits(256, num_classes)
    return write.tensors


def mobilenet_tensors(num_classes: int, seed: int = 0) -> Tensors:
    """A checkpoint of the published mobile DeepLab."""
    write = _Writer(seed)
    write.convolution("MobilenetV2/Conv", 3, 3, 32)
    before = 32
    for index, (expansion, filters, _) in enumerate(MOBILENET_BLOCKS):
        block = f"MobilenetV2/expanded_conv_{index}" if index else "MobilenetV2/expanded_conv"
        if expansion > 1:
            write.convolution(f"{block}/expand", 1, before, before * expansion)
        write.depthwise(f"{block}/depthwise", before * expansion)
        write.convolution(f"{block}/project", 1, before * expansion, filters)
        before = filters
    write.convolution("image_pooling", 1, 320, 256)
    write.convolution("aspp0", 1, 320, 256)
    write.convolution("concat_projection", 1, 512, 256)
    write.logits(256, num_classes)
    return write.tensors


def save(tensors: Tensors, prefix: str) -> None:
    """Write a checkpoint as TensorFlow's savers do."""
    import tensorflow as tf

    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.convert_to_tensor(tensors[name]) for name in names],
    )


def xception_logits(tensors: Tensors, images: np.ndarray) -> np.ndarray:
    """DeepLab v3+ at output stride 16, `(batch, height, width, classes)`; sides of `images` are 16·k + 1."""
    import tensorflow as tf

    net = _Reader(tensors, 1e-3)
    x = tf.constant(images / 127.5 - 1.0, tf.float32)
    x = tf.nn.relu(net.convolution(x, "xception_65/entry_flow/conv1_1", stride=2))
    x = tf.nn.relu(net.convolution(x, "xception_65/entry_flow/conv1_2"))
    for block, units, _, shortcut in XCEPTION_UNITS:
        last = block == "exit_flow/block2"
        stride = 2 if block.startswith("entry") else 1
        for unit in range(1, units + 1):
            module = f"xception_65/{block}/unit_{unit}/xception_module"
            start = x
            for index in (1, 2, 3):
                part = f"{module}/separable_conv{index}"
                x = x if last else tf.nn.relu(x)
                x = net.depthwise(x, f"{part}_depthwise", stride=stride if index == 3 else 1, rate=2 if last else 1)
                x = tf.nn.relu(x) if last else x
                x = net.convolution(x, f"{part}_pointwise")
                x = tf.nn.relu(x) if last else x
                if block == "entry_flow/block2" and index == 2:
                    fine = x
            if shortcut:
                x += net.convolution(start, f"{module}/shortcut", stride=stride)
            elif not last:
                x += start
    net.epsilon = 1e-5
    x = net.pooled(x, rates=(6, 12, 18))
    fine = tf.nn.relu(net.convolution(fine, "decoder/feature_projection0"))
    x = tf.concat([_resized(x, fine.shape[1:3]), fine], 3)
    for index in (0, 1):
        x = net.separable(x, f"decoder/decoder_conv{index}")
    return _resized(net.logits(x), images.shape[1:3]).numpy()


def mobilenet_logits(tensors: Tensors, images: np.ndarray) -> np.ndarray:
    """The mobile DeepLab at output stride 16, `(batch, height, width, classes)`; sides of `images` are 16·k + 1."""
    import tensorflow as tf

    net = _Reader(tensors, 1e-3)
    x = tf.constant(images / 127.5 - 1.0, tf.float32)
    x = tf.nn.relu6(net.convolution(x, "MobilenetV2/Conv", stride=2))
    for index, (expansion, _, stride) in enumerate(MOBILENET_BLOCKS):
        block = f"MobilenetV2/expanded_conv_{index}" if index else "MobilenetV2/expanded_conv"
        start = x
        if expansion > 1:
            x = tf.nn.relu6(net.convolution(x, f"{block}/expand"))
        # At stride 16 the last stage does not stride, and what follows it is dilated.
        stride, rate = (1 if index == 13 else stride), (2 if index > 13 else 1)
        x = tf.nn.relu6(net.depthwise(x, f"{block}/depthwise", stride=stride, rate=rate))
        x = net.convolution(x, f"{block}/project")
        if start.shape == x.shape:
            x += start
    net.epsilon = 1e-5
    return _resized(net.logits(net.pooled(x, rates=())), images.shape[1:3]).numpy()


class _Writer:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: Tensors = {}

    def convolution(self, scope: str, kernel: int, before: int, filters: int) -> None:
        deviation = np.sqrt(2.0 / (kernel * kernel * before))
        self.tensors[f"{scope}/weights"] = self._normal(deviation, kernel, kernel, before, filters)
        self._normalization(scope, filters)

    def depthwise(self, scope: str, channels: int) -> None:
        self.tensors[f"{scope}/depthwise_weights"] = self._normal(0.4, 3, 3, channels, 1)
        self._normalization(scope, channels)

    def separable(self, scope: str, before: int, filters: int) -> None:
        self.depthwise(f"{scope}_depthwise", before)
        self.convolution(f"{scope}_pointwise", 1, before, filters)

    def logits(self, before: int, num_classes: int) -> None:
        self.tensors["logits/semantic/weights"] = self._normal(0.1, 1, 1, before, num_classes)
        self.tensors["logits/semantic/biases"] = self._normal(0.1, num_classes)

    def _normalization(self, scope: str, channels: int) -> None:
        for name, middle in (("gamma", 1.0), ("beta", 0.0), ("moving_mean", 0.0), ("moving_variance", 1.0)):
            spread = self.random.uniform(-0.1, 0.1, channels)
            self.tensors[f"{scope}/BatchNorm/{name}"] = (middle + spread).astype("float32")

    def _normal(self, deviation: float, *shape: int) -> np.ndarray:
        return (deviation * self.random.standard_normal(shape, dtype="float32")).astype("float32")


class _Reader:
    def __init__(self, tensors: Tensors, epsilon: float) -> None:
        self.tensors, self.epsilon = tensors, epsilon

    def convolution(self, x, scope: str, *, stride: int = 1):
        import tensorflow as tf

        return self._normalized(tf.nn.conv2d(x, self.tensors[f"{scope}/weights"], stride, "SAME"), scope)

    def depthwise(self, x, scope: str, *, stride: int = 1, rate: int = 1):
        import tensorflow as tf

        kernel, steps = self.tensors[f"{scope}/depthwise_weights"], (1, stride, stride, 1)
        return self._normalized(tf.nn.depthwise_conv2d(x, kernel, steps, "SAME", dilations=(rate, rate)), scope)

    def separable(self, x, scope: str, *, rate: int = 1):
        import tensorflow as tf

        x = tf.nn.relu(self.depthwise(x, f"{scope}_depthwise", rate=rate))
        return tf.nn.relu(self.convolution(x, f"{scope}_pointwise"))

    def pooled(self, x, *, rates: tuple[int, ...]):
        import tensorflow as tf

        mean = tf.nn.relu(self.convolution(tf.reduce_mean(x, (1, 2), keepdims=True), "image_pooling"))
        branches = [_resized(mean, x.shape[1:3]), tf.nn.relu(self.convolution(x, "aspp0"))]
        branches += [self.separable(x, f"aspp{index}", rate=rate) for index, rate in enumerate(rates, start=1)]
        return tf.nn.relu(self.convolution(tf.concat(branches, 3), "concat_projection"))

    def logits(self, x):
        import tensorflow as tf

        return (
            tf.nn.conv2d(x, self.tensors["logits/semantic/weights"], 1, "SAME")
            + (self.tensors["logits/semantic/biases"])
        )

    def _normalized(self, x, scope: str):
        import tensorflow as tf

        gamma, beta, mean, variance = (
            self.tensors[f"{scope}/BatchNorm/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.epsilon)


def _resized(x, size):
    import tensorflow as tf

    return tf.compat.v1.image.resize_bilinear(x, size, align_corners=True)
