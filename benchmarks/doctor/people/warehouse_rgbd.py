"""Train the semantic segmentation of the pallet robot on RGB-D frames.

    python warehouse_rgbd.py --epochs 12 --set optimizer.lr=0.002
"""
import argparse
import logging
from pathlib import Path

import cv2
import keras
import numpy as np
import yaml
from keras import layers, regularizers

logger = logging.getLogger("warehouse_rgbd")

DEFAULTS = """
dataset:
  root: warehouse
  train_list: train.txt
  val_list: val.txt
  test_list: test.txt
  height: 48
  width: 72
  classes: {0: free, 7: pallet, 11: shelf, 23: person}
  unlabeled: 255
  max_depth_mm: 8000
model:
  widths: [12, 24, 32]
  norm_momentum: 0.9
  l2: 1.0e-5
  bias_init: 0.0
  frozen: []
loss:
  class_weights: [1.0, 2.0, 1.0, 5.0]
  ignore_unlabeled: true
optimizer:
  name: adam
  lr: 0.004
  clipnorm: 5.0
training:
  batch_size: 8
  epochs: 11
  seed: 5
"""


class FrameLoader:
    """Reads colour, depth and label of one frame."""

    def __init__(self, cfg):
        self.root = Path(cfg["root"])
        self.h, self.w = cfg["height"], cfg["width"]
        self.max_depth = cfg["max_depth_mm"]
        self.unlabeled = cfg["unlabeled"]
        self.lut = np.full(256, self.unlabeled, np.uint8)
        for index, raw in enumerate(cfg["classes"]):
            self.lut[raw] = index

    def names(self, list_file):
        return [line.strip() for line in (self.root / list_file).read_text().splitlines() if line.strip()]

    def color(self, name):
        bgr = cv2.imread(str(self.root / "rgb" / f"{name}.jpg"))
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return cv2.resize(rgb, (self.w, self.h), interpolation=cv2.INTER_AREA) / 255.0

    def depth(self, name):
        mm = cv2.imread(str(self.root / "depth" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        mm = cv2.resize(mm, (self.w, self.h), interpolation=cv2.INTER_NEAREST)
        return np.clip(mm / self.max_depth, 0, 1)[..., None]

    def label(self, name):
        raw = cv2.imread(str(self.root / "label" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        raw = cv2.resize(raw, (self.w, self.h), interpolation=cv2.INTER_NEAREST)
        return self.lut[raw]

    def load(self, names):
        x = np.stack([np.concatenate([self.color(n), self.depth(n)], axis=-1) for n in names])
        y = np.stack([self.label(n) for n in names])
        return x.astype("float32"), y.astype("int32")


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size, weights, unlabeled, ignore, train=False, seed=0):
        super().__init__()
        self.x, self.y = x, y
        self.batch_size = batch_size
        self.weights = np.asarray(weights, "float32")
        self.unlabeled, self.ignore = unlabeled, ignore
        self.train = train
        self.rng = np.random.default_rng(seed)
        self.index = np.arange(len(x))

    def __len__(self):
        return int(np.ceil(len(self.index) / self.batch_size))

    def on_epoch_end(self):
        if self.train:
            self.rng.shuffle(self.index)

    def __getitem__(self, i):
        chosen = self.index[i * self.batch_size:(i + 1) * self.batch_size]
        x, y = self.x[chosen].copy(), self.y[chosen].copy()
        if self.train:
            for k in range(len(chosen)):
                if self.rng.random() < 0.5:
                    x[k], y[k] = x[k][:, ::-1], y[k][:, ::-1]
                x[k, ..., :3] = np.clip(x[k, ..., :3] + self.rng.normal(0, 0.05, 3), 0, 1)
        void = y == self.unlabeled
        y[void] = 0
        weight = self.weights[y]
        if self.ignore:
            weight = np.where(void, 0, weight)
        return x, y[..., None], weight.astype("float32")


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        keras.utils.set_random_seed(cfg["training"]["seed"])
        self.loader = FrameLoader(cfg["dataset"])
        self.n_classes = len(cfg["dataset"]["classes"])
        self.model = self.build()

    def conv(self, x, width, name, stride=1):
        m = self.cfg["model"]
        x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal",
                          kernel_regularizer=regularizers.L2(m["l2"]), name=f"{name}_conv")(x)
        x = layers.BatchNormalization(momentum=m["norm_momentum"],
                                      beta_initializer=keras.initializers.Constant(m["bias_init"]), name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def build(self):
        d, m = self.cfg["dataset"], self.cfg["model"]
        inputs = keras.Input((d["height"], d["width"], 4), name="rgbd")
        x, skips = inputs, []
        for i, width in enumerate(m["widths"]):
            x = self.conv(x, width, f"enc{i}a")
            skips.append(x)
            x = self.conv(x, width, f"enc{i}b", stride=2)
        x = self.conv(x, 2 * m["widths"][-1], "mid")
        for i, width in reversed(list(enumerate(m["widths"]))):
            x = layers.UpSampling2D(2, interpolation="bilinear", name=f"dec{i}_up")(x)
            x = layers.Concatenate(name=f"dec{i}_cat")([x, skips[i]])
            x = self.conv(x, width, f"dec{i}")
        logits = layers.Conv2D(self.n_classes, 1, name="logits")(x)
        model = keras.Model(inputs, logits, name="warehouse")
        for layer in model.layers:
            if layer.name.startswith(tuple(m["frozen"])):
                layer.trainable = False
        return model

    def optimizer(self):
        o = self.cfg["optimizer"]
        return keras.optimizers.get({"class_name": o["name"], "config": {"learning_rate": o["lr"], "clipnorm": o["clipnorm"]}})

    def batches(self, list_file, train):
        x, y = self.loader.load(self.loader.names(list_file))
        t, loss = self.cfg["training"], self.cfg["loss"]
        logger.info("%s: %d frames, classes %s", list_file, len(x), np.unique(y))
        return Batches(x, y, t["batch_size"], loss["class_weights"], self.cfg["dataset"]["unlabeled"],
                       loss["ignore_unlabeled"], train, t["seed"])

    def fit(self):
        d = self.cfg["dataset"]
        iou = keras.metrics.MeanIoU(self.n_classes, sparse_y_pred=False, name="iou")
        self.model.compile(optimizer=self.optimizer(),
                           loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                           weighted_metrics=[iou])
        return self.model.fit(self.batches(d["train_list"], True), validation_data=self.batches(d["val_list"], False),
                              epochs=self.cfg["training"]["epochs"], verbose=2)

    def predict(self, names):
        x, _ = self.loader.load(names)
        return self.model.predict(x, verbose=0).argmax(-1)


def merge(cfg, overrides):
    for item in overrides:
        key, value = item.split("=", 1)
        node = cfg
        *parents, leaf = key.split(".")
        for parent in parents:
            node = node[parent]
        node[leaf] = yaml.safe_load(value)
    return cfg


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    cfg = yaml.safe_load(args.config.read_text() if args.config else DEFAULTS)
    cfg = merge(cfg, args.set)
    if args.epochs:
        cfg["training"]["epochs"] = args.epochs
    trainer = Trainer(cfg)
    trainer.model.summary(print_fn=logger.debug)
    trainer.fit()
    names = trainer.loader.names(cfg["dataset"]["test_list"])
    found = trainer.predict(names)
    out = Path("warehouse_predictions")
    out.mkdir(exist_ok=True)
    raw = np.array(list(cfg["dataset"]["classes"]), np.uint8)
    for name, one in zip(names, found):
        cv2.imwrite(str(out / f"{name}.png"), raw[one])
    logger.info("wrote %d predictions", len(names))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="[%(name)s] %(message)s")
    main()
