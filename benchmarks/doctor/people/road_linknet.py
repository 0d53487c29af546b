#!/usr/bin/env python
"""Road extraction (DeepGlobe layout), LinkNet, Dice + BCE."""
from pathlib import Path

import cv2
import keras
import numpy as np
from keras import ops
from keras.layers import (
    Activation, BatchNormalization, Conv2D, Conv2DTranspose, Input, MaxPooling2D, add,
)

keras.utils.set_random_seed(2024)
data_dir = Path("deepglobe")


def get_id(path):
    return path.name.split("_")[0]


def load_tiles():
    sats = {get_id(p): p for p in data_dir.glob("*_sat.jpg")}
    masks = {get_id(p): p for p in data_dir.glob("*_mask.png")}
    ids = sorted(sats)
    x = np.stack([cv2.cvtColor(cv2.imread(str(sats[i])), cv2.COLOR_BGR2RGB) for i in ids])
    y = np.stack([cv2.imread(str(masks[i]), cv2.IMREAD_GRAYSCALE) for i in ids])
    return x.astype("float32") / 255.0, (y > 127).astype("float32")[..., None]


# ------------------------------------------------------------------ model
def conv(x, filters, k=3, s=1):
    x = Conv2D(filters, k, strides=s, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = BatchNormalization(momentum=0.9)(x)
    return Activation("relu")(x)


def encoder_block(x, filters, s):
    r = conv(x, filters, s=s)
    r = conv(r, filters)
    shortcut = conv(x, filters, k=1, s=s)
    return add([r, shortcut])


def decoder_block(x, filters):
    mid = x.shape[-1] // 2
    x = conv(x, mid, k=1)
    x = Conv2DTranspose(mid, 3, strides=2, padding="same", use_bias=False)(x)
    x = BatchNormalization(momentum=0.9)(x)
    x = Activation("relu")(x)
    return conv(x, filters, k=1)


def linknet(shape):
    inp = Input(shape)
    stem = conv(inp, 16, k=5)
    e1 = encoder_block(MaxPooling2D(2)(stem), 16, 1)
    e2 = encoder_block(e1, 32, 2)
    e3 = encoder_block(e2, 64, 2)
    d3 = add([decoder_block(e3, 32), e2])
    d2 = add([decoder_block(d3, 16), e1])
    d1 = decoder_block(d2, 16)
    d1 = conv(add([d1, stem]), 16)
    out = Conv2D(1, 1, activation="sigmoid", name="road")(d1)
    return keras.Model(inp, out, name="linknet")


# ------------------------------------------------------------------ loss
EPS = 1e-6


def dice_coef(y_true, y_pred, smooth=1.0):
    y_true = ops.reshape(y_true, (ops.shape(y_true)[0], -1))
    y_pred = ops.reshape(y_pred, (ops.shape(y_pred)[0], -1))
    inter = ops.sum(y_true * y_pred, axis=1)
    return (2 * inter + smooth) / (ops.sum(y_true, axis=1) + ops.sum(y_pred, axis=1) + smooth)


def bce(y_true, y_pred):
    y_pred = ops.clip(y_pred, EPS, 1 - EPS)
    return -ops.mean(y_true * ops.log(y_pred) + (1 - y_true) * ops.log(1 - y_pred))


def dice_bce_loss(y_true, y_pred):
    return bce(y_true, y_pred) + 1 - ops.mean(dice_coef(y_true, y_pred))


def iou(y_true, y_pred):
    p = ops.cast(ops.greater(y_pred, 0.5), "float32")
    inter = ops.sum(y_true * p)
    return inter / (ops.sum(y_true) + ops.sum(p) - inter + EPS)


# ------------------------------------------------------------------ run
X, Y = load_tiles()
print("tiles", X.shape, "road share", Y.mean().round(4))

model = linknet(X.shape[1:])
model.compile(
    optimizer=keras.optimizers.RMSprop(2e-3, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=10),
    loss=dice_bce_loss,
    metrics=[iou],
)
history = model.fit(
    X, Y,
    batch_size=8,
    epochs=20,
    validation_split=0.2,
    callbacks=[keras.callbacks.EarlyStopping("val_iou", mode="max", patience=6, restore_best_weights=True)],
    verbose=2,
)
