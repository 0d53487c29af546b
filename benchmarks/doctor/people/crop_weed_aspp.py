"""
Train the weeding robot's segmentation net.

classes follow the colour coding of the annotation tool:
    soil  (0, 0, 0)    crop  (0, 255, 0)    weed  (255, 0, 0)
"""
import os
import re

import tensorflow as tf
import keras
from keras import layers as L

ROOT = "crop_rows"
IMG = 64
BATCH = 8
CLASSES = {"soil": (0, 0, 0), "crop": (0, 255, 0), "weed": (255, 0, 0)}
PALETTE = tf.constant(list(CLASSES.values()), tf.int32)


def number(name):
    return int(re.findall(r"\d+", name)[0])


def list_files():
    names = sorted(os.listdir(f"{ROOT}/images"), key=number)
    colors = sorted(os.listdir(f"{ROOT}/annotations"), key=number)
    return [f"{ROOT}/images/{n}" for n in names], [f"{ROOT}/annotations/{n}" for n in colors]


def color_to_id(color):
    """(H, W, 3) colours -> (H, W) ids, soil if nothing matches"""
    hits = tf.reduce_all(tf.cast(color, tf.int32)[:, :, None, :] == PALETTE, axis=-1)
    return tf.argmax(tf.cast(hits, tf.int32), axis=-1, output_type=tf.int32)


def read(image_file, color_file):
    image = tf.io.decode_png(tf.io.read_file(image_file), channels=3)
    color = tf.io.decode_png(tf.io.read_file(color_file), channels=3)
    image = tf.image.resize(image, (IMG, IMG)) / 127.5 - 1.0
    color = tf.image.resize(color, (IMG, IMG), method="nearest")
    return image, color_to_id(color)


def augment(image, ids):
    both = tf.concat([image, tf.cast(ids, tf.float32)[..., None]], axis=-1)
    both = tf.image.random_flip_left_right(both)
    both = tf.image.random_flip_up_down(both)
    image, ids = both[..., :3], tf.cast(both[..., 3], tf.int32)
    image = tf.image.random_brightness(image, 0.15)
    return image, ids


def make_dataset(images, colors, training):
    ds = tf.data.Dataset.from_tensor_slices((images, colors))
    ds = ds.map(read, num_parallel_calls=tf.data.AUTOTUNE).cache()
    if training:
        ds = ds.shuffle(len(images), seed=1).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    return ds.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def conv_bn(x, filters, kernel=3, strides=1, dilation=1):
    x = L.Conv2D(filters, kernel, strides=strides, dilation_rate=dilation, padding="same", use_bias=False)(x)
    x = L.BatchNormalization(momentum=0.9)(x)
    return L.ReLU(6.0)(x)


def inverted_residual(x, filters, strides, expand=4):
    inp = x
    x = conv_bn(x, inp.shape[-1] * expand, 1)
    x = L.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
    x = L.BatchNormalization(momentum=0.9)(x)
    x = L.ReLU(6.0)(x)
    x = L.Conv2D(filters, 1, use_bias=False)(x)
    x = L.BatchNormalization(momentum=0.9)(x)
    return L.add([inp, x]) if strides == 1 and inp.shape[-1] == filters else x


def aspp(x, filters):
    size = x.shape[1]
    pooled = L.GlobalAveragePooling2D(keepdims=True)(x)
    pooled = conv_bn(pooled, filters, 1)
    pooled = L.UpSampling2D(size, interpolation="bilinear")(pooled)
    branches = [pooled, conv_bn(x, filters, 1)] + [conv_bn(x, filters, 3, dilation=d) for d in (2, 4)]
    return conv_bn(L.concatenate(branches), filters, 1)


def deeplab_mobile(classes):
    inp = keras.Input((IMG, IMG, 3))
    x = conv_bn(inp, 16)
    low = x = inverted_residual(x, 16, 1)
    x = inverted_residual(x, 24, 2)
    x = inverted_residual(x, 24, 1)
    x = inverted_residual(x, 40, 2)
    x = inverted_residual(x, 40, 1)
    x = aspp(x, 32)
    x = L.UpSampling2D(4, interpolation="bilinear")(x)
    x = L.concatenate([x, conv_bn(low, 16, 1)])
    x = conv_bn(x, 32)
    logits = L.Conv2D(classes, 1, name="logits")(x)
    return keras.Model(inp, logits)


if __name__ == "__main__":
    keras.utils.set_random_seed(7)
    images, colors = list_files()
    train = make_dataset(images[:58], colors[:58], training=True)
    valid = make_dataset(images[58:], colors[58:], training=False)
    model = deeplab_mobile(len(CLASSES))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=2e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.MeanIoU(num_classes=len(CLASSES), sparse_y_pred=False, name="miou")],
    )
    model.fit(train, validation_data=valid, epochs=25, verbose=2)
    model.save_weights("robot.weights.h5")
