#!/usr/bin/env python3
"""Side scan sonar: bed, water column, object and shadow for every pixel, and "is there a contact at all" for the ping block.

Functional model with two inputs (the block of pings, the altitude of the fish) and two outputs, tf.data, weights as a
third element: lost pings (255) weigh nothing.
"""
import numpy as np
import tensorflow as tf
import keras
from keras import layers

HEIGHT, WIDTH = 64, 96
NAMES = ["bed", "water", "object", "shadow"]
LOST = 255
BATCH = 8
EPOCHS = 12
CLASS_WEIGHTS = [0.7, 0.7, 3.0, 1.5]
TEST_TRACKS = (8, 9)

keras.utils.set_random_seed(77)

with np.load("sonar/survey.npz") as survey:
    pings, labels = survey["pings"], survey["labels"]
    track, altitude = survey["track"], survey["altitude"]

is_test = np.isin(track, TEST_TRACKS)
is_train = ~is_test


def normalize(ping):
    """Decibels would be better, the export only has bytes."""
    return tf.cast(ping, tf.float32)[..., None] / 127.5 - 1.0


def prepare(ping, label, height):
    lost = label == LOST
    label = tf.where(lost, tf.zeros_like(label), label)
    label = tf.cast(label, tf.int32)
    weight = tf.where(lost, 0.0, tf.gather(tf.constant(CLASS_WEIGHTS), label))
    contact = tf.cast(tf.reduce_any(label == 2), tf.float32)[None]
    inputs = {"pings": normalize(ping), "altitude": height[None] / 20.0}
    targets = {"bottom": label, "contact": contact}
    return inputs, targets, {"bottom": weight, "contact": tf.ones(())}


def jitter(inputs, targets, weights):
    """The fish may have gone the other way."""
    image, label, weight = inputs["pings"], targets["bottom"], weights["bottom"]
    if tf.random.uniform(()) < 0.5:
        image, label, weight = image[::-1], label[::-1], weight[::-1]
    image = image * tf.random.uniform((), 0.9, 1.1)
    return {**inputs, "pings": image}, {**targets, "bottom": label}, {**weights, "bottom": weight}


def pipeline(chosen, training):
    data = tf.data.Dataset.from_tensor_slices((pings[chosen], labels[chosen], altitude[chosen]))
    if training:
        data = data.shuffle(int(chosen.sum()), seed=1)
    data = data.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).cache() if not training else data.map(prepare).map(jitter)
    return data.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def conv_bn(x, filters, strides=1):
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.LeakyReLU(negative_slope=0.1)(x)


def feature_pyramid(width=16):
    image = layers.Input((HEIGHT, WIDTH, 1), name="pings")
    height = layers.Input((1,), name="altitude")
    plane = layers.Reshape((1, 1, 1))(height)
    plane = layers.UpSampling2D((HEIGHT, WIDTH))(plane)
    x = layers.Concatenate()([image, plane])
    c1 = conv_bn(conv_bn(x, 12, 2), 16)
    c2 = conv_bn(conv_bn(c1, 24, 2), 24)
    c3 = conv_bn(conv_bn(c2, 40, 2), 40)
    p = layers.Conv2D(width, 1)(c3)
    pyramid = [p]
    for c in (c2, c1):
        p = layers.Add()([layers.UpSampling2D()(p), layers.Conv2D(width, 1)(c)])
        pyramid.append(p)
    merged = [conv_bn(p, 16) for p in pyramid]
    merged = [layers.UpSampling2D(2 ** (2 - k), interpolation="bilinear")(m) if k < 2 else m for k, m in enumerate(merged)]
    x = conv_bn(layers.Add()(merged), 16)
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    bottom = layers.Conv2D(len(NAMES), 1, activation="softmax", name="bottom")(x)
    pooled = layers.GlobalMaxPooling2D()(c3)
    contact = layers.Dense(1, activation="sigmoid", name="contact")(layers.Dropout(0.3)(pooled))
    return keras.Model({"pings": image, "altitude": height}, {"bottom": bottom, "contact": contact})


model = feature_pyramid()
model.compile(
    optimizer=keras.optimizers.Adam(2e-3),
    loss={"bottom": keras.losses.SparseCategoricalCrossentropy(), "contact": keras.losses.BinaryCrossentropy()},
    loss_weights={"bottom": 1.0, "contact": 0.1},
    metrics={"bottom": [keras.metrics.MeanIoU(len(NAMES), sparse_y_pred=False, name="miou")], "contact": ["accuracy"]},
    jit_compile=False,  # slower with it on this machine
)
model.fit(
    pipeline(is_train, True), validation_data=pipeline(is_test, False), epochs=EPOCHS, verbose=2,
    callbacks=[keras.callbacks.ReduceLROnPlateau(monitor="val_bottom_loss", mode="min", factor=0.3, patience=3)],
)

# report on the two tracks that were kept away
found, real = [], []
for inputs, targets, weights in pipeline(is_test, False):
    found.append(model.predict_on_batch(inputs)["bottom"].argmax(-1))
    real.append(np.where(weights["bottom"] > 0, targets["bottom"], LOST))
found, real = np.concatenate(found), np.concatenate(real)
iou = []
for k, name in enumerate(NAMES):
    a, b = (found == k) & (real != LOST), real == k
    iou.append((a & b).sum() / max(1, (a | b).sum()))
    print(f"{name:8s} IoU {iou[-1]:.4f}")
print(f"object and shadow: {np.mean(iou[2:]):.4f}")
