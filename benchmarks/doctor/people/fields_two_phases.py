# Crop mapping from 5-band tiles (B, G, R, red edge, NIR).
# There is no ImageNet for five bands: the encoder is first trained to name the commonest crop of single-crop patches,
# then kept frozen while the decoder learns (phase 1), then everything learns slowly (phase 2).
import keras
import numpy as np
from keras import layers
from keras.callbacks import EarlyStopping, ModelCheckpoint

BANDS = ["blue", "green", "red", "red_edge", "nir"]
CROPS = ["soil", "wheat", "rape", "maize", "water"]
PALETTE = np.array([[120, 90, 60], [240, 220, 110], [250, 250, 0], [60, 160, 60], [40, 80, 200]], np.uint8)
# reflectance x 10000, one row per crop
SPECTRA = np.array([[900, 1300, 1800, 2200, 2600], [500, 1000, 900, 2300, 3900], [700, 1900, 1700, 2900, 4600],
                    [400, 800, 600, 1800, 4300], [700, 600, 400, 300, 200]], np.float32)
MEAN, STD = SPECTRA.mean(0), SPECTRA.std(0) + 200
T = 64
keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)


def tile():
    """16-bit tile and its map as an RGB picture, the way the survey office sends it."""
    yy, xx = np.mgrid[:T, :T]
    seeds = rng.uniform(0, T, (9, 2))
    crop = rng.choice([0, 1, 2, 3], 9, p=[0.3, 0.35, 0.15, 0.2])
    nearest = np.argmin((yy[..., None] - seeds[:, 0]) ** 2 + (xx[..., None] - seeds[:, 1]) ** 2, -1)
    ids = crop[nearest]
    if rng.random() < 0.5:
        ids[np.abs(yy - rng.uniform(10, 54) - 6 * np.sin(xx / 9)) < 3] = 4
    light = rng.uniform(0.85, 1.15)
    rows = 1 + 0.06 * np.sin(xx * rng.uniform(0.6, 1.6))[..., None] * (ids[..., None] == 3)
    refl = SPECTRA[ids] * light * rows + rng.normal(0, 220, (T, T, 5)) + 150 * rng.normal(size=(9, 5))[nearest]
    return refl.clip(1, 10000).astype(np.uint16), PALETTE[ids]


def normalise(refl):
    return (refl.astype(np.float32) - MEAN) / STD


def decode_map(rgb):
    ids = np.zeros(rgb.shape[:-1], np.int64)
    for k, colour in enumerate(PALETTE):
        ids[np.all(rgb == colour, axis=-1)] = k
    return ids


def encoder_model():
    inp = keras.Input((None, None, len(BANDS)), name="bands")
    x, outs = inp, []
    for i, f in enumerate((16, 24, 32)):
        x = layers.SeparableConv2D(f, 3, strides=1 if i == 0 else 2, padding="same", use_bias=False, name=f"sep{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"bn{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        outs.append(x)
    return keras.Model(inp, outs, name="encoder")


def pretrain(encoder, refl):
    """Crop of 16 x 16 patches without anything else in them."""
    k = rng.integers(0, len(CROPS), 500)
    patches = (SPECTRA[k][:, None, None] * rng.uniform(0.85, 1.15, (500, 1, 1, 1)) + rng.normal(0, 250, (500, 16, 16, 5)))
    pool = layers.GlobalAveragePooling2D()(encoder.outputs[-1])
    clf = keras.Model(encoder.input, layers.Dense(len(CROPS), activation="softmax")(pool))
    clf.compile("adam", "sparse_categorical_crossentropy")
    for _ in range(100):
        pick = rng.choice(500, 25, replace=False)
        clf.train_on_batch(normalise(patches[pick]), k[pick])
    encoder.save("encoder5.keras")


refl, rgb = (np.stack(a) for a in zip(*[tile() for _ in range(110)]))
pretrain(encoder_model(), refl)
ids = decode_map(rgb)
X = normalise(refl)
Y = keras.utils.to_categorical(ids, len(CROPS))
X_tr, X_va, Y_tr, Y_va = X[:84], X[84:], Y[:84], Y[84:]

share = ids[:84].reshape(-1)
freq = np.bincount(share, minlength=len(CROPS)) / share.size
class_weight = np.clip(np.median(freq) / np.maximum(freq, 1e-6), 0.3, 5.0)
W_tr = class_weight[Y_tr.argmax(-1)].astype(np.float32)

encoder = keras.models.load_model("encoder5.keras")
encoder.trainable = False
s0, s1, s2 = encoder.outputs
y = layers.Conv2D(48, 3, padding="same", activation="relu", name="bottom")(s2)
y = layers.Conv2DTranspose(32, 2, strides=2, name="up1")(y)
y = layers.Conv2D(32, 3, padding="same", activation="relu", name="dec1")(layers.Concatenate()([y, s1]))
y = layers.Conv2DTranspose(16, 2, strides=2, name="up0")(y)
y = layers.Conv2D(16, 3, padding="same", activation="relu", name="dec0")(layers.Concatenate()([y, s0]))
y = layers.Conv2D(len(CROPS), 1, activation="softmax", name="crop")(y)
model = keras.Model(encoder.input, y)

loss = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=1.5)
metrics = [keras.metrics.OneHotMeanIoU(len(CROPS), sparse_y_pred=False, name="miou")]
stop = EarlyStopping("val_miou", mode="max", patience=4, restore_best_weights=True)
keep = ModelCheckpoint("fields.keras", "val_miou", mode="max", save_best_only=True)

# phase 1
model.compile(keras.optimizers.Adam(2e-3), loss, metrics=metrics, weighted_metrics=[])
model.fit(X_tr, Y_tr, sample_weight=W_tr, validation_data=(X_va, Y_va), batch_size=6, epochs=6, callbacks=[stop, keep], verbose=2)

# phase 2
encoder.trainable = True
for layer in encoder.layers:
    if isinstance(layer, layers.BatchNormalization):
        layer.trainable = False
model.compile(keras.optimizers.Adam(2e-4), loss, metrics=metrics, weighted_metrics=[])
model.fit(X_tr, Y_tr, sample_weight=W_tr, validation_data=(X_va, Y_va), batch_size=6, epochs=3, callbacks=[stop, keep], verbose=2)
