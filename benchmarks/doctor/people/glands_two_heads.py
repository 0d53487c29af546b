"""Glands in histology: one network, two maps (the gland and its contour), so that touching glands come apart."""
from glob import glob
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
from PIL import Image
from scipy import ndimage

import keras
from keras import layers, regularizers

DATA = Path("glands")
PATCH = 64
BATCH = 5
EPOCHS = 8
WEIGHT_DECAY = 1e-5


def read_pair(path: str) -> Tuple[np.ndarray, np.ndarray]:
    image = np.array(Image.open(path))
    anno = np.array(Image.open(path.replace(".bmp", "_anno.bmp")))
    return image, anno


def stain_normalise(image: np.ndarray) -> np.ndarray:
    """Every picture gets the same mean and spread in optical density."""
    density = -np.log((image.astype("float32") + 1.0) / 256.0)
    return (density - density.mean((0, 1))) / (density.std((0, 1)) + 1e-6)


def contour_of(anno: np.ndarray) -> np.ndarray:
    edge = ndimage.maximum_filter(anno, 3) != ndimage.minimum_filter(anno, 3)
    return edge.astype("float32")


def load(pattern: str):
    xs: List[np.ndarray] = []
    ys: Dict[str, List[np.ndarray]] = {"gland": [], "contour": []}
    for path in sorted(p for p in glob(str(DATA / pattern)) if not p.endswith("_anno.bmp")):
        image, anno = read_pair(path)
        xs.append(stain_normalise(image))
        ys["gland"].append((anno > 0).astype("float32")[..., None])
        ys["contour"].append(contour_of(anno)[..., None])
    return np.stack(xs), {k: np.stack(v) for k, v in ys.items()}


class Down(layers.Layer):
    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        reg = regularizers.L2(WEIGHT_DECAY)
        self.a = layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_regularizer=reg)
        self.b = layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_regularizer=reg)
        self.norm = layers.BatchNormalization(momentum=0.9)
        self.pool = layers.MaxPooling2D()

    def call(self, x, training=None):
        x = self.norm(self.b(self.a(x)), training=training)
        return x, self.pool(x)


class Branch(layers.Layer):
    """Decoder of one task."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.ups = [layers.Conv2DTranspose(f, 2, strides=2, activation="relu") for f in filters]
        self.convs = [layers.Conv2D(f, 3, padding="same", activation="relu") for f in filters]
        self.head = layers.Conv2D(1, 1, activation="sigmoid")

    def call(self, x, skips):
        for up, conv, skip in zip(self.ups, self.convs, skips):
            x = conv(keras.ops.concatenate([up(x), skip], axis=-1))
        return self.head(x)


class TwoHeads(keras.Model):
    def __init__(self, base=12, **kwargs):
        super().__init__(**kwargs)
        self.augment = keras.Sequential([layers.RandomContrast(0.2, value_range=(-10.0, 10.0)), layers.GaussianNoise(0.05)])
        self.downs = [Down(base * 2 ** i) for i in range(3)]
        self.bottom = layers.Conv2D(base * 6, 3, padding="same", activation="relu")
        self.drop = layers.Dropout(0.25)
        self.gland = Branch([base * 4, base * 2, base])
        self.contour = Branch([base * 4, base * 2, base])

    def call(self, x, training=None):
        x = self.augment(x, training=training)
        skips = []
        for down in self.downs:
            skip, x = down(x, training=training)
            skips.insert(0, skip)
        x = self.drop(self.bottom(x), training=training)
        return {"gland": self.gland(x, skips), "contour": self.contour(x, skips)}


def balanced_bce(positive: float):
    def loss(y_true, y_pred):
        p = keras.ops.clip(y_pred, 1e-6, 1 - 1e-6)
        cost = -(positive * y_true * keras.ops.log(p) + (1 - y_true) * keras.ops.log(1 - p))
        return keras.ops.mean(cost, axis=(1, 2, 3))
    return loss


def main() -> None:
    keras.utils.set_random_seed(99)
    x_train, y_train = load("train_*.bmp")
    x_test, y_test = load("testA_*.bmp")
    # four mirrored copies
    x_train = np.concatenate([x_train, x_train[:, ::-1], x_train[:, :, ::-1], x_train[:, ::-1, ::-1]])
    y_train = {k: np.concatenate([y, y[:, ::-1], y[:, :, ::-1], y[:, ::-1, ::-1]]) for k, y in y_train.items()}
    steps = len(x_train) // BATCH

    net = TwoHeads()
    net.compile(
        optimizer=keras.optimizers.SGD(
            keras.optimizers.schedules.ExponentialDecay(0.05, decay_steps=steps, decay_rate=0.8),
            momentum=0.9, nesterov=True),
        loss={"gland": balanced_bce(1.0), "contour": balanced_bce(5.0)},
        loss_weights={"gland": 1.0, "contour": 0.5},
        metrics={"gland": keras.metrics.BinaryIoU([1], threshold=0.5, name="iou")},
    )
    net.fit(x_train, y_train, validation_data=(x_test, y_test), batch_size=BATCH, epochs=EPOCHS, verbose=2)

    maps = net.predict(x_test, verbose=0)
    inside = (maps["gland"] > 0.5) & (maps["contour"] < 0.5)
    counts = [ndimage.label(m[..., 0])[1] for m in inside]
    true = [ndimage.label((g - c)[..., 0] > 0)[1] for g, c in zip(y_test["gland"], y_test["contour"])]
    print("glands found", counts, "of", true)
    net.save_weights("two_heads.weights.h5")


if __name__ == "__main__":
    main()
