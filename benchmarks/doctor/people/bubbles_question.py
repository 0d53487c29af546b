"""
Question: U-Net for bubbles in a pipe

Hi all, I have three recordings of a bubbly flow (high speed camera, grey, 80x80 crops, 102 frames). Somebody in our group
outlined the bubbles, so I have frames.npy (uint8) and masks.npy (bool). This is the whole script, you can run it as it is.
Bubbles cover about 2 % of a frame. What can I improve?
"""
import numpy as np
import keras
from keras import layers, ops

np.random.seed(3)
keras.utils.set_random_seed(3)

X = np.load("bubbles/frames.npy")
Y = np.load("bubbles/masks.npy")
print(X.shape, X.dtype, Y.shape, Y.dtype)

# mix the recordings, validation_split takes the end of the array
mix = np.random.permutation(len(X))
X, Y = X[mix], Y[mix]

X = X.astype("float32")[..., np.newaxis]
X = X / 255.0
Y = Y.astype("float32")[..., np.newaxis]


def dice(y_true, y_pred):
    overlap = ops.sum(y_true * y_pred)
    return (2 * overlap + 1) / (ops.sum(y_true) + ops.sum(y_pred) + 1)


def loss(y_true, y_pred):
    bce = keras.losses.BinaryCrossentropy()(y_true, y_pred)
    return bce + 1 - dice(y_true, y_pred)


def conv(n):
    return keras.Sequential([
        layers.Conv2D(n, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
    ])


inp = keras.Input((80, 80, 1))
a = conv(12)(inp)
b = conv(24)(layers.MaxPooling2D()(a))
c = conv(32)(layers.MaxPooling2D()(b))
c = conv(32)(c)
b = conv(24)(layers.Concatenate()([layers.UpSampling2D()(c), b]))
a = conv(12)(layers.Concatenate()([layers.UpSampling2D()(b), a]))
out = layers.Conv2D(1, 1, activation="sigmoid")(a)
model = keras.Model(inp, out)

model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=loss, metrics=[dice])
model.fit(X, Y, batch_size=8, epochs=12, validation_split=0.2, verbose=2)

# what I get on the frames that were not used
n = int(len(X) * 0.8)
found = model.predict(X[n:], verbose=0)[..., 0] > 0.5
true = np.load("bubbles/masks.npy")[mix[n:]]
print("dice", round(2 * (found & true).sum() / (found.sum() + true.sum() + 1e-9), 3), "painted", found.mean(), "should be", true.mean())
