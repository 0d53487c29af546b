"""A DeepLab on photographs with 21 classes: "weeks of tuning, and it still predicts chaos".

python voc_deeplab.py [entropy|gathered|sparse]
"""

import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

CLASSES, VOID, SIDE, BATCH = 21, 255, 64, 10
LOSS = sys.argv[1] if len(sys.argv) > 1 else "entropy"


class Photographs:
    """Shards of (image, mask), read in parallel and shuffled."""

    def __init__(self, count, seed):
        self.rng = np.random.default_rng(seed)
        self.colors = np.random.default_rng(0).integers(30, 226, (CLASSES, 3))
        self.items = [self.one() for _ in range(count)]

    def one(self):
        mask = np.zeros((SIDE, SIDE), "uint8")
        for _ in range(self.rng.integers(1, 4)):
            top, left = self.rng.integers(2, SIDE - 28, 2)
            high, wide = self.rng.integers(14, 26, 2)
            mask[top : top + high, left : left + wide] = self.rng.integers(1, CLASSES)
        image = self.colors[mask] + self.rng.normal(0, 12, (SIDE, SIDE, 3))
        edge = np.zeros_like(mask, bool)
        edge[1:] |= mask[1:] != mask[:-1]
        edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
        mask[edge] = VOID
        pad = self.rng.integers(0, 9)
        if pad:
            mask[-pad:], image[-pad:] = VOID, 0
        return np.clip(image, 0, 255).astype("uint8"), mask

    def __iter__(self):
        return iter(self.items)


def decode(image, mask):
    image = tf.cast(image, tf.float32) / 127.5 - 1.0
    if LOSS == "sparse":
        return image, tf.cast(mask, tf.int32)
    one_hot = tf.one_hot(tf.cast(mask, tf.int32), CLASSES)
    void = tf.cast(mask == VOID, tf.float32)[..., None]
    return image, one_hot + VOID * void


def pipeline(source):
    shape = (tf.TensorSpec((SIDE, SIDE, 3), tf.uint8), tf.TensorSpec((SIDE, SIDE), tf.uint8))
    records = tf.data.Dataset.from_generator(lambda: iter(source), output_signature=shape)
    return records.shuffle(60).map(decode, num_parallel_calls=2).batch(BATCH, drop_remainder=True).prefetch(1)


def sep(x, f, name, rate=1, stride=1):
    settings = {"strides": stride, "dilation_rate": rate, "padding": "same", "use_bias": False}
    x = layers.SeparableConv2D(f, 3, **settings, name=f"{name}_sepconv")(x)
    return layers.ReLU()(layers.BatchNormalization(name=f"{name}_bn")(x))


class DeepLab:
    """Trunk, pyramid, decoder; the trunk comes with weights of an earlier classification."""

    def __init__(self):
        self.trunk = self.make_trunk()
        self.pretrain()

    def make_trunk(self):
        image = keras.Input((SIDE, SIDE, 3))
        x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="block1_conv")(image)
        x = low = layers.ReLU()(layers.BatchNormalization(name="block1_bn")(x))
        for block, f in ((2, 32), (3, 48), (4, 64)):
            name, stride = f"block{block}", 2 if f < 64 else 1
            short = layers.Conv2D(f, 1, strides=stride, padding="same", use_bias=False, name=f"{name}_short_conv")(x)
            x = sep(sep(x, f, f"{name}_1"), f, f"{name}_2", stride=stride)
            x = layers.add([x, layers.BatchNormalization(name=f"{name}_short_bn")(short)])
        for block in (5, 6):
            x = layers.add([x, sep(sep(x, 64, f"block{block}_1", 2), 64, f"block{block}_2", 2)])
        return keras.Model(image, [low, x])

    def pretrain(self):
        rng = np.random.default_rng(5)
        features = layers.GlobalAveragePooling2D()(self.trunk.outputs[1])
        judge = keras.Model(self.trunk.input, layers.Dense(3, activation="softmax")(features))
        judge.compile("adam", "sparse_categorical_crossentropy")
        labels = rng.integers(0, 3, 60)
        pictures = 0.3 * rng.normal(size=(60, SIDE, SIDE, 3)) + np.eye(3)[labels][:, None, None]
        for start in range(0, 60, 10):
            with_labels = pictures[start : start + 10].astype("float32"), labels[start : start + 10]
            step(judge, *with_labels)

    def model(self):
        low, x = self.trunk.outputs
        pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
        pooled = layers.UpSampling2D((x.shape[1], x.shape[2]))(layers.Conv2D(32, 1, activation="relu")(pooled))
        branches = [sep(x, 32, f"aspp{rate}", rate) for rate in (1, 2, 3)]
        x = layers.concatenate([layers.Conv2D(32, 1)(x), *branches, pooled])
        x = layers.UpSampling2D(4, interpolation="bilinear")(sep(x, 48, "projection"))
        x = sep(layers.concatenate([x, layers.Conv2D(12, 1)(low)]), 48, "decoder")
        x = layers.Conv2D(CLASSES, 1, activation="softmax")(x)
        x = layers.Softmax()(layers.UpSampling2D(2, interpolation="bilinear")(x))
        return keras.Model(self.trunk.input, x)


def step(model, x, y):
    """One step of plain gradient descent."""
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, model(x, training=True)))
    for variable, slope in zip(
        model.trainable_variables, tape.gradient(value, [v.value for v in model.trainable_variables]), strict=True
    ):
        variable.assign_sub(0.05 * slope)


def gathered_dice(y_true, y_pred):
    """Keeps labelled pixels, then sums as if they were still pictures."""
    kept = tf.where(tf.reduce_max(y_true, axis=-1) <= 1)
    t, p = tf.gather_nd(y_true, kept), tf.gather_nd(y_pred, kept)
    overlap = tf.reduce_sum(t * p, axis=[1, 2])
    return 1 - (2 * overlap + 1) / (tf.reduce_sum(t, axis=[1, 2]) + tf.reduce_sum(p, axis=[1, 2]) + 1)


def mean_iou(y_true, y_pred):
    """Own mean intersection over union."""
    overlap = tf.reduce_sum(y_true * y_pred, axis=[1, 2])
    union = tf.reduce_sum(y_true + y_pred, axis=[1, 2]) - overlap
    return tf.reduce_mean(overlap / union)


def main():
    train, held_out = pipeline(Photographs(150, 1)), pipeline(Photographs(40, 2))
    model = DeepLab().model()
    for layer in model.layers[:36]:
        layer.trainable = False
    losses = {
        "entropy": "categorical_crossentropy", "gathered": gathered_dice, "sparse": "sparse_categorical_crossentropy"
    }  # fmt: skip
    model.compile(
        optimizer=keras.optimizers.Adadelta(learning_rate=1e-5),
        loss=losses[LOSS],
        metrics=[] if LOSS == "sparse" else [mean_iou],
    )
    stop = keras.callbacks.EarlyStopping(patience=5)
    model.fit(train, validation_data=held_out, epochs=20, callbacks=[stop])


if __name__ == "__main__":
    main()
