"""
Title: Flower segmentation with a small ConvNeXt-style U-Net
Description: Three-class trimap segmentation, from image files to predicted masks.
Accelerator: None
"""
"""
## Setup
"""
import math
import os

import keras
import numpy as np
from keras import layers, ops
from PIL import Image

keras.utils.set_random_seed(1234)

DATA_DIR = "flowers"
IMAGE_SIZE = (64, 64)
NUM_CLASSES = 3
BATCH_SIZE = 8
EPOCHS = 8
NUM_VAL = 16

"""
## Collect the files

The flowers come species by species, so we mix them before we put some aside for validation.
"""
photos = sorted(os.path.join(DATA_DIR, "jpg", f) for f in os.listdir(os.path.join(DATA_DIR, "jpg")))
trimaps = sorted(os.path.join(DATA_DIR, "trimaps", f) for f in os.listdir(os.path.join(DATA_DIR, "trimaps")))
order = np.random.default_rng(42).permutation(len(photos))
photos = [photos[i] for i in order]
trimaps = [trimaps[i] for i in order]
print(len(photos), "photos,", len(trimaps), "trimaps")

"""
## A PyDataset that reads a batch at a time
"""


class FlowerDataset(keras.utils.PyDataset):
    def __init__(self, photos, trimaps, augment=False, **kwargs):
        super().__init__(**kwargs)
        self.photos = photos
        self.trimaps = trimaps
        self.augment = augment
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return math.ceil(len(self.photos) / BATCH_SIZE)

    def __getitem__(self, index):
        low = index * BATCH_SIZE
        high = min(low + BATCH_SIZE, len(self.photos))
        batch_x, batch_y = [], []
        for photo, trimap in zip(self.photos[low:high], self.trimaps[low:high]):
            x = np.array(Image.open(photo).resize(IMAGE_SIZE, Image.BILINEAR), dtype="float32")
            y = np.array(Image.open(trimap).resize(IMAGE_SIZE, Image.NEAREST), dtype="int32")
            if self.augment:
                x, y = self.transform(x, y)
            batch_x.append(x)
            batch_y.append(y - 1)  # classes are 1, 2, 3 in the files
        return np.stack(batch_x), np.stack(batch_y)[..., None]

    def transform(self, x, y):
        if self.rng.random() < 0.5:
            x, y = x[:, ::-1], y[:, ::-1]
        quarter = self.rng.integers(4)
        x, y = np.rot90(x, quarter), np.rot90(y, quarter)
        x = np.clip(x * self.rng.uniform(0.8, 1.2), 0, 255)
        return x, y


train_ds = FlowerDataset(photos[:-NUM_VAL], trimaps[:-NUM_VAL], augment=True)
val_ds = FlowerDataset(photos[-NUM_VAL:], trimaps[-NUM_VAL:])

"""
## The model

Blocks as in ConvNeXt: depthwise 5x5, layer normalization, a wide pointwise layer with GELU, and a residual connection.
"""


def block(x, name):
    filters = x.shape[-1]
    y = layers.DepthwiseConv2D(5, padding="same", name=name + "_dw")(x)
    y = layers.LayerNormalization(epsilon=1e-6, name=name + "_ln")(y)
    y = layers.Dense(3 * filters, activation="gelu", name=name + "_wide")(y)
    y = layers.Dense(filters, name=name + "_narrow")(y)
    return layers.Add(name=name + "_add")([x, y])


def build_model():
    inputs = keras.Input(IMAGE_SIZE + (3,))
    x = layers.Rescaling(1.0 / 127.5, offset=-1)(inputs)
    x = layers.Conv2D(16, 2, strides=2, name="stem")(x)
    skip_2 = block(x, "enc2")
    x = layers.Conv2D(32, 2, strides=2, name="down4")(skip_2)
    skip_4 = block(x, "enc4")
    x = layers.Conv2D(48, 2, strides=2, name="down8")(skip_4)
    x = block(block(x, "mid_a"), "mid_b")
    x = layers.Conv2DTranspose(32, 2, strides=2, name="up4")(x)
    x = block(layers.Add()([x, skip_4]), "dec4")
    x = layers.Conv2DTranspose(16, 2, strides=2, name="up2")(x)
    x = block(layers.Add()([x, skip_2]), "dec2")
    x = layers.Conv2D(NUM_CLASSES, 3, padding="same", name="scores")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="full_size")(x)
    outputs = layers.Softmax(name="probabilities")(x)
    return keras.Model(inputs, outputs)


model = build_model()
model.summary(line_length=110)

"""
## Training
"""
model.compile(
    optimizer=keras.optimizers.AdamW(learning_rate=2e-3, weight_decay=1e-4),
    loss=keras.losses.SparseCategoricalCrossentropy(),
    metrics=[keras.metrics.MeanIoU(num_classes=NUM_CLASSES, sparse_y_pred=False, name="miou")],
)
model.fit(
    train_ds,
    validation_data=val_ds,
    epochs=EPOCHS,
    callbacks=[keras.callbacks.ModelCheckpoint("flowers.keras", save_best_only=True)],
    verbose=2,
)

"""
## Inference

How well is the flower itself found in the pictures that were put aside?
"""
predictions = ops.convert_to_numpy(ops.argmax(model.predict(val_ds, verbose=0), axis=-1))
truth = np.concatenate([y for _, y in (val_ds[i] for i in range(len(val_ds)))])[..., 0]
dice = 2 * ((predictions == 0) & (truth == 0)).sum() / ((predictions == 0).sum() + (truth == 0).sum())
print(f"Dice of the flower on held-out photos: {dice:.3f}")
Image.fromarray((100 * predictions[0]).astype("uint8")).save("example_mask.png")
