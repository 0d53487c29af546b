"""Four-class cardiac slices with a U-Net: "cross-entropy stays at 1.3 and the predicted mask is blank".

python cardiac_unet.py             as first asked: sparse loss, one-hot masks
python cardiac_unet.py half-way    after the answer: from_logits=True, with the soft-max kept
python cardiac_unet.py ids         class ids, soft-max: only the optimiser is left
"""

import sys

import keras
import numpy as np
from keras.layers import Concatenate, Conv2D, Input, MaxPooling2D, UpSampling2D

stage = sys.argv[1] if len(sys.argv) > 1 else "asked"
N, S = 48, 64

# ---- slices: right chamber, wall, left chamber
rng = np.random.RandomState(7)
X = np.empty((N, S, S, 1), np.float32)
Y = np.zeros((N, S, S), np.int32)
r, c = np.ogrid[:S, :S]
for i in range(N):
    cy, cx = rng.randint(24, 40, 2)
    d = np.sqrt((r - cy) ** 2 + (c - cx) ** 2)
    Y[i][np.sqrt(((r - cy) / 1.3) ** 2 + (c - cx + 13) ** 2) < 6] = 1
    Y[i][d < 9] = 2
    Y[i][d < 5.5] = 3
    light = np.array([0.25, 0.65, 0.15, 0.75])[Y[i]]
    X[i, ..., 0] = light + 0.1 * np.sin(r / 9 + rng.rand() * 6) + 0.05 * rng.randn(S, S)
X = (X - X.min()) / (X.max() - X.min())


def double(x, f):
    x = Conv2D(f, 3, activation="relu", padding="same", kernel_initializer="he_normal")(x)
    return Conv2D(f, 3, activation="relu", padding="same", kernel_initializer="he_normal")(x)


inputs = Input((S, S, 1))
c1 = double(inputs, 16)
c2 = double(MaxPooling2D()(c1), 32)
c3 = double(MaxPooling2D()(c2), 64)
c4 = double(MaxPooling2D()(c3), 128)
c5 = double(MaxPooling2D()(c4), 256)
c6 = double(Concatenate()([Conv2D(128, 2, padding="same", activation="relu")(UpSampling2D()(c5)), c4]), 128)
c7 = double(Concatenate()([Conv2D(64, 2, padding="same", activation="relu")(UpSampling2D()(c6)), c3]), 64)
c8 = double(Concatenate()([Conv2D(32, 2, padding="same", activation="relu")(UpSampling2D()(c7)), c2]), 32)
c9 = double(Concatenate()([Conv2D(16, 2, padding="same", activation="relu")(UpSampling2D()(c8)), c1]), 16)
outputs = Conv2D(4, 1, activation="softmax")(c9)
model = keras.Model(inputs, outputs)

half_way = stage == "half-way"
masks = keras.utils.to_categorical(Y, 4) if stage == "asked" else Y
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=1e-4, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=half_way),
    metrics=["accuracy"],
)
model.fit(X, masks, batch_size=8, epochs=20, validation_split=0.2)
