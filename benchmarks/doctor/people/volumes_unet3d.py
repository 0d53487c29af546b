"""3D U-Net for small volumes, everything in memory."""
import glob
import os

import h5py
import keras
import numpy as np
from keras import layers as kl

DEPTH, SIDE = 8, 48
root = os.environ.get("DATA_ROOT", ".")


def read_volume(path):
    with h5py.File(path, "r") as f:
        image, label = f["image"][()], f["label"][()]
    o = (image.shape[1] - SIDE) // 2
    image, label = image[:DEPTH, o : o + SIDE, o : o + SIDE], label[:DEPTH, o : o + SIDE, o : o + SIDE]
    lo, hi = np.percentile(image, (1, 99))
    image = np.clip((image - lo) / (hi - lo), 0, 1)
    return image[..., np.newaxis].astype(np.float32), (label == 3).astype(np.float32)[..., np.newaxis]


volumes = [read_volume(p) for p in sorted(glob.glob(os.path.join(root, "heart", "*.h5")))]
X = np.array([v[0] for v in volumes])
Y = np.array([v[1] for v in volumes])
X = np.concatenate([X, X[:, :, ::-1], X[:, :, :, ::-1]])
Y = np.concatenate([Y, Y[:, :, ::-1], Y[:, :, :, ::-1]])
val = np.arange(len(X)) % 10 >= 8


def conv3(x, n):
    x = kl.Conv3D(n, 3, padding="same", use_bias=False)(x)
    x = kl.BatchNormalization()(x)
    return kl.LeakyReLU(0.01)(x)


i = kl.Input((DEPTH, SIDE, SIDE, 1))
e1 = conv3(i, 8)
e2 = conv3(kl.MaxPool3D((1, 2, 2))(e1), 16)
b = conv3(kl.MaxPool3D(2)(e2), 32)
d2 = conv3(kl.concatenate([kl.UpSampling3D(2)(b), e2]), 16)
d1 = conv3(kl.concatenate([kl.UpSampling3D((1, 2, 2))(d2), e1]), 8)
o = kl.Conv3D(1, 1, activation="sigmoid")(d1)
net = keras.Model(i, o)


def dice_loss(t, p, eps=1.0):
    axes = (1, 2, 3, 4)
    inter = keras.ops.sum(t * p, axis=axes)
    return 1 - keras.ops.mean((2 * inter + eps) / (keras.ops.sum(t, axis=axes) + keras.ops.sum(p, axis=axes) + eps))


net.compile(keras.optimizers.Adam(2e-3), loss=dice_loss)
net.fit(X[~val], Y[~val], batch_size=2, epochs=40, validation_data=(X[val], Y[val]))
