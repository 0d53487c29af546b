"""Lesions with a nested U-Net: "the loss falls, the metric stays constant, and why is the loss above 1?".

python lesions_unet_plus_plus.py [--feed own|keras] [--width 16] [--decay 2.5e-4]
"""

import argparse

import keras
import numpy as np
from keras import layers, ops
from scipy import ndimage

options = argparse.ArgumentParser()
options.add_argument("--feed", default="own", choices=("own", "keras"))
options.add_argument("--width", type=int, default=16)
options.add_argument("--decay", type=float, default=2.5e-4)
options = options.parse_args()

SIZE, BATCH, EPOCHS = 48, 8, 30
WIDTHS = [options.width * 2**level for level in range(5)]
decay = keras.regularizers.L2(options.decay)


def make_scans(count, seed):
    rng = np.random.default_rng(seed)
    scans, truths = np.zeros((count, SIZE, SIZE, 1)), np.zeros((count, SIZE, SIZE), "uint8")
    yy, xx = np.mgrid[:SIZE, :SIZE]
    for scan, truth in zip(scans, truths, strict=True):
        clouds = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 3)
        scan[..., 0] = 70 + 40 * clouds + rng.normal(0, 4, (SIZE, SIZE))
        for _ in range(rng.integers(1, 3)):
            y, x, r = *rng.uniform(8, SIZE - 8, 2), rng.uniform(2, 5)
            spot = (yy - y) ** 2 + (xx - x) ** 2 < r**2
            truth[spot] = 1
            scan[spot] += 90
    return np.clip(scans, 0, 255), truths


def unit(x, filters, name):
    for part in "ab":
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=decay,
            name=f"conv{name}{part}",
        )(x)
        x = layers.Dropout(0.5)(x)
    return x


def nested_unet(shape):
    x = {}
    image = keras.Input(shape)
    for row in range(5):
        below = image if row == 0 else layers.MaxPooling2D()(x[row - 1, 0])
        x[row, 0] = unit(below, WIDTHS[row], f"{row}0")
    for column in range(1, 5):
        for row in range(5 - column):
            up = layers.Conv2DTranspose(
                WIDTHS[row], 2, strides=2, padding="same", kernel_regularizer=decay, name=f"up{row}{column}"
            )(x[row + 1, column - 1])
            x[row, column] = unit(
                layers.concatenate([up] + [x[row, k] for k in range(column)]), WIDTHS[row], f"{row}{column}"
            )
    heads = [
        layers.Conv2D(2, 1, activation="softmax", kernel_regularizer=decay, name=f"out{column}")(x[0, column])
        for column in range(1, 5)
    ]
    fused = layers.Conv2D(2, 1, activation="softmax", kernel_regularizer=decay, name="out5")(layers.concatenate(heads))
    return keras.Model(image, fused)


def dice(y_true, y_pred, channel, smooth=1.0):
    t, p = ops.reshape(y_true[..., channel], (-1,)), ops.reshape(y_pred[..., channel], (-1,))
    return (2 * ops.sum(t * p) + smooth) / (ops.sum(t) + ops.sum(p) + smooth)


def weighted_dice_loss(y_true, y_pred):
    return 1 - (0.3 * dice(y_true, y_pred, 0) + 0.7 * dice(y_true, y_pred, 1))


def lesion_dice(y_true, y_pred):
    return dice(y_true, y_pred, 1)


def augmented(images, targets):
    rng = np.random.default_rng(11)
    while True:
        chosen = rng.choice(len(images), BATCH, replace=False)
        batch = []
        for image in images[chosen]:
            image = ndimage.rotate(image, rng.uniform(-10, 10), reshape=False, order=1, mode="nearest")
            image = ndimage.shift(image, (*rng.uniform(-0.1, 0.1, 2) * SIZE, 0), order=1, mode="nearest")
            batch.append(image[:, ::-1] if rng.random() < 0.5 else image)
        yield np.stack(batch).astype("float32"), targets[chosen]


def main():
    scans, truths = make_scans(64, 1)
    val_scans, val_truths = make_scans(16, 2)
    x, y = (scans / 255.0).astype("float32"), keras.utils.to_categorical(truths, 2).astype("float32")
    x_val, y_val = (val_scans / 255.0).astype("float32"), keras.utils.to_categorical(val_truths, 2).astype("float32")
    if options.feed == "keras":
        from keras.src.legacy.preprocessing.image import ImageDataGenerator

        changes = ImageDataGenerator(
            rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True, fill_mode="nearest"
        )
        feed = changes.flow(x, y, batch_size=BATCH)
    else:
        feed = augmented(x, y)
    model = nested_unet((SIZE, SIZE, 1))
    rate = keras.optimizers.schedules.PolynomialDecay(1e-3, EPOCHS * len(x) // BATCH, 1e-6, power=0.9)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=weighted_dice_loss, metrics=[lesion_dice])
    model.fit(feed, steps_per_epoch=len(x) // BATCH, epochs=EPOCHS, validation_data=(x_val, y_val))


if __name__ == "__main__":
    main()
