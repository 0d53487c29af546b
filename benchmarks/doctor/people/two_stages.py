"""Encoder first frozen, then everything at a smaller rate."""
import json
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image

HERE = Path("isic")
rng = np.random.default_rng(5)


def arrays(size=64):
    x, y = [], []
    for file in sorted(HERE.glob("images/*.jpg")):
        x.append(np.asarray(Image.open(file).resize((size, size)), "float32"))
        y.append(np.asarray(Image.open(HERE / "masks" / f"{file.stem}_segmentation.png").resize((size, size), 0)) // 255)
    return np.stack(x), np.stack(y)[..., None].astype("float32")


x, y = arrays()
order = rng.permutation(len(x))
x, y = x[order], y[order]
train, held_out = slice(0, 56), slice(56, None)

encoder = keras.applications.MobileNetV2(input_shape=(64, 64, 3), include_top=False, weights=None, alpha=0.35)
for layer in encoder.layers:
    if isinstance(layer, layers.BatchNormalization):
        layer.momentum = 0.9  # 0.999 is for ImageNet
taps = [encoder.get_layer(n).output for n in ("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu")]
encoder = keras.Model(encoder.input, taps, name="encoder")
inputs = keras.Input((64, 64, 3))
a, b, c = encoder(layers.Rescaling(1 / 127.5, offset=-1)(inputs))
z = layers.Conv2D(64, 3, padding="same", activation="relu")(c)
for skip, filters in ((b, 48), (a, 32)):
    z = layers.Concatenate()([layers.UpSampling2D()(z), skip])
    z = layers.Conv2D(filters, 3, padding="same", use_bias=False)(z)
    z = layers.ReLU()(layers.BatchNormalization()(z))
z = layers.UpSampling2D(interpolation="bilinear")(z)
outputs = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(z)
model = keras.Model(inputs, outputs)

loss = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=False, gamma=1.0)
model.compile(keras.optimizers.Adam(1e-3), loss, metrics=[keras.metrics.BinaryIoU([1])])
log = model.fit(x[train], y[train], batch_size=8, epochs=40, validation_data=(x[held_out], y[held_out]))
Path("log.json").write_text(json.dumps({k: [float(v) for v in vs] for k, vs in log.history.items()}))
