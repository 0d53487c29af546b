import math
import pathlib
import random

import keras
import numpy as np
from keras import layers
from keras.utils import img_to_array, load_img

input_dir = pathlib.Path("pets/images")
target_dir = pathlib.Path("pets/annotations/trimaps")
img_size = (80, 80)
num_classes = 3
batch_size = 8

input_img_paths = sorted(input_dir.glob("*.jpg"))
target_img_paths = sorted(p for p in target_dir.glob("*.png") if not p.name.startswith("."))
print("Number of samples:", len(input_img_paths))


class OxfordPets(keras.utils.PyDataset):
    """Helper to iterate over the data (as Numpy arrays)."""

    def __init__(self, batch_size, img_size, input_img_paths, target_img_paths, **kwargs):
        super().__init__(**kwargs)
        self.batch_size = batch_size
        self.img_size = img_size
        self.input_img_paths = input_img_paths
        self.target_img_paths = target_img_paths

    def __len__(self):
        return math.ceil(len(self.target_img_paths) / self.batch_size)

    def __getitem__(self, idx):
        i = idx * self.batch_size
        batch_input = self.input_img_paths[i : i + self.batch_size]
        batch_target = self.target_img_paths[i : i + self.batch_size]
        x = np.stack([img_to_array(load_img(p, target_size=self.img_size)) for p in batch_input]) / 255.0
        y = np.zeros((len(batch_input),) + self.img_size + (1,), dtype="uint8")
        for j, path in enumerate(batch_target):
            img = load_img(path, target_size=self.img_size, color_mode="grayscale")
            y[j] = np.expand_dims(img, 2)
        # Ground truth labels are 1, 2, 3. Subtract one to make them 0, 1, 2:
        y -= 1
        return x, y


def get_model(img_size, num_classes):
    inputs = keras.Input(shape=img_size + (3,))
    x = layers.Conv2D(24, 3, strides=2, padding="same")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    previous_block_activation = x
    for filters in [32, 64]:
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(filters, 1, strides=2, padding="same")(previous_block_activation)
        x = layers.add([x, residual])
        previous_block_activation = x
    for filters in [64, 32, 24]:
        x = layers.Activation("relu")(x)
        x = layers.Conv2DTranspose(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.Conv2DTranspose(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.UpSampling2D(2)(x)
        residual = layers.UpSampling2D(2)(previous_block_activation)
        residual = layers.Conv2D(filters, 1, padding="same")(residual)
        x = layers.add([x, residual])
        previous_block_activation = x
    outputs = layers.Conv2D(num_classes, 3, activation="softmax", padding="same")(x)
    return keras.Model(inputs, outputs)


val_samples = 16
random.Random(1337).shuffle(input_img_paths)
random.Random(1337).shuffle(target_img_paths)
train_gen = OxfordPets(batch_size, img_size, input_img_paths[:-val_samples], target_img_paths[:-val_samples])
val_gen = OxfordPets(batch_size, img_size, input_img_paths[-val_samples:], target_img_paths[-val_samples:])

model = get_model(img_size, num_classes)
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
callbacks = [keras.callbacks.ModelCheckpoint("oxford_segmentation.keras", save_best_only=True)]
model.fit(train_gen, epochs=50, validation_data=val_gen, callbacks=callbacks)
