import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from PIL import Image

SIZE = 80
ORGANS = ["lungs", "heart", "clavicles"]  # organs overlap: one sigmoid each


class JSRT:
    def __init__(self, root="chest"):
        self.root = Path(root)

    def names(self, fold: str) -> list[str]:
        return (self.root / f"{fold}.txt").read_text().split()

    def radiograph(self, name: str) -> np.ndarray:
        raw = np.fromfile(self.root / "img" / f"{name}.IMG", dtype=">u2")
        return raw.reshape((SIZE, SIZE)).astype("float32") / 4095

    def organ(self, name: str, organ: str) -> np.ndarray:
        path = self.root / "masks" / organ / f"{name}.png"
        if not path.exists():
            return np.zeros((SIZE, SIZE), "float32")
        return (np.asarray(Image.open(path)) > 127).astype("float32")

    def arrays(self, fold: str):
        names = self.names(fold)
        x = np.stack([self.radiograph(n) for n in names])[..., None]
        y = np.stack([np.stack([self.organ(n, o) for o in ORGANS], axis=-1) for n in names])
        return x, y


class SoftJaccard(keras.losses.Loss):
    """1 - soft Jaccard index per organ over the whole batch, and cross-entropy to get it going."""

    def __init__(self, smooth=1.0, **kw):
        super().__init__(**kw)
        self.smooth = smooth

    def call(self, y_true, y_pred):
        axes = (0, 1, 2)
        both = keras.ops.sum(y_true * y_pred, axis=axes)
        either = keras.ops.sum(y_true + y_pred - y_true * y_pred, axis=axes)
        jaccard = (both + self.smooth) / (either + self.smooth)
        entropy = keras.ops.mean(keras.ops.binary_crossentropy(y_true, y_pred), axis=axes)
        return 1 - jaccard + 2 * entropy


class OrganDice(keras.metrics.Metric):
    def __init__(self, index, **kw):
        super().__init__(name="dice_" + ORGANS[index], **kw)
        self.index = index
        self.hits = self.add_weight(name="hits", initializer="zeros")
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        t = y_true[..., self.index]
        p = keras.ops.cast(y_pred[..., self.index] >= 0.5, "float32")
        self.hits.assign_add(keras.ops.sum(t * p))
        self.total.assign_add(keras.ops.sum(t) + keras.ops.sum(p))

    def result(self):
        return 2 * self.hits / (self.total + 1e-7)


class ConvBlock(keras.layers.Layer):
    def __init__(self, filters, **kw):
        super().__init__(**kw)
        self.conv1 = keras.layers.Conv2D(filters, 3, padding="same")
        self.norm1 = keras.layers.GroupNormalization(4)
        self.conv2 = keras.layers.Conv2D(filters, 3, padding="same")
        self.norm2 = keras.layers.GroupNormalization(4)

    def call(self, x):
        x = keras.activations.relu(self.norm1(self.conv1(x)))
        return keras.activations.relu(self.norm2(self.conv2(x)))


class ChestNet(keras.Model):
    def __init__(self, width=12, **kw):
        super().__init__(**kw)
        self.down = [ConvBlock(width * 2 ** i) for i in range(3)]
        self.middle = ConvBlock(width * 8)
        self.up = [ConvBlock(width * 2 ** i) for i in reversed(range(3))]
        self.pool = keras.layers.MaxPooling2D()
        self.grow = keras.layers.UpSampling2D(interpolation="bilinear")
        self.scale = keras.layers.Rescaling(4.0, offset=-2.0)
        self.head = keras.layers.Conv2D(len(ORGANS), 1, activation="sigmoid")

    def call(self, x):
        x = self.scale(x)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.middle(x)
        for block, skip in zip(self.up, reversed(skips)):
            x = block(keras.ops.concatenate([self.grow(x), skip], axis=-1))
        return self.head(x)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    jsrt = JSRT()
    x_train, y_train = jsrt.arrays("fold1")
    x_test, y_test = jsrt.arrays("fold2")
    net = ChestNet()
    net.compile(optimizer=keras.optimizers.Nadam(2e-3), loss=SoftJaccard(),
                metrics=[OrganDice(i) for i in range(len(ORGANS))])
    net.fit(x_train, y_train, batch_size=5, epochs=20, validation_data=(x_test, y_test), verbose=2)
