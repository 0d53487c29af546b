"""
Title: Image segmentation of fruit with a small Xception-style U-Net
Description: follows the well-known tutorial, with our own photos.
"""
import math
import os
import random

import keras
import numpy as np
from keras import layers
from keras.utils import img_to_array, load_img

keras.utils.set_random_seed(1337)

input_dir = "pantry/train/images/"
target_dir = "pantry/train/labels/"
img_size = (64, 64)
num_classes = 4
batch_size = 8
epochs = 30

input_img_paths = sorted(
    os.path.join(input_dir, fname) for fname in os.listdir(input_dir) if fname.endswith(".png")
)
target_img_paths = sorted(
    os.path.join(target_dir, fname)
    for fname in os.listdir(target_dir)
    if fname.endswith(".png") and not fname.startswith(".")
)
print("Number of samples:", len(input_img_paths))

# Split our img paths into a training and a validation set
val_samples = 16
random.Random(1337).shuffle(input_img_paths)
random.Random(1337).shuffle(target_img_paths)
train_input_img_paths = input_img_paths[:-val_samples]
train_target_img_paths = target_img_paths[:-val_samples]
val_input_img_paths = input_img_paths[-val_samples:]
val_target_img_paths = target_img_paths[-val_samples:]


class Fruit(keras.utils.PyDataset):
    """Helper to iterate over the data (as Numpy arrays)."""

    def __init__(self, batch_size, img_size, input_img_paths, target_img_paths, augment=False, **kwargs):
        super().__init__(**kwargs)
        self.batch_size = batch_size
        self.img_size = img_size
        self.input_img_paths = input_img_paths
        self.target_img_paths = target_img_paths
        self.augment = augment

    def __len__(self):
        return math.ceil(len(self.target_img_paths) / self.batch_size)

    def __getitem__(self, idx):
        i = idx * self.batch_size
        batch_input_img_paths = self.input_img_paths[i : i + self.batch_size]
        batch_target_img_paths = self.target_img_paths[i : i + self.batch_size]
        n = len(batch_input_img_paths)
        x = np.zeros((n,) + self.img_size + (3,), dtype="float32")
        y = np.zeros((n,) + self.img_size + (1,), dtype="uint8")
        for j in range(n):
            img = load_img(batch_input_img_paths[j], target_size=self.img_size)
            lab = load_img(batch_target_img_paths[j], target_size=self.img_size, color_mode="grayscale")
            img, lab = img_to_array(img) / 255.0, img_to_array(lab)
            if self.augment and random.random() < 0.5:
                img = img[:, ::-1]
                lab = lab[:, ::-1]
            if self.augment and random.random() < 0.5:
                img, lab = img[::-1], lab[::-1]
            x[j], y[j] = img, lab
        return x, y


def get_model(img_size, num_classes):
    inputs = keras.Input(shape=img_size + (3,))

    # Entry block
    x = layers.Conv2D(16, 3, strides=2, padding="same")(inputs)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Activation("relu")(x)
    previous_block_activation = x  # Set aside residual

    for filters in [32, 64]:
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = layers.SeparableConv2D(filters, 3, padding="same")(x)
            x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(filters, 1, strides=2, padding="same")(previous_block_activation)
        x = layers.add([x, residual])
        previous_block_activation = x

    for filters in [64, 32, 16]:
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = layers.Conv2DTranspose(filters, 3, padding="same")(x)
            x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.UpSampling2D(2)(x)
        residual = layers.UpSampling2D(2)(previous_block_activation)
        residual = layers.Conv2D(filters, 1, padding="same")(residual)
        x = layers.add([x, residual])
        previous_block_activation = x

    outputs = layers.Conv2D(num_classes, 3, activation="softmax", padding="same")(x)
    return keras.Model(inputs, outputs)


keras.backend.clear_session()
model = get_model(img_size, num_classes)

train_gen = Fruit(batch_size, img_size, train_input_img_paths, train_target_img_paths, augment=True)
val_gen = Fruit(batch_size, img_size, val_input_img_paths, val_target_img_paths)

# We use the "sparse" version of categorical_crossentropy because our target data is integers.
model.compile(optimizer=keras.optimizers.RMSprop(1e-3), loss="sparse_categorical_crossentropy")
callbacks = [keras.callbacks.ModelCheckpoint("fruit_segmentation.keras", save_best_only=True)]
model.fit(train_gen, epochs=epochs, validation_data=val_gen, callbacks=callbacks, verbose=2)
