"""Own loop over train_on_batch, U-Net for cell membranes."""
import os

import keras
import numpy as np
from keras import layers
from PIL import Image


def read(folder, n):
    x = np.stack([np.asarray(Image.open(os.path.join(folder, "image", f"{i}.png"))) for i in range(n)])
    y = np.stack([np.asarray(Image.open(os.path.join(folder, "label", f"{i}.png"))) for i in range(n)])
    x = x.astype("float32") / 255
    y = (y > 127).astype("float32")
    return x[..., None], y[..., None]


x, y = read("membrane/train", 60)
x_train, y_train, x_val, y_val = x[:48], y[:48], x[48:], y[48:]


def block(t, f):
    for _ in range(2):
        t = layers.Conv2D(f, 3, padding="same", kernel_initializer="he_normal", activation="relu")(t)
    return t


def unet(size):
    i = keras.Input(size)
    a = block(i, 16)
    b = block(layers.MaxPooling2D()(a), 32)
    c = layers.Dropout(0.5)(block(layers.MaxPooling2D()(b), 64))
    d = layers.Conv2D(32, 2, padding="same", activation="relu")(layers.UpSampling2D()(c))
    d = block(layers.concatenate([b, d]), 32)
    e = layers.Conv2D(16, 2, padding="same", activation="relu")(layers.UpSampling2D()(d))
    e = block(layers.concatenate([a, e]), 16)
    return keras.Model(i, layers.Conv2D(1, 1, activation="sigmoid")(e))


model = unet(x.shape[1:])
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy", metrics=["accuracy"])

rng = np.random.default_rng(0)
best = 1e9
for epoch in range(40):
    order = rng.permutation(len(x_train))
    losses = []
    for k in range(0, len(order), 6):
        idx = order[k : k + 6]
        xb, yb = x_train[idx].copy(), y_train[idx].copy()
        if rng.random() < 0.5:
            xb, yb = xb[:, ::-1], yb[:, ::-1]
        if rng.random() < 0.5:
            xb, yb = xb[:, :, ::-1], yb[:, :, ::-1]
        losses.append(model.train_on_batch(xb, yb)[0])
    val = model.evaluate(x_val, y_val, verbose=0)
    print(f"epoch {epoch}: loss {np.mean(losses):.4f} val {val[0]:.4f} acc {val[1]:.4f}")
    if val[0] < best:
        best = val[0]
        model.save_weights("unet_membrane.weights.h5")
