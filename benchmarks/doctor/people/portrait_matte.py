"""Portrait matting on the cheap: a small separable U-Net predicts the alpha channel of a cut-out.

Two stages: decoder warm-up without augmentation, then everything with augmentation and a lower rate.
"""
from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from PIL import Image


@dataclasses.dataclass
class Settings:
    folder: Path = Path("portraits/raw")
    size: tuple[int, int] = (80, 64)
    batch: int = 8
    warm_epochs: int = 4
    epochs: int = 20
    rate: float = 2e-3
    fine_rate: float = 7e-4
    width: int = 16
    edge_weight: float = 2.0
    variation: float = 1e-3
    policy: str = "mixed_bfloat16"
    seed: int = 13


S = Settings()
keras.utils.set_random_seed(S.seed)
keras.mixed_precision.set_global_policy(S.policy)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rgba = np.asarray(Image.open(path).convert("RGBA"), dtype="float32")
    return rgba[..., :3], rgba[..., 3:] / 255.0


def jitter(rgb: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if random.random() < 0.5:
        rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
    dx = random.randint(-6, 6)
    rgb, alpha = np.roll(rgb, dx, axis=1), np.roll(alpha, dx, axis=1)
    rgb = np.clip(rgb * random.uniform(0.85, 1.15) + random.uniform(-12, 12), 0, 255)
    return rgb, alpha


class Portraits(keras.utils.PyDataset):
    def __init__(self, files: list[Path], augment: bool, **kwargs) -> None:
        super().__init__(**kwargs)
        self.pairs = [read(file) for file in files]
        self.augment = augment
        self.order = list(range(len(files)))

    def __len__(self) -> int:
        return len(self.order) // S.batch

    def __getitem__(self, index: int):
        chosen = [self.pairs[i] for i in self.order[index * S.batch:(index + 1) * S.batch]]
        if self.augment:
            chosen = [jitter(*pair) for pair in chosen]
        rgb = np.stack([pair[0] for pair in chosen])
        alpha = np.stack([pair[1] for pair in chosen])
        soft = 4.0 * alpha * (1.0 - alpha)  # 1 where the outline is half transparent
        return rgb, alpha, 1.0 + S.edge_weight * soft

    def on_epoch_end(self) -> None:
        if self.augment:
            random.shuffle(self.order)


class Block(layers.Layer):
    """Two separable convolutions, each normalised over its channels."""

    def __init__(self, width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.convs = [layers.SeparableConv2D(width, 3, padding="same") for _ in range(2)]
        self.norms = [layers.LayerNormalization() for _ in range(2)]

    def call(self, x):
        for conv, norm in zip(self.convs, self.norms):
            x = ops.silu(norm(conv(x)))
        return x


class MatteNet(keras.Model):
    def __init__(self, width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.scale = layers.Rescaling(1 / 255)
        self.stem = layers.Conv2D(width, 3, padding="same", activation="silu")
        self.down = [Block(width * 2 ** k, name=f"down_{k}") for k in range(3)]
        self.middle = Block(width * 8, name="middle")
        self.up = [Block(width * 2 ** k, name=f"up_{k}") for k in (2, 1, 0)]
        self.pool = layers.AveragePooling2D(2)
        self.grow = layers.UpSampling2D(interpolation="bilinear")
        self.head = layers.Conv2D(1, 3, padding="same", dtype="float32")
        self.squash = layers.Activation("sigmoid", dtype="float32")

    def call(self, x, training=False):
        x = self.stem(self.scale(x))
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.middle(x)
        for block, skip in zip(self.up, reversed(skips)):
            x = block(ops.concatenate([self.grow(x), skip], axis=-1))
        alpha = self.squash(self.head(x))
        if training:
            self.add_loss(S.variation * ops.mean(ops.abs(alpha[:, 1:] - alpha[:, :-1])))
        return alpha


class MatteIoU(keras.metrics.Metric):
    def __init__(self, name: str = "iou") -> None:
        super().__init__(name=name, dtype="float32")
        self.both = self.add_weight(name="both", initializer="zeros")
        self.either = self.add_weight(name="either", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        t, p = ops.cast(y_true > 0.5, "float32"), ops.cast(y_pred > 0.5, "float32")
        self.both.assign_add(ops.sum(t * p))
        self.either.assign_add(ops.sum(ops.maximum(t, p)))

    def result(self):
        return self.both / ops.maximum(self.either, 1.0)


files = sorted(S.folder.glob("*.png"))
random.shuffle(files)
train_files, val_files = files[16:], files[:16]
val = Portraits(val_files, augment=False)

net = MatteNet(S.width)
net.compile(keras.optimizers.Adam(S.rate), keras.losses.BinaryCrossentropy(), metrics=[MatteIoU(), "mae"])
net.fit(Portraits(train_files, augment=False), validation_data=val, epochs=S.warm_epochs)

net.compile(keras.optimizers.Adam(S.fine_rate), keras.losses.BinaryCrossentropy(), metrics=[MatteIoU(), "mae"])
net.fit(Portraits(train_files, augment=True), validation_data=val, epochs=S.epochs, initial_epoch=S.warm_epochs)
