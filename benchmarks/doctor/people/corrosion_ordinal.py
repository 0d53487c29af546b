"""Corrosion condition rating of steel bridges, training job of the inspection service.

Condition state of a pixel: 0 good, 1 fair, 2 poor, 3 severe. The states have an order, so the network answers three
questions ("at least fair?", "at least poor?", "at least severe?") with one sigmoid each, see Frank & Hall 2001.
"""
import csv
import logging
import os

import keras
import numpy as np
from keras import layers, ops
from PIL import Image, ImageOps

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
log = logging.getLogger("corrosion")

CONFIG = {
    "seed": 31,
    "data": {"root": "corrosion", "size": (72, 96), "grey_of_state": [0, 80, 160, 240]},
    "model": {"widths": [12, 24, 32], "momentum": 0.9, "freeze_encoder": False},
    "train": {"batch": 6, "epochs": 9, "rate": 3e-3, "workers": 1, "positive_weight": [1.5, 2.5, 4.0]},
}


class Plates(keras.utils.PyDataset):
    """Batches of photographs and of cumulative targets."""

    def __init__(self, config, rows, augment, **kwargs):
        super().__init__(**kwargs)
        self.root = config["data"]["root"]
        self.high, self.wide = config["data"]["size"]
        self.greys = np.array(config["data"]["grey_of_state"])
        self.batch = config["train"]["batch"]
        self.rows = list(rows)
        self.augment = augment
        self.random = np.random.default_rng(config["seed"])

    def __len__(self):
        return -(-len(self.rows) // self.batch)

    def photo(self, row):
        with Image.open(os.path.join(self.root, "photos", row["photo"])) as file:
            file = ImageOps.exif_transpose(file)
            file = file.resize((self.wide, self.high), Image.BILINEAR)
            return np.asarray(file, "float32") / 255

    def state(self, row):
        name = row["photo"].replace(".jpg", ".png")
        with Image.open(os.path.join(self.root, "rating", name)) as file:
            file = file.resize((self.wide, self.high), Image.NEAREST)
            grey = np.asarray(file, "int32")
        return np.abs(grey[..., None] - self.greys).argmin(-1)

    def __getitem__(self, index):
        xs, ys = [], []
        for row in self.rows[index * self.batch:(index + 1) * self.batch]:
            x, state = self.photo(row), self.state(row)
            if self.augment:
                if self.random.random() < 0.5:
                    x, state = x[:, ::-1], state[:, ::-1]
                if self.random.random() < 0.5:
                    x, state = x[::-1], state[::-1]
                x = np.clip(x * self.random.uniform(0.85, 1.15), 0, 1)
            xs.append(x)
            ys.append(state[..., None] >= np.array([1, 2, 3]))
        return np.stack(xs), np.stack(ys).astype("float32")

    def on_epoch_end(self):
        if self.augment:
            self.random.shuffle(self.rows)


def block(x, width, stride, momentum, name):
    y = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False, name=name + "_conv1")(x)
    y = layers.BatchNormalization(momentum=momentum, name=name + "_bn1")(y)
    y = layers.ReLU(name=name + "_relu1")(y)
    y = layers.Conv2D(width, 3, padding="same", use_bias=False, name=name + "_conv2")(y)
    y = layers.BatchNormalization(momentum=momentum, name=name + "_bn2")(y)
    if stride > 1:
        x = layers.AveragePooling2D(stride, name=name + "_pool")(x)
    if x.shape[-1] != width:
        x = layers.Conv2D(width, 1, name=name + "_shortcut")(x)
    return layers.ReLU(name=name)(layers.Add(name=name + "_add")([x, y]))


def build(config):
    momentum = config["model"]["momentum"]
    inputs = keras.Input((*config["data"]["size"], 3), name="photo")
    x, skips = inputs, []
    for k, width in enumerate(config["model"]["widths"]):
        x = block(x, width, 1 if k == 0 else 2, momentum, f"encoder{k}")
        skips.append(x)
    for k, skip in reversed(list(enumerate(skips[:-1]))):
        x = layers.Conv2DTranspose(skip.shape[-1], 2, strides=2, name=f"decoder{k}_up")(x)
        x = layers.Concatenate(name=f"decoder{k}_cat")([x, skip])
        x = block(x, skip.shape[-1], 1, momentum, f"decoder{k}")
    outputs = layers.Conv2D(3, 1, activation="sigmoid", name="at_least")(x)
    model = keras.Model(inputs, outputs, name="corrosion")
    if config["model"]["freeze_encoder"]:
        for layer in model.layers:
            layer.trainable = not layer.name.startswith("encoder")
    return model


class CumulativeLoss(keras.losses.Loss):
    """Binary cross-entropy of the three questions, more for the "yes" of the rare ones."""

    def __init__(self, positive_weight, name="cumulative"):
        super().__init__(name=name)
        self.positive_weight = positive_weight

    def call(self, y_true, y_pred):
        p = ops.clip(y_pred, 1e-6, 1 - 1e-6)
        yes = y_true * ops.log(p) * ops.convert_to_tensor(self.positive_weight, "float32")
        no = (1 - y_true) * ops.log(1 - p)
        return -ops.mean(yes + no, axis=-1)


def main(config):
    keras.utils.set_random_seed(config["seed"])
    with open(os.path.join(config["data"]["root"], "inspection.csv")) as file:
        rows = list(csv.DictReader(file))
    train_rows = [row for row in rows if row["part"] == "train"]
    test_rows = [row for row in rows if row["part"] == "test"]
    log.info("%d photographs to learn from, %d to test", len(train_rows), len(test_rows))
    workers = config["train"]["workers"]
    train = Plates(config, train_rows, augment=True, workers=workers)
    test = Plates(config, test_rows, augment=False, workers=workers)

    model = build(config)
    rate = keras.optimizers.schedules.CosineDecay(config["train"]["rate"], len(train) * config["train"]["epochs"])
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-4),
        loss=CumulativeLoss(config["train"]["positive_weight"]),
        metrics=[keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.5, name="iou")],
        jit_compile=False,
    )
    model.fit(train, validation_data=test, epochs=config["train"]["epochs"], verbose=2)

    real = np.concatenate([test[k][1] for k in range(len(test))]).sum(-1)
    found = (model.predict(test, verbose=0) > 0.5).sum(-1)
    iou = [((real == s) & (found == s)).sum() / max(1, ((real == s) | (found == s)).sum()) for s in range(4)]
    log.info("IoU of the states: %s", " ".join(f"{v:.3f}" for v in iou))
    log.info("mean IoU of fair, poor, severe %.4f, off by %.3f states", np.mean(iou[1:]), np.abs(real - found).mean())
    model.save("corrosion.keras")


if __name__ == "__main__":
    main(CONFIG)
