r"""Segment and separate rod-shaped bacteria.

U-Net with two outputs, after DISTNET / "dual U-Net" ideas:
  cells      is the pixel inside a cell? (sigmoid)
  distance   how far from the border of its own cell, 0 .. 1 (linear)
The two are joined by a seeded watershed, see `instances`.
"""
import glob
import sys

import keras
import numpy as np
import tifffile
from keras import layers, ops
from scipy import ndimage as ndi

FOLDER = sys.argv[1] if len(sys.argv) > 1 else "bacteria"
VALIDATION_FILMS = 3
BATCH_SIZE = 8
EPOCHS = 8
WEIGHT_DISTANCE = 4.0
EDGE_WEIGHT = 4.0
keras.utils.set_random_seed(123)


def percentile_norm(frame):
    low, high = np.percentile(frame, (1, 99))
    return ((frame - low) / (high - low)).astype("float32")


def distance_within(cells):
    """Distance to the border, each cell for itself, 1 in its middle."""
    out = np.zeros(cells.shape, "float32")
    for number in np.unique(cells[cells > 0]):
        inside = np.pad(cells == number, 1)
        depth = ndi.distance_transform_edt(inside)[1:-1, 1:-1]
        out[cells == number] = (depth / depth.max())[cells == number]
    return out


def gap_weight(cells):
    """Heavier where two cells are close to each other (U-Net paper, simplified)."""
    grown = ndi.grey_dilation(cells, 5)
    shrunk = -ndi.grey_dilation(-np.where(cells == 0, 9999, cells).astype("int32"), 5)
    near_two = (grown != shrunk) & (shrunk < 9999) & (cells == 0)
    return 1 + EDGE_WEIGHT * near_two.astype("float32")


def load_film(path):
    frames = tifffile.imread(path)
    labels = tifffile.imread(path.replace(".tif", "_cells.tif"))
    x = np.stack([percentile_norm(f) for f in frames])[..., None]
    cells = (labels > 0).astype("float32")[..., None]
    distance = np.stack([distance_within(l) for l in labels])[..., None]
    weight = np.stack([gap_weight(l) for l in labels])[..., None]
    return x, np.concatenate([cells, weight], -1), distance, labels


def load_all(paths):
    parts = list(zip(*map(load_film, paths)))
    return [np.concatenate(p) for p in parts]


def eightfold(*arrays):
    """All rotations and mirrors, as further samples."""
    out = []
    for a in arrays:
        turned = [np.rot90(a, k, (1, 2)) for k in range(4)]
        out.append(np.concatenate(turned + [t[:, :, ::-1] for t in turned]))
    return out


films = [p for p in sorted(glob.glob(FOLDER + "/film*.tif")) if "_cells" not in p]
x_train, cells_train, distance_train, _ = load_all(films[:-VALIDATION_FILMS])
x_val, cells_val, distance_val, labels_val = load_all(films[-VALIDATION_FILMS:])
x_train, cells_train, distance_train = eightfold(x_train, cells_train, distance_train)
pick = np.random.permutation(len(x_train))[:96]  # enough per epoch
x_train, cells_train, distance_train = x_train[pick], cells_train[pick], distance_train[pick]
print("frames", len(x_train), len(x_val), "in cells %.2f" % cells_train[..., 0].mean())


def unit(x, n):
    x = layers.SeparableConv2D(n, 3, padding="same")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.LeakyReLU(negative_slope=0.1)(x)
    x = layers.Conv2D(n, 3, padding="same", kernel_initializer="he_uniform")(x)
    return layers.LeakyReLU(negative_slope=0.1)(x)


inputs = layers.Input((None, None, 1))
d1 = unit(inputs, 16)
d2 = unit(layers.AveragePooling2D(2)(d1), 32)
d3 = unit(layers.AveragePooling2D(2)(d2), 48)
u2 = unit(layers.concatenate([layers.UpSampling2D(interpolation="bilinear")(d3), d2]), 32)
u1 = unit(layers.concatenate([layers.UpSampling2D(interpolation="bilinear")(u2), d1]), 16)
cells = layers.Conv2D(1, 1, activation="sigmoid", name="cells")(u1)
distance = layers.Conv2D(1, 1, name="distance")(layers.Conv2D(16, 3, padding="same", activation="relu")(u1))
model = keras.Model(inputs, {"cells": cells, "distance": distance})


def weighted_bce(y_true, y_pred):
    target, weight = y_true[..., :1], y_true[..., 1:]
    p = ops.clip(y_pred, 1e-6, 1 - 1e-6)
    return ops.mean(-weight * (target * ops.log(p) + (1 - target) * ops.log(1 - p)))


def foreground_iou(y_true, y_pred):
    t, p = y_true[..., :1], ops.cast(y_pred > 0.5, "float32")
    return ops.sum(t * p) / (ops.sum(ops.maximum(t, p)) + 1e-6)


optimizer = keras.optimizers.Adam(learning_rate=2e-3)
model.compile(
    optimizer,
    loss={"cells": weighted_bce, "distance": "mae"},
    loss_weights={"cells": 1.0, "distance": WEIGHT_DISTANCE},
    metrics={"cells": foreground_iou},
)
model.fit(
    x_train,
    {"cells": cells_train, "distance": distance_train},
    validation_data=(x_val, {"cells": cells_val, "distance": distance_val}),
    batch_size=BATCH_SIZE,
    epochs=EPOCHS,
    callbacks=[keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.3, patience=4)],
    verbose=2,
)


def instances(p, d):
    """Seeds where the distance is large, grown over the foreground."""
    foreground = p > 0.5
    seeds, n = ndi.label((d > 0.6) & foreground)
    height = np.clip(255 * (1 - d), 0, 255).astype("uint8")
    markers = np.where(foreground, seeds, n + 1).astype("int32")
    return ndi.watershed_ift(height, markers) * foreground, n


out = model.predict(x_val, verbose=0, batch_size=BATCH_SIZE)
found = [instances(p, d)[1] for p, d in zip(out["cells"][..., 0], out["distance"][..., 0])]
real = [len(np.unique(l)) - 1 for l in labels_val]
guess, truth = out["cells"][..., 0] > 0.5, labels_val > 0
print("cells found per frame %.1f, real %.1f" % (np.mean(found), np.mean(real)))
print("foreground Dice %.3f" % (2 * (guess & truth).sum() / (guess.sum() + truth.sum())))
model.save("bacteria.keras")
