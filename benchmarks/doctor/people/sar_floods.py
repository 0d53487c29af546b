"""Single-file version of our flood mapping repository (data / models / engine / main flattened).

Labels: 1 water, 0 land, -1 no observation. Input: Sentinel-1 VV and VH in decibels.
"""
from __future__ import annotations

import csv
import logging
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Iterator

import keras
import numpy as np
import tensorflow as tf
import tifffile

log = logging.getLogger("floods")


# ------------------------------------------------------------------------------------------------ configs/default.py
@dataclass
class DataConfig:
    root: Path = Path("sen1floods")
    mean: tuple[float, float] = (-12.0, -19.0)
    std: tuple[float, float] = (5.0, 6.0)
    no_data: int = -1
    batch_size: int = 6
    flip: bool = True


@dataclass
class ModelConfig:
    widths: tuple[int, ...] = (16, 24, 32)
    groups: int = 4
    negative_slope: float = 0.1


@dataclass
class OptimConfig:
    lr: float = 3e-3
    l2: float = 1e-5
    epochs: int = 8
    warmup: int = 10
    clip_norm: float = 5.0


@dataclass
class Config:
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    seed: int = 11


# -------------------------------------------------------------------------------------------------- data/sen1floods.py
class FloodDataset:
    def __init__(self, cfg: DataConfig, split: str, training: bool, seed: int = 0):
        self.cfg = cfg
        self.training = training
        self.rng = np.random.default_rng(seed)
        with open(cfg.root / f"flood_{split}_data.csv") as f:
            self.samples = [(s1, label) for s1, label in csv.reader(f)]

    def __len__(self) -> int:
        return len(self.samples)

    def _read(self, s1: str, label: str) -> tuple[np.ndarray, np.ndarray]:
        image = tifffile.imread(self.cfg.root / "S1Hand" / s1).transpose(1, 2, 0)
        target = tifffile.imread(self.cfg.root / "LabelHand" / label).astype("float32")
        image = (image - np.float32(self.cfg.mean)) / np.float32(self.cfg.std)
        image = np.nan_to_num(image, nan=0.0)
        return image, target

    def _transform(self, image: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for axis in (0, 1):
            if self.rng.random() < 0.5:
                image = np.flip(image, axis)
                target = np.flip(target, axis)
        return image, target

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = self.rng.permutation(len(self)) if self.training else np.arange(len(self))
        for k in order:
            image, target = self._read(*self.samples[k])
            if self.training and self.cfg.flip:
                image, target = self._transform(image, target)
            yield np.ascontiguousarray(image), np.ascontiguousarray(target)[..., None]

    def as_tf(self) -> tf.data.Dataset:
        spec = (tf.TensorSpec((64, 64, 2), tf.float32), tf.TensorSpec((64, 64, 1), tf.float32))
        data = tf.data.Dataset.from_generator(lambda: iter(self), output_signature=spec)
        data = data.apply(tf.data.experimental.assert_cardinality(len(self)))
        return data.batch(self.cfg.batch_size).prefetch(1)


# --------------------------------------------------------------------------------------------------- models/network.py
class ConvUnit(keras.layers.Layer):
    """conv - group norm - leaky relu, twice."""

    def __init__(self, width: int, cfg: ModelConfig, **kwargs):
        super().__init__(**kwargs)
        self.convs = [keras.layers.Conv2D(width, 3, padding="same") for _ in range(2)]
        self.norms = [keras.layers.GroupNormalization(cfg.groups) for _ in range(2)]
        self.slope = cfg.negative_slope

    def call(self, x):
        for conv, norm in zip(self.convs, self.norms):
            x = keras.ops.leaky_relu(norm(conv(x)), self.slope)
        return x


class FloodNet(keras.Model):
    """U-shaped network with average pooling; `loss_fn` is given the logits and the target with its holes."""

    def __init__(self, cfg: Config, loss_fn: "MaskedLoss", **kwargs):
        super().__init__(**kwargs)
        m = cfg.model
        self.cfg, self.loss_fn = cfg, loss_fn
        self.encoder = [ConvUnit(w, m, name=f"encoder_{i}") for i, w in enumerate(m.widths)]
        self.decoder = [ConvUnit(w, m, name=f"decoder_{i}") for i, w in enumerate(m.widths[-2::-1])]
        self.pool = keras.layers.AveragePooling2D(2)
        self.grow = keras.layers.UpSampling2D(interpolation="bilinear")
        self.head = keras.layers.Conv2D(1, 1, name="head")
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.iou = keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.5, name="water_iou")

    @property
    def metrics(self):
        return [self.loss_tracker, self.iou]

    def call(self, x, training=None):
        skips = []
        for i, unit in enumerate(self.encoder):
            x = unit(x if i == 0 else self.pool(x))
            skips.append(x)
        for unit, skip in zip(self.decoder, skips[-2::-1]):
            x = unit(keras.ops.concatenate([self.grow(x), skip], axis=-1))
        return self.head(x)

    def regularizer(self):
        return self.cfg.optim.l2 * tf.add_n([tf.nn.l2_loss(v) for v in self.trainable_variables if v.path.endswith("kernel")])

    def _track(self, loss, y, logits):
        valid = tf.cast(y >= 0, tf.float32)
        self.loss_tracker.update_state(loss)
        self.iou.update_state(tf.maximum(y, 0), tf.sigmoid(logits), sample_weight=valid)
        return {metric.name: metric.result() for metric in self.metrics}

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss = self.loss_fn(y, logits) + self.regularizer()
        weights = self.trainable_variables
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, weights), self.cfg.optim.clip_norm)
        self.optimizer.apply_gradients(zip(gradients, weights))
        return self._track(loss, y, logits)

    def test_step(self, data):
        x, y = data
        logits = self(x, training=False)
        return self._track(self.loss_fn(y, logits), y, logits)


# ---------------------------------------------------------------------------------------------------- engine/losses.py
class MaskedLoss(ABC):
    def __init__(self, no_data: int):
        self.no_data = no_data

    def __call__(self, y, logits):
        valid = tf.cast(tf.not_equal(y, self.no_data), tf.float32)
        values = self.pixelwise(y * valid, logits)
        return tf.reduce_sum(values * valid) / (tf.reduce_sum(valid) + 1.0)

    @abstractmethod
    def pixelwise(self, y, logits):
        ...


class FocalLoss(MaskedLoss):
    gamma = 1.0

    def pixelwise(self, y, logits):
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits)
        p = tf.sigmoid(logits)
        miss = y * (1 - p) + (1 - y) * p
        return miss ** self.gamma * entropy


# --------------------------------------------------------------------------------------------------- engine/trainer.py
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, peak: float, warmup: int, total: int):
        self.peak, self.warmup, self.total = peak, warmup, total

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        rise = (step + 1) / self.warmup
        fall = 0.5 * (1 + tf.cos(np.pi * tf.minimum(1.0, step / self.total)))
        return self.peak * tf.minimum(rise, fall)


class Trainer:
    def __init__(self, cfg: Config):
        keras.utils.set_random_seed(cfg.seed)
        self.cfg = cfg
        self.train = FloodDataset(cfg.data, "train", training=True, seed=cfg.seed)
        self.valid = FloodDataset(cfg.data, "valid", training=False)
        self.model = FloodNet(cfg, FocalLoss(cfg.data.no_data))

    def optimizer(self) -> keras.optimizers.Optimizer:
        steps = -(-len(self.train) // self.cfg.data.batch_size)
        o = self.cfg.optim
        return keras.optimizers.Adam(WarmupCosine(o.lr, o.warmup, o.epochs * steps))

    def run(self) -> dict[str, list[float]]:
        log.info("config %s", asdict(self.cfg))
        self.model.compile(optimizer=self.optimizer())
        history = self.model.fit(
            self.train.as_tf(), validation_data=self.valid.as_tf(), epochs=self.cfg.optim.epochs, verbose=2
        )
        return history.history

    def report(self) -> float:
        hits = found = water = 0
        for x, y in self.valid.as_tf():
            p, y = self.model.predict_on_batch(x)[..., 0] > 0, y.numpy()[..., 0]
            p &= y >= 0
            hits, found, water = hits + (p & (y == 1)).sum(), found + p.sum(), water + (y == 1).sum()
        return 2 * hits / (found + water)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
    trainer = Trainer(Config())
    trainer.run()
    log.info("Dice of water on the validation tiles: %.3f", trainer.report())
    trainer.model.save_weights("floodnet.weights.h5")
