# Waste sorting - DeepLabv3+ / MobileNetV2
# stage 1: all layers, cross entropy. stage 2: batch statistics fixed, small rate, cross entropy + dice.
import os

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from keras.applications.mobilenet_v2 import MobileNetV2, preprocess_input

ROOT = "waste_line"
IMG = 64
BATCH_SIZE = 8
STAGE_1 = {"epochs": 10, "lr": 4e-3}
STAGE_2 = {"epochs": 4, "lr": 5e-4}

tf.keras.utils.set_random_seed(99)

# ---------------------------------------------------------------------------------------------------------------- labels
PALETTE, CLASS_NAMES = [], []
with open(os.path.join(ROOT, "labelmap.txt")) as fp:
    for line in fp:
        if line.startswith("#"):
            continue
        name, color = line.split(":")[:2]
        CLASS_NAMES.append(name)
        PALETTE.append([int(v) for v in color.split(",")])
PALETTE = tf.constant(PALETTE, tf.int32)
NUM_CLASSES = len(CLASS_NAMES)


def rgb_to_ids(mask):
    match = tf.reduce_all(tf.cast(mask, tf.int32)[:, :, None] == PALETTE, axis=-1)
    return tf.argmax(tf.cast(match, tf.int32), axis=-1, output_type=tf.int32)


# ------------------------------------------------------------------------------------------------------------------ data
def read_list(part):
    with open(os.path.join(ROOT, "ImageSets", "Segmentation", part + ".txt")) as fp:
        return fp.read().split()


def load_image(name):
    image = tf.io.decode_jpeg(tf.io.read_file(ROOT + "/JPEGImages/" + name + ".jpg"), channels=3)
    image = tf.image.resize(image, (IMG, IMG))
    return preprocess_input(image)


def load_mask(name):
    mask = tf.io.decode_png(tf.io.read_file(ROOT + "/SegmentationClass/" + name + ".png"), channels=3)
    mask = tf.image.resize(mask, (IMG, IMG), method="nearest")
    return rgb_to_ids(mask)


def load_pair(name):
    return load_image(name), load_mask(name)


def random_flip(image, mask):
    if tf.random.uniform(()) > 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if tf.random.uniform(()) > 0.5:
        image, mask = image[::-1], mask[::-1]
    return image, mask


def random_color(image, mask):
    image = tf.image.random_brightness(image, 0.1)
    return tf.clip_by_value(image, -1.0, 1.0), mask


def make_dataset(names, training):
    ds = tf.data.Dataset.from_tensor_slices(names).map(load_pair, tf.data.AUTOTUNE)
    if training:
        ds = ds.shuffle(len(names)).map(random_flip).map(random_color)
    return ds.batch(BATCH_SIZE, drop_remainder=training).prefetch(1)


train_names, val_names, test_names = read_list("train"), read_list("val"), read_list("test")
train_ds = make_dataset(train_names, True)
val_ds = make_dataset(val_names, False)


# ----------------------------------------------------------------------------------------------------------------- model
def convolution_block(x, filters=32, kernel_size=3, dilation_rate=1):
    x = layers.Conv2D(filters, kernel_size, padding="same", dilation_rate=dilation_rate, use_bias=False,
                      kernel_initializer=keras.initializers.HeNormal())(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x)


def pyramid_pooling(x):
    h, w = x.shape[1:3]
    pooled = layers.AveragePooling2D((h, w))(x)
    pooled = convolution_block(pooled, kernel_size=1)
    pooled = layers.UpSampling2D((h, w), interpolation="bilinear")(pooled)
    branches = [pooled, convolution_block(x, kernel_size=1)]
    branches += [convolution_block(x, dilation_rate=rate) for rate in (2, 4)]
    return convolution_block(layers.Concatenate()(branches), kernel_size=1)


def deeplab():
    inputs = keras.Input((IMG, IMG, 3))
    backbone = MobileNetV2(include_top=False, weights=None, alpha=0.35, input_tensor=inputs)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9
    high = backbone.get_layer("block_6_expand_relu").output  # 1/8
    low = backbone.get_layer("block_1_expand_relu").output  # 1/2
    x = pyramid_pooling(high)
    x = layers.UpSampling2D(4, interpolation="bilinear")(x)
    x = layers.Concatenate()([x, convolution_block(low, 24, 1)])
    x = convolution_block(x)
    x = convolution_block(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    outputs = layers.Conv2D(NUM_CLASSES, 1, name="scores")(x)
    return keras.Model(inputs, outputs, name="deeplab_v3_plus")


ce = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def ce_dice(y_true, y_pred):
    onehot = tf.one_hot(tf.cast(tf.reshape(y_true, tf.shape(y_pred)[:3]), tf.int32), NUM_CLASSES)
    prob = tf.nn.softmax(y_pred)
    overlap = tf.reduce_sum(onehot * prob, (0, 1, 2))
    total = tf.reduce_sum(onehot + prob, (0, 1, 2))
    dice = (2 * overlap + 1) / (total + 1)
    return ce(y_true, y_pred) + 1 - tf.reduce_mean(dice[1:])


def metrics():
    return [keras.metrics.SparseCategoricalAccuracy(name="acc"),
            keras.metrics.MeanIoU(NUM_CLASSES, sparse_y_pred=False, name="mean_iou")]


# -------------------------------------------------------------------------------------------------------------- training
model = deeplab()
model.compile(optimizer=keras.optimizers.Adam(STAGE_1["lr"]), loss=ce, metrics=metrics())
model.fit(train_ds, validation_data=val_ds, epochs=STAGE_1["epochs"], verbose=2)

for layer in model.layers:
    if isinstance(layer, layers.BatchNormalization):
        layer.trainable = False
model.compile(optimizer=keras.optimizers.Adam(STAGE_2["lr"]), loss=ce_dice, metrics=metrics())
model.fit(train_ds, validation_data=val_ds, epochs=STAGE_2["epochs"], verbose=2)

# ------------------------------------------------------------------------------------------------------------------ test
os.makedirs("waste_out", exist_ok=True)
for name in test_names:
    scores = model.predict(load_image(name)[None], verbose=0)
    ids = tf.argmax(scores, -1, output_type=tf.int32)[0]
    colored = tf.cast(tf.gather(PALETTE, ids), tf.uint8)
    tf.io.write_file(os.path.join("waste_out", name + ".png"), tf.io.encode_png(colored))
