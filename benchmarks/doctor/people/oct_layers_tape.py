#!/usr/bin/env python
"""Retinal layers in OCT: own loop with GradientTape.

Regions: 0 vitreous, 1 inner retina, 2 outer retina, 3 pigment epithelium, 4 choroid.
The graders marked only the middle columns of a scan, the others hold NaN and get weight 0.
"""
import glob
import time

import keras
import numpy as np
import scipy.io
import tensorflow as tf

FILES = sorted(glob.glob("oct_dme/2015_BOE_Chiu/*.mat"))
TEST_SUBJECTS = 3
REGIONS = 5
BATCH = 6
EPOCHS = 8
LEARNING_RATE = 2e-3
EMA = 0.9

tf.random.set_seed(0)
np.random.seed(0)
keras.utils.set_random_seed(0)


def regions_from_lines(lines, height):
    """(4, width) heights of the boundaries -> (height, width) regions and (width,) weight."""
    known = ~np.isnan(lines).any(axis=0)
    rows = np.arange(height)[:, None, None]
    regions = (rows >= np.nan_to_num(lines).T[None]).sum(axis=-1)
    regions[:, ~known] = 0
    return regions.astype("int32"), known.astype("float32")


def load(files):
    scans, masks, weights = [], [], []
    for file in files:
        mat = scipy.io.loadmat(file)
        for k in range(mat["images"].shape[-1]):
            scan = mat["images"][:, :, k].astype("float32")
            mask, known = regions_from_lines(mat["manualLayers1"][:, :, k], scan.shape[0])
            scan = (scan - scan.mean()) / scan.std()
            scans.append(scan[..., None])
            masks.append(mask)
            weights.append(np.broadcast_to(known, mask.shape))
    return np.stack(scans), np.stack(masks), np.stack(weights).astype("float32")


def mirror(scan, mask, weight):
    """Left and right eyes. Never upside down."""
    if tf.random.uniform(()) < 0.5:
        scan = tf.reverse(scan, [1])
        mask = tf.reverse(mask, [1])
        weight = tf.reverse(weight, [1])
    return scan, mask, weight


def relaynet(width=16):
    """In the spirit of ReLayNet: tall kernels, max-unpooling replaced by transposed convolutions."""
    def unit(x, filters):
        x = keras.layers.Conv2D(filters, (7, 3), padding="same", kernel_initializer="he_normal")(x)
        x = keras.layers.BatchNormalization(momentum=EMA)(x)
        return keras.layers.PReLU(shared_axes=[1, 2])(x)

    image = keras.Input((64, 80, 1))
    e1 = unit(image, width)
    e2 = unit(keras.layers.MaxPooling2D()(e1), width)
    e3 = unit(keras.layers.MaxPooling2D()(e2), 2 * width)
    bottom = unit(keras.layers.MaxPooling2D()(e3), 2 * width)
    d3 = unit(keras.layers.concatenate([keras.layers.Conv2DTranspose(width, 2, 2)(bottom), e3]), 2 * width)
    d2 = unit(keras.layers.concatenate([keras.layers.Conv2DTranspose(width, 2, 2)(d3), e2]), width)
    d1 = unit(keras.layers.concatenate([keras.layers.Conv2DTranspose(width, 2, 2)(d2), e1]), width)
    return keras.Model(image, keras.layers.Conv2D(REGIONS, 1, name="scores")(d1))


def criterion(mask, scores, weight):
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=mask, logits=scores)
    entropy = tf.reduce_sum(entropy * weight) / tf.reduce_sum(weight)
    p = tf.nn.softmax(scores) * weight[..., None]
    t = tf.one_hot(mask, REGIONS) * weight[..., None]
    overlap = (2 * tf.reduce_sum(p * t, (0, 1, 2)) + 1) / (tf.reduce_sum(p + t, (0, 1, 2)) + 1)
    return entropy + 0.5 * (1 - tf.reduce_mean(overlap))


x_train, y_train, w_train = load(FILES[:-TEST_SUBJECTS])
x_test, y_test, w_test = load(FILES[-TEST_SUBJECTS:])
print("scans", x_train.shape, x_test.shape, "marked %.2f" % w_train.mean())
train = tf.data.Dataset.from_tensor_slices((x_train, y_train, w_train)).shuffle(100).map(mirror).batch(BATCH)
test = tf.data.Dataset.from_tensor_slices((x_test, y_test, w_test)).batch(BATCH)

net = relaynet()
steps = EPOCHS * len(train)
rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps, alpha=0.02)
optimizer = keras.optimizers.Adam(rate, global_clipnorm=5.0)


@tf.function
def train_step(scan, mask, weight):
    with tf.GradientTape() as tape:
        loss = criterion(mask, net(scan, training=True), weight)
    gradients = tape.gradient(loss, net.trainable_weights)
    optimizer.apply_gradients(zip(gradients, net.trainable_weights))
    return loss


@tf.function
def test_step(scan, mask, weight):
    scores = net(scan, training=False)
    return criterion(mask, scores, weight), tf.argmax(scores, -1, output_type=tf.int32)


def dice_per_region(pairs):
    """pairs of (mask, guess, weight) -> Dice of regions 1 to 3, marked columns only"""
    dice = []
    for k in range(1, REGIONS - 1):
        inter = sum(float(tf.reduce_sum(tf.cast((m == k) & (g == k), tf.float32) * w)) for m, g, w in pairs)
        total = sum(float(tf.reduce_sum((tf.cast(m == k, tf.float32) + tf.cast(g == k, tf.float32)) * w)) for m, g, w in pairs)
        dice.append(2 * inter / (total + 1e-6))
    return np.array(dice)


for epoch in range(1, EPOCHS + 1):
    start, losses = time.time(), []
    for scan, mask, weight in train:
        losses.append(float(train_step(scan, mask, weight)))
    pairs, test_losses = [], []
    for scan, mask, weight in test:
        loss, guess = test_step(scan, mask, weight)
        test_losses.append(float(loss))
        pairs.append((mask, guess, weight))
    dice = dice_per_region(pairs)
    print("%3d  loss %.4f  test %.4f  dice %s  (%.1f s)"
          % (epoch, np.mean(losses), np.mean(test_losses), np.round(dice, 3), time.time() - start))

net.save("relaynet.keras")
print("mean Dice of the layers: %.3f" % dice.mean())
