"""Pollen counting, step 1: which pixel is grass, which is pine.

The encoder was trained by a colleague (pollen/encoder.weights.h5, inputs from -1 to 1). It stays frozen while the decoder
learns, then everything is tuned with a small rate.
"""
import numpy as np
import tifffile
import keras
from keras import layers, ops
from pathlib import Path

keras.utils.set_random_seed(99)
ROOT = Path("pollen")
CLASSES = 3          # ground, grass, pine
BATCH = 8
DECODER_EPOCHS = 8
TUNING_EPOCHS = 3

files = sorted(ROOT.glob("slides/*.tif"))
slides = np.stack([tifffile.imread(f) for f in files]).astype("float32")
masks = np.stack([tifffile.imread(ROOT / "masks" / f.name) for f in files])


def preprocess(x):
    return x / 127.5 - 1.0


def encode(mask):
    """0, 128, 255 in the files -> 0, 1, 2"""
    ids = np.zeros(mask.shape, "int32")
    ids[mask == 128] = 1
    ids[mask == 255] = 2
    return ids


x, y = preprocess(slides), encode(masks)
x_train, y_train = x[18:], y[18:]
x_val, y_val = x[:18], y[:18]
print("training", x_train.shape, "classes", np.unique(y_train, return_counts=True))


def generator(x, y, batch):
    while True:
        order = np.random.permutation(len(x))
        for start in range(0, len(order) - batch + 1, batch):
            some = order[start:start + batch]
            bx, by = x[some], y[some]
            if np.random.rand() < 0.5:
                bx, by = bx[:, ::-1], by[:, ::-1]
            if np.random.rand() < 0.5:
                bx, by = bx[:, :, ::-1], by[:, :, ::-1]
            yield bx, by


def build_encoder():
    inputs = keras.Input((96, 96, 3))
    h, maps = inputs, []
    for k, (filters, strides) in enumerate([(16, 1), (24, 2), (32, 2)]):
        h = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False, name=f"enc_conv{k}")(h)
        h = layers.BatchNormalization(name=f"enc_bn{k}")(h)
        h = layers.ReLU(name=f"enc_relu{k}")(h)
        maps.append(h)
    return keras.Model(inputs, maps, name="encoder")


encoder = build_encoder()
encoder.load_weights(ROOT / "encoder.weights.h5")
encoder.trainable = False

inputs = keras.Input((96, 96, 3))
low, mid, high = encoder(inputs)
h = layers.Conv2D(48, 3, strides=2, padding="same", activation="relu", name="dec_bottom")(high)
h = layers.Conv2D(48, 3, padding="same", activation="relu", name="dec_bottom2")(h)
for k, skip in enumerate((high, mid, low)):
    h = layers.Conv2DTranspose(32, 2, strides=2, activation="relu", name=f"dec_up{k}")(h)
    h = layers.Concatenate(name=f"dec_cat{k}")([h, skip])
    h = layers.Conv2D(24, 3, padding="same", activation="relu", name=f"dec_conv{k}")(h)
outputs = layers.Conv2D(CLASSES, 1, activation="softmax", name="pollen")(h)
model = keras.Model(inputs, outputs)


def dice_of_pollen(y_true, y_pred):
    t = ops.one_hot(ops.cast(y_true, "int32"), CLASSES)[..., 1:]
    p = ops.cast(y_pred, "float32")[..., 1:]
    hit = ops.sum(t * p, axis=(0, 1, 2))
    size = ops.sum(t, axis=(0, 1, 2)) + ops.sum(p, axis=(0, 1, 2))
    return ops.mean((2 * hit + 1) / (size + 1))


def loss(y_true, y_pred):
    ce = ops.mean(keras.losses.sparse_categorical_crossentropy(y_true, y_pred))
    return ce + 1 - dice_of_pollen(y_true, y_pred)


steps = len(x_train) // BATCH
print("decoder only:", sum(int(np.prod(w.shape)) for w in model.trainable_weights), "weights")
model.compile(optimizer=keras.optimizers.Adam(2e-3), loss=loss, metrics=[dice_of_pollen])
model.fit(generator(x_train, y_train, BATCH), steps_per_epoch=steps, epochs=DECODER_EPOCHS,
          validation_data=(x_val, y_val), verbose=2)

encoder.trainable = True
for layer in encoder.layers:
    if isinstance(layer, layers.BatchNormalization):
        layer.trainable = False
model.compile(optimizer=keras.optimizers.Adam(1e-4), loss=loss, metrics=[dice_of_pollen])
model.fit(generator(x_train, y_train, BATCH), steps_per_epoch=steps, epochs=TUNING_EPOCHS,
          validation_data=(x_val, y_val), verbose=2)

found = model.predict(x_val, verbose=0).argmax(-1)
for k, (name, grey) in enumerate([("grass", 128), ("pine", 255)], start=1):
    a, b = found == k, masks[:18] == grey
    print(name, "dice", round(2 * (a & b).sum() / (a.sum() + b.sum() + 1e-9), 3))
