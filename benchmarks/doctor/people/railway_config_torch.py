"""Railway scene parsing: config dataclass + dataset + network + experiment, Keras 3 running on PyTorch."""
from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras import layers, ops
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


@dataclass
class Config:
    root: Path = Path("railway")
    classes: tuple[str, ...] = ("rest", "bed", "rail", "mast")
    remap: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 1, 2: 2, 3: 3, 255: 255})
    ignore: int | None = 255
    size: tuple[int, int] = (72, 96)
    mean: tuple[float, ...] = (0.45, 0.48, 0.42)
    std: tuple[float, ...] = (0.22, 0.22, 0.25)
    width: int = 10
    batch_size: int = 6
    epochs: int = 10
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    flip: float = 0.5
    light: tuple[float, float] = (0.85, 1.15)
    seed: int = 2024

    @property
    def num_classes(self) -> int:
        return len(self.classes)


class RailFrames(Dataset):
    """One NPZ per frame; normalised with the statistics of the training frames."""

    def __init__(self, cfg: Config, split: str):
        self.cfg, self.train = cfg, split == "train"
        self.names = json.loads((cfg.root / "splits.json").read_text())[split]
        self.random = np.random.default_rng(cfg.seed)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        frame = np.load(self.cfg.root / "frames" / f"{self.names[index]}.npz")
        image = self.normalise(frame["rgb"])
        label = np.full(frame["label"].shape, 255, "int64")
        for raw, new in self.cfg.remap.items():
            label[frame["label"] == raw] = new
        if self.train:
            image, label = self.augment(image, label)
        return torch.tensor(image.copy()), torch.tensor(label.copy())[..., None]

    def normalise(self, rgb):
        return ((rgb / 255.0 - self.cfg.mean) / self.cfg.std).astype("float32")

    def augment(self, image, label):
        if self.random.random() < self.cfg.flip:
            image, label = image[:, ::-1], label[:, ::-1]
        image = image * self.random.uniform(*self.cfg.light)
        return image.astype("float32"), label


class ConvBlock(layers.Layer):
    def __init__(self, filters, stride=1, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)
        self.norm = layers.BatchNormalization(momentum=0.9)

    def call(self, x, training=None):
        return ops.relu(self.norm(self.conv(x), training=training))


def build_network(cfg: Config) -> keras.Model:
    """Encoder with stride 4, context from the whole frame, two steps up."""
    w, (h, b) = cfg.width, cfg.size
    inputs = keras.Input((h, b, 3))
    fine = ConvBlock(w, name="fine")(inputs)
    half = ConvBlock(w, name="half_b")(ConvBlock(w, 2, name="half_a")(fine))
    quarter = ConvBlock(2 * w, name="quarter_b")(ConvBlock(2 * w, 2, name="quarter_a")(half))
    context = layers.GlobalAveragePooling2D(keepdims=True)(quarter)
    context = layers.Conv2D(w, 1, activation="relu", name="context")(context)
    context = layers.UpSampling2D((h // 4, b // 4))(context)
    x = ConvBlock(2 * w, name="merge")(layers.Concatenate()([quarter, context]))
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = ConvBlock(w, name="up_half")(layers.Concatenate()([x, half]))
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = ConvBlock(w, name="up_fine")(layers.Concatenate()([x, fine]))
    x = layers.Conv2D(cfg.num_classes, 1, name="logits")(x)
    return keras.Model(inputs, x, name="railnet")


def mean_iou(y_true, y_pred):
    """Mean over the classes, of one batch; keras.metrics.MeanIoU takes ages on torch."""
    label, found = ops.cast(y_true[..., 0], "int32"), ops.cast(ops.argmax(y_pred, axis=-1), "int32")
    ious = []
    for number in range(y_pred.shape[-1]):
        a = ops.cast((found == number) & (label < y_pred.shape[-1]), "float32")
        b = ops.cast(label == number, "float32")
        ious.append((ops.sum(a * b) + 1e-6) / (ops.sum(ops.maximum(a, b)) + 1e-6))
    return sum(ious) / len(ious)


class Experiment:
    def __init__(self, cfg: Config):
        keras.utils.set_random_seed(cfg.seed)
        self.cfg = cfg
        self.train = DataLoader(RailFrames(cfg, "train"), batch_size=cfg.batch_size, shuffle=True, drop_last=True)
        self.val = DataLoader(RailFrames(cfg, "val"), batch_size=cfg.batch_size)
        self.model = build_network(cfg)

    def compile(self):
        cfg = self.cfg
        rate = keras.optimizers.schedules.PolynomialDecay(cfg.lr, cfg.epochs * len(self.train), power=0.9)
        self.model.compile(
            optimizer=keras.optimizers.SGD(rate, momentum=cfg.momentum, weight_decay=cfg.weight_decay),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=cfg.ignore),
            metrics=[mean_iou],
        )

    def run(self):
        self.compile()
        self.model.fit(self.train, validation_data=self.val, epochs=self.cfg.epochs, verbose=2)
        return self.report()

    def report(self):
        found = self.model.predict(self.val, verbose=0).argmax(-1)
        truth = np.stack([np.load(self.cfg.root / "frames" / f"{n}.npz")["label"] for n in self.val.dataset.names])
        ious = {}
        for number, name in enumerate(("rest", "bed", "rail", "mast")):
            a, b = (found == number) & (truth != 255), truth == number
            ious[name] = round(float((a & b).sum() / max(1, (a | b).sum())), 3)
        print("IoU", ious, "mean", round(sum(ious.values()) / len(ious), 3))
        return ious


if __name__ == "__main__":
    Experiment(Config()).run()
