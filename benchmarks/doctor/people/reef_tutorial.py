"""
Title: Semantic segmentation of coral reefs
Description: Adapted from the Keras image segmentation examples to my own photographs (seven classes).
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

"""
## Prepare the paths of the photographs and of the labels
"""

keras.utils.set_random_seed(1337)
CLASS_NAMES = ["water", "sand", "rock", "hard coral", "soft coral", "algae", "fish"]
NUM_CLASSES = len(CLASS_NAMES)
IMAGE_SIZE = (64, 80)
BATCH_SIZE = 8
NUM_VAL = 20
EPOCHS = 10

photo_paths = sorted(str(p) for p in Path("reef/photos").glob("*.jpg"))
label_paths = sorted(str(p) for p in Path("reef/labels").glob("*.png"))

for photo_path, label_path in list(zip(photo_paths, label_paths))[:5]:
    print(photo_path, "|", label_path)

"""
## A `tf.data.Dataset` that loads and prepares them

In the files the classes start at 1.
"""


def read_photo(path):
    photo = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    photo = tf.image.resize(photo, IMAGE_SIZE)
    return tf.cast(photo, tf.float32) / 255.0


def read_label(path):
    label = tf.io.decode_png(tf.io.read_file(path), channels=1)
    label = tf.image.resize(label, IMAGE_SIZE, method="nearest")
    return tf.cast(label, tf.int32) - 1


def load(photo_path, label_path):
    return read_photo(photo_path), read_label(label_path)


def augment(photo, label):
    if tf.random.uniform(()) > 0.5:
        photo = tf.image.flip_left_right(photo)
        label = tf.image.flip_left_right(label)
    photo = tf.image.random_brightness(photo, 0.05)
    return photo, label


def make_dataset(photo_paths, label_paths, training=False):
    ds = tf.data.Dataset.from_tensor_slices((photo_paths, label_paths))
    ds = ds.map(load, num_parallel_calls=tf.data.AUTOTUNE).cache()
    if training:
        ds = ds.shuffle(len(photo_paths)).map(augment)
    return ds.batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)


train_ds = make_dataset(photo_paths[:-NUM_VAL], label_paths[:-NUM_VAL], training=True)
val_ds = make_dataset(photo_paths[-NUM_VAL:], label_paths[-NUM_VAL:])

"""
## The model: separable convolutions with residuals
"""


def norm(x):
    return layers.BatchNormalization(momentum=0.9)(x)


def entry_block(x, filters):
    residual = layers.Conv2D(filters, 1, strides=2, padding="same")(x)
    x = layers.SeparableConv2D(filters, 3, padding="same")(x)
    x = norm(x)
    x = layers.Activation("relu")(x)
    x = layers.SeparableConv2D(filters, 3, padding="same")(x)
    x = norm(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    return layers.add([x, residual])


def exit_block(x, skip, filters):
    x = layers.UpSampling2D(2)(x)
    x = layers.Concatenate()([x, skip])
    x = layers.Conv2D(filters, 3, padding="same")(x)
    x = norm(x)
    return layers.Activation("relu")(x)


def get_model():
    inputs = keras.Input(shape=IMAGE_SIZE + (3,))
    x = layers.Conv2D(16, 3, padding="same")(inputs)
    x = norm(x)
    top = x = layers.Activation("relu")(x)
    middle = x = entry_block(x, 24)
    x = entry_block(x, 40)
    x = exit_block(x, middle, 24)
    x = exit_block(x, top, 16)
    outputs = layers.Conv2D(NUM_CLASSES, 3, activation="softmax", padding="same", name="classes")(x)
    return keras.Model(inputs, outputs, name="reef")


model = get_model()
model.summary()

"""
## Train the model
"""

model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(),
    metrics=[keras.metrics.MeanIoU(NUM_CLASSES, sparse_y_pred=False, name="mean_iou")],
)
model.fit(train_ds, validation_data=val_ds, epochs=EPOCHS, verbose=2)

"""
## Look at every class
"""

found = model.predict(val_ds, verbose=0).argmax(-1)
truth = np.stack([np.squeeze(keras.utils.load_img(p, color_mode="grayscale", target_size=IMAGE_SIZE)) for p in label_paths[-NUM_VAL:]]) - 1
scores = []
for number, name in enumerate(CLASS_NAMES):
    hit = ((found == number) & (truth == number)).sum()
    scores.append(2 * hit / max(1, (found == number).sum() + (truth == number).sum()))
    print(f"{name:12} Dice {scores[-1]:.3f}")
print(f"mean Dice {np.mean(scores):.3f}")
