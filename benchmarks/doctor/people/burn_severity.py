#!/usr/bin/env python3
"""Burn severity from Sentinel-2 tiles (B02 B03 B04 B08 B11 B12), 3 classes: unburned / low-moderate / high.

usage: python burn_severity.py
Tiles are band-first float32 reflectance * 10000, NaN outside of the swath. Severity rasters: 0 nodata, 1 .. 3.
"""
import glob
import os
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import tifffile
from keras.layers import Concatenate, Conv2D, Input, MaxPool2D, UpSampling2D

TILE_DIR, LABEL_DIR = "burn_scars/tiles", "burn_scars/severity"
N_BANDS, N_CLASSES, NODATA = 6, 3, 255
TILE = 64
BATCH = 6
EPOCHS = 10
LR = 1.5e-3
AUTOTUNE = tf.data.AUTOTUNE

# mean and standard deviation of the reflectance, computed once over the training scenes
BAND_MEAN = np.array([0.061, 0.084, 0.083, 0.255, 0.234, 0.159], "float32")
BAND_STD = np.array([0.026, 0.032, 0.049, 0.081, 0.073, 0.078], "float32")

keras.utils.set_random_seed(2024)


def scene_of(path):
    return int(re.match(r"T(\d+)_", os.path.basename(path)).group(1))


def label_of(path):
    return os.path.join(LABEL_DIR, os.path.basename(path).replace(".tif", "_sev.tif"))


tiles = sorted(glob.glob(os.path.join(TILE_DIR, "*.tif")))
train_tiles = [p for p in tiles if scene_of(p) < 38]
val_tiles = [p for p in tiles if scene_of(p) in (38, 39)]
test_tiles = [p for p in tiles if scene_of(p) > 39]
train_labels = [label_of(p) for p in train_tiles]
val_labels = [label_of(p) for p in val_tiles]
test_labels = [label_of(p) for p in test_tiles]


def read_tile(path):
    bands = tifffile.imread(path.decode())
    image = bands.transpose(1, 2, 0) / 10000.0
    image = (image - BAND_MEAN) / BAND_STD
    return np.nan_to_num(image).astype("float32")


def read_label(path):
    severity = tifffile.imread(path.decode()).astype("int32")
    label = severity - 1
    label[severity == 0] = NODATA
    return label


def load(tile_path, label_path):
    image = tf.numpy_function(read_tile, [tile_path], tf.float32)
    label = tf.numpy_function(read_label, [label_path], tf.int32)
    image = tf.ensure_shape(image, (TILE, TILE, N_BANDS))
    label = tf.ensure_shape(label, (TILE, TILE))
    return image, label[..., tf.newaxis]


def augment(image, label):
    both = tf.concat([image, tf.cast(label, tf.float32)], axis=-1)
    both = tf.image.random_flip_left_right(both)
    both = tf.image.random_flip_up_down(both)
    both = tf.image.rot90(both, tf.random.uniform([], 0, 4, tf.int32))
    image, label = both[..., :N_BANDS], tf.cast(both[..., N_BANDS:], tf.int32)
    image = image * tf.random.uniform([], 0.9, 1.1)
    return image, label


def dataset(tile_paths, label_paths, training):
    ds = tf.data.Dataset.from_tensor_slices((tile_paths, label_paths))
    ds = ds.map(load, num_parallel_calls=AUTOTUNE).cache()
    if training:
        ds = ds.shuffle(256).map(augment, num_parallel_calls=AUTOTUNE)
    return ds.batch(BATCH).prefetch(AUTOTUNE)


train_ds = dataset(train_tiles, train_labels, training=True)
val_ds = dataset(val_tiles, val_labels, training=False)
test_ds = dataset(test_tiles, test_labels, training=False)


def double_conv(x, n, name):
    x = Conv2D(n, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"{name}_a")(x)
    return Conv2D(n, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"{name}_b")(x)


def build_model(width=12):
    inputs = Input((TILE, TILE, N_BANDS), name="bands")
    e1 = double_conv(inputs, width, "enc1")
    e2 = double_conv(MaxPool2D()(e1), 2 * width, "enc2")
    e3 = double_conv(MaxPool2D()(e2), 4 * width, "enc3")
    d2 = double_conv(Concatenate()([UpSampling2D()(e3), e2]), 2 * width, "dec2")
    d1 = double_conv(Concatenate()([UpSampling2D()(d2), e1]), width, "dec1")
    scores = Conv2D(N_CLASSES, 1, activation="softmax", name="severity")(d1)
    return keras.Model(inputs, scores, name="burn_unet")


model = build_model()
loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=NODATA)
miou = keras.metrics.MeanIoU(num_classes=N_CLASSES, ignore_class=NODATA, sparse_y_pred=False, name="miou")
model.compile(optimizer=keras.optimizers.Adam(LR), loss=loss, metrics=[miou])

model.fit(train_ds, validation_data=val_ds, epochs=EPOCHS, verbose=2)
print(model.evaluate(test_ds, verbose=0, return_dict=True))

severity_maps = model.predict(test_ds, verbose=0).argmax(axis=-1).astype("uint8") + 1
os.makedirs("burn_maps", exist_ok=True)
for path, severity_map in zip(test_tiles, severity_maps):
    tifffile.imwrite(os.path.join("burn_maps", os.path.basename(path)), severity_map)
