import numpy as np
import keras
from keras import layers as L
from keras import regularizers
from pathlib import Path
from PIL import Image

SIZE = (64, 64)
ROOT = Path("isic")


def load_pair(image_file):
    mask_file = ROOT / "masks" / (image_file.stem + "_segmentation.png")
    image = np.asarray(Image.open(image_file).convert("RGB").resize(SIZE))
    mask = np.asarray(Image.open(mask_file).convert("L").resize(SIZE, Image.NEAREST))
    return image, mask


pairs = [load_pair(f) for f in sorted((ROOT / "images").glob("*.jpg"))]
x = np.stack([p[0] for p in pairs]).astype("float32") / 255.0
y = (np.stack([p[1] for p in pairs])[..., None] > 0).astype("float32")
n_val = len(x) // 5
x_val, y_val, x_train, y_train = x[:n_val], y[:n_val], x[n_val:], y[n_val:]


def conv_block(t, filters, name):
    for k in (1, 2):
        t = L.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal",
                     kernel_regularizer=regularizers.l2(1e-5), name=f"{name}_{k}")(t)
        t = L.BatchNormalization(name=f"{name}_bn{k}")(t)
        t = L.Activation("relu")(t)
    return t


def unet_plus_plus(shape, filters=(12, 24, 48)):
    inp = L.Input(shape)
    x00 = conv_block(inp, filters[0], "x00")
    x10 = conv_block(L.MaxPooling2D()(x00), filters[1], "x10")
    x01 = conv_block(L.concatenate([x00, L.Conv2DTranspose(filters[0], 2, strides=2)(x10)]), filters[0], "x01")
    x20 = conv_block(L.MaxPooling2D()(x10), filters[2], "x20")
    x11 = conv_block(L.concatenate([x10, L.Conv2DTranspose(filters[1], 2, strides=2)(x20)]), filters[1], "x11")
    x02 = conv_block(L.concatenate([x00, x01, L.Conv2DTranspose(filters[0], 2, strides=2)(x11)]), filters[0], "x02")
    out1 = L.Conv2D(1, 1, activation="sigmoid", name="output_1")(x01)
    out2 = L.Conv2D(1, 1, activation="sigmoid", name="output_2")(x02)
    return keras.Model(inp, {"output_1": out1, "output_2": out2})


def dice(y_true, y_pred):
    inter = keras.ops.sum(y_true * y_pred, axis=(1, 2, 3))
    return keras.ops.mean((2 * inter + 1) / (keras.ops.sum(y_true + y_pred, axis=(1, 2, 3)) + 1))


def bce_dice(y_true, y_pred):
    bce = keras.ops.mean(keras.losses.binary_crossentropy(y_true, y_pred))
    return 0.5 * bce + 1 - dice(y_true, y_pred)


model = unet_plus_plus((*SIZE, 3))
model.compile(
    optimizer=keras.optimizers.Nadam(learning_rate=1e-3, clipnorm=1.0),
    loss={"output_1": bce_dice, "output_2": bce_dice},
    loss_weights={"output_1": 0.4, "output_2": 1.0},
    metrics={"output_2": [dice]},
)
model.fit(
    x_train,
    {"output_1": y_train, "output_2": y_train},
    validation_data=(x_val, {"output_1": y_val, "output_2": y_val}),
    batch_size=8,
    epochs=60,
    callbacks=[keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=6)],
)
