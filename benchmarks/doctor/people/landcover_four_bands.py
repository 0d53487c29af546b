"""Land cover from four-band tiles.

Code 0 in the map means cloud: those pixels get weight 0 and count nowhere.
"""
from __future__ import annotations

import json
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

CODES = (10, 20, 30, 40, 50)  # tree, crop, water, built, bare
FOLDER = "worldcover"


@dataclass
class Config:
    batch_size: int = 9
    epochs: int = 15
    learning_rate: float = 2e-3
    gamma: float = 2.0


def read_tile(name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(f"{FOLDER}/{name}.npz") as tile:
        bands = tile["bands"].transpose(1, 2, 0)
        return bands.astype("float32") / 10000.0, tile["lc"]


def read_split(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with open(f"{FOLDER}/split.json") as file:
        names = json.load(file)[split]
    bands, codes = map(np.stack, zip(*(read_tile(name) for name in names)))
    cloud = codes == 0
    ids = np.searchsorted(CODES, codes)
    return bands, ids.astype("int32"), (~cloud).astype("float32")


def statistics(bands: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    clear = bands[weight > 0]
    return clear.mean(0), clear.std(0)


def class_balance(ids: np.ndarray, weight: np.ndarray) -> np.ndarray:
    counts = np.bincount(ids[weight > 0], minlength=len(CODES)).astype("float64")
    share = counts / counts.sum()
    alpha = 1.0 / (share + 0.02)
    return (alpha / alpha.mean()).astype("float32")


def focal_loss(alpha: np.ndarray, gamma: float):
    """Per-pixel focal loss on probabilities; Keras applies the pixel weights."""

    def loss(y_true, y_pred):
        target = ops.one_hot(ops.cast(y_true, "int32"), len(CODES))
        p = ops.clip(y_pred, 1e-6, 1.0)
        return ops.sum(-target * alpha * (1.0 - p) ** gamma * ops.log(p), axis=-1)

    return loss


def parallel_branches(bands: int) -> keras.Model:
    """Two resolutions kept side by side that exchange what they know, after HRNet."""

    def unit(x, filters, **options):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, **options)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        return layers.ReLU()(x)

    inputs = layers.Input((None, None, bands))
    high = unit(inputs, 16)
    low = unit(high, 32, strides=2)
    for _ in range(3):
        high, low = unit(high, 16), unit(unit(low, 32), 32)
        up = layers.UpSampling2D(interpolation="bilinear")(layers.Conv2D(16, 1)(low))
        down = layers.Conv2D(32, 3, strides=2, padding="same")(high)
        high, low = layers.add([high, up]), layers.add([low, down])
    low = layers.UpSampling2D(interpolation="bilinear")(low)
    joined = unit(layers.concatenate([high, low]), 32)
    outputs = layers.Conv2D(len(CODES), 1, activation="softmax")(joined)
    return keras.Model(inputs, outputs)


def as_dataset(bands, ids, weight, batch_size, training):
    data = tf.data.Dataset.from_tensor_slices((bands, ids, weight))
    if training:
        data = data.shuffle(len(bands), seed=3, reshuffle_each_iteration=True)
    return data.batch(batch_size)


def main(config: Config) -> None:
    keras.utils.set_random_seed(11)
    bands, ids, weight = read_split("train")
    val_bands, val_ids, val_weight = read_split("valid")
    mean, std = statistics(bands, weight)
    bands = (bands - mean) / std
    val_bands = (val_bands - mean) / std
    model = parallel_branches(bands.shape[-1])
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss=focal_loss(class_balance(ids, weight), config.gamma),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
                          keras.metrics.MeanIoU(len(CODES), sparse_y_pred=False, name="miou")],
    )
    model.fit(
        as_dataset(bands, ids, weight, config.batch_size, True),
        validation_data=as_dataset(val_bands, val_ids, val_weight, config.batch_size, False),
        epochs=config.epochs,
        verbose=2,
    )


if __name__ == "__main__":
    main(Config())
