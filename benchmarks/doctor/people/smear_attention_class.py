"""Cytoplasm and nuclei in cervical smears.

A nucleus lies inside of a cell, so a pixel can be both: two sigmoids instead of one softmax.
Attention U-Net with an auxiliary output at half resolution.
"""
import pathlib

import keras
import numpy as np
from keras import layers, ops
from PIL import Image


class SmearData:
    """Reads everything into memory."""

    def __init__(self, root="cervix", size=48, test_share=0.25, seed=8):
        self.root, self.size = pathlib.Path(root), size
        names = sorted(p.name for p in (self.root / "images").iterdir())
        np.random.default_rng(seed).shuffle(names)
        n_test = int(len(names) * test_share)
        self.test_names, self.train_names = names[:n_test], names[n_test:]

    def image(self, name):
        with Image.open(self.root / "images" / name) as im:
            im = im.resize((self.size, self.size), Image.BILINEAR)
            return np.asarray(im, dtype=np.float32) / 255

    def mask(self, kind, name):
        with Image.open(self.root / kind / name) as im:
            im = im.resize((self.size, self.size), Image.NEAREST)
            return np.asarray(im, dtype=np.float32) / 255

    def arrays(self, names):
        x = np.array([self.image(n) for n in names])
        cytoplasm = np.array([self.mask("cytoplasm", n) for n in names])
        nuclei = np.array([self.mask("nuclei", n) for n in names])
        return x, np.stack([cytoplasm, nuclei], axis=-1)


def augmented(x, y, rng):
    """Original, mirrored and a noisy copy of everything."""
    noisy = np.clip(x + rng.normal(0, 0.02, x.shape), 0, 1).astype("float32")
    return np.concatenate([x, x[:, ::-1], noisy]), np.concatenate([y, y[:, ::-1], y])


class AttentionUNet:
    def __init__(self, size, filters=(8, 16, 28), outputs=2):
        self.size, self.filters, self.outputs = size, filters, outputs

    def block(self, x, f):
        x = layers.Conv2D(f, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        return layers.Activation("relu")(x)

    def gate(self, skip, signal, f):
        """What the deeper level thinks is worth a look."""
        a = layers.Add()([layers.Conv2D(f, 1)(skip), layers.Conv2D(f, 1)(signal)])
        a = layers.Conv2D(1, 1, activation="sigmoid")(layers.Activation("relu")(a))
        return layers.Multiply()([skip, a])

    def build(self):
        inputs = keras.Input((self.size, self.size, 3))
        skips, x = [], inputs
        for f in self.filters[:-1]:
            x = self.block(self.block(x, f), f)
            skips.append(x)
            x = layers.MaxPool2D()(x)
        x = self.block(x, self.filters[-1])
        aux = layers.Conv2D(self.outputs, 1)(layers.UpSampling2D(2)(x))
        for f, skip in zip(self.filters[-2::-1], skips[::-1]):
            x = layers.UpSampling2D(2)(x)
            x = layers.Concatenate()([x, self.gate(skip, x, f)])
            x = self.block(x, f)
        main = layers.Conv2D(self.outputs, 1, activation="sigmoid", name="main")(x)
        aux = layers.Activation("sigmoid", name="aux")(aux)
        return keras.Model(inputs, {"main": main, "aux": aux})


def bce_and_dice(y_true, y_pred):
    bce = ops.mean(keras.losses.binary_crossentropy(y_true, y_pred))
    inter = ops.sum(y_true * y_pred, axis=(1, 2))
    dice = (2 * inter + 1) / (ops.sum(y_true, axis=(1, 2)) + ops.sum(y_pred, axis=(1, 2)) + 1)
    return bce + 0.5 * (1 - ops.mean(dice))


class SmearTrainer:
    epochs, batch_size, learning_rate = 11, 8, 6e-3

    def __init__(self):
        keras.utils.set_random_seed(0)
        self.data = SmearData()
        self.model = AttentionUNet(self.data.size).build()

    @staticmethod
    def targets(y):
        """The auxiliary output sees the masks at half the size."""
        return {"main": y, "aux": y[:, ::2, ::2]}

    def fit(self):
        x, y = self.data.arrays(self.data.train_names)
        x, y = augmented(x, y, np.random.default_rng(1))
        x_test, y_test = self.data.arrays(self.data.test_names)
        steps = self.epochs * len(x) // self.batch_size
        rate = keras.optimizers.schedules.CosineDecay(self.learning_rate, steps, alpha=0.01)
        self.model.compile(
            optimizer=keras.optimizers.Nadam(rate),
            loss={"main": bce_and_dice, "aux": bce_and_dice},
            loss_weights={"main": 1.0, "aux": 0.3},
            metrics={"main": [keras.metrics.BinaryIoU([1], threshold=0.5, name="iou")]},
        )
        self.model.fit(x, self.targets(y), validation_data=(x_test, self.targets(y_test)), epochs=self.epochs,
                       batch_size=self.batch_size, verbose=2)

    def score(self):
        x = np.array([self.data.image(n) for n in self.data.test_names])
        found = self.model.predict(x, verbose=0)["main"] > 0.5
        for k, kind in enumerate(["cytoplasm", "nuclei"]):
            truth = np.array([self.data.mask(kind, n) > 0 for n in self.data.test_names])
            both = (truth & found[..., k]).sum()
            print(f"{kind}: dice {2 * both / (truth.sum() + found[..., k].sum()):.3f}", end="  ")
        print()


if __name__ == "__main__":
    trainer = SmearTrainer()
    trainer.fit()
    trainer.score()
