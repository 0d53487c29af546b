from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers, ops


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser()
    p.add_argument("--data", type=Path, default=Path("heart"))
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--epochs", type=int, default=60)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--wd", type=float, default=1e-4)
    return p.parse_args()


def load(files: list[Path], size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    xs, ys = [], []
    for f in files:
        with h5py.File(f) as h:
            vol, lab = h["image"][:].astype(np.float32), h["label"][:]
        vol = (vol - vol.mean()) / (vol.std() + 1e-6)
        for s, m in zip(vol, lab):
            xs.append(s[:size, :size])
            ys.append(m[:size, :size])
    return np.stack(xs)[..., None], np.stack(ys).astype("int32")


class ResBlock(layers.Layer):
    def __init__(self, ch: int, **kw):
        super().__init__(**kw)
        self.ch = ch
        self.c1 = layers.Conv2D(ch, 3, padding="same", use_bias=False)
        self.n1 = layers.GroupNormalization(8)
        self.c2 = layers.Conv2D(ch, 3, padding="same", use_bias=False)
        self.n2 = layers.GroupNormalization(8)
        self.proj = layers.Conv2D(ch, 1, use_bias=False)

    def build(self, input_shape):
        mid = (*input_shape[:-1], self.ch)
        self.c1.build(input_shape)
        self.n1.build(mid)
        self.c2.build(mid)
        self.n2.build(mid)
        self.proj.build(input_shape)

    def call(self, x):
        y = ops.silu(self.n1(self.c1(x)))
        return ops.silu(self.n2(self.c2(y)) + self.proj(x))


class UNet(keras.Model):
    """Four-class cardiac U-Net, subclassed."""

    def __init__(self, num_classes: int = 4, width: int = 16, **kw):
        super().__init__(**kw)
        self.enc = [ResBlock(width), ResBlock(2 * width), ResBlock(4 * width)]
        self.pool = layers.MaxPooling2D()
        self.up = layers.UpSampling2D(interpolation="bilinear")
        self.dec = [ResBlock(2 * width), ResBlock(width)]
        self.head = layers.Conv2D(num_classes, 1)

    def call(self, x, training=False):
        a = self.enc[0](x)
        b = self.enc[1](self.pool(a))
        c = self.enc[2](self.pool(b))
        d = self.dec[0](ops.concatenate([self.up(c), b], -1))
        e = self.dec[1](ops.concatenate([self.up(d), a], -1))
        return self.head(e)


def soft_dice(y: np.ndarray, logits, num_classes: int = 4):
    p = ops.softmax(logits, axis=-1)
    t = ops.one_hot(y, num_classes)
    inter = ops.sum(p * t, axis=(1, 2))
    total = ops.sum(p + t, axis=(1, 2))
    return ops.mean(((2 * inter + 1.0) / (total + 1.0))[:, 1:])


def loss_fn(y, logits):
    ce = keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)
    return ops.mean(ce) + 1.0 - soft_dice(y, logits)


def main() -> None:
    args = parse_args()
    files = sorted(args.data.glob("patient*.h5"))
    cut = int(0.8 * len(files))
    x_train, y_train = load(files[:cut])
    x_val, y_val = load(files[cut:])
    print(f"{len(x_train)} training slices, {len(x_val)} validation slices")

    model = UNet()
    steps = args.epochs * int(np.ceil(len(x_train) / args.batch_size))
    schedule = keras.optimizers.schedules.CosineDecay(args.lr, steps)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=args.wd)
    model.compile(optimizer=optimizer, loss=loss_fn, metrics=[keras.metrics.SparseCategoricalAccuracy()])
    model.fit(x_train, y_train, batch_size=args.batch_size, epochs=args.epochs, validation_data=(x_val, y_val), verbose=2)


if __name__ == "__main__":
    main()
