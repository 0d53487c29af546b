import os

os.environ["KERAS_BACKEND"] = "torch"  # the GPU box here only has torch

import glob
import random

import keras
import numpy as np
import torch
from keras import layers, ops
from PIL import Image
from torch.utils.data import DataLoader, Dataset

CROP = 48
WORKERS = 0
LR = 2e-3
EPOCHS = 20


class CrackDataset(Dataset):
    def __init__(self, part, train=False):
        self.images = sorted(glob.glob(f"cracks/{part}_img/*.jpg"))
        self.train = train

    def __len__(self):
        return len(self.images)

    def _label(self, path):
        return path.replace("_img", "_lab").replace(".jpg", ".png")

    @staticmethod
    def crop(arr, top, left):
        return arr[top:top + CROP, left:left + CROP]

    def __getitem__(self, i):
        img = np.asarray(Image.open(self.images[i]).convert("L"), dtype=np.float32)
        lab = np.asarray(Image.open(self._label(self.images[i])), dtype=np.float32) / 255.0
        if self.train:
            h, w = img.shape
            top, left = random.randint(0, h - CROP), random.randint(0, w - CROP)
            img, lab = self.crop(img, top, left), self.crop(lab, top, left)
            if random.random() > 0.5:
                img, lab = np.fliplr(img), np.fliplr(lab)
            if random.random() > 0.5:
                img, lab = np.flipud(img), np.flipud(lab)
            img = img * random.uniform(0.9, 1.1)
        img = (img - 150.0) / 50.0
        return torch.tensor(img.copy())[..., None], torch.tensor(lab.copy())[..., None]


def crack_net(act="relu", init="he_normal"):
    net = keras.Sequential(name="crack_net")
    net.add(keras.Input((None, None, 1)))
    for f in (16, 24, 32):
        net.add(layers.Conv2D(f, 3, padding="same", activation=act, kernel_initializer=init))
        net.add(layers.Conv2D(f, 3, strides=2 if f > 16 else 1, padding="same", activation=act, kernel_initializer=init))
    net.add(layers.Conv2D(48, 3, padding="same", dilation_rate=2, activation=act, kernel_initializer=init))
    net.add(layers.Conv2D(48, 3, padding="same", dilation_rate=4, activation=act, kernel_initializer=init))
    for f in (32, 24):
        net.add(layers.Conv2DTranspose(f, 4, strides=2, padding="same", activation=act, kernel_initializer=init))
        net.add(layers.Conv2D(f, 3, padding="same", activation=act, kernel_initializer=init))
    net.add(layers.Conv2D(1, 1, activation="sigmoid"))
    return net


def edges(p):
    """Length of the gradient of a map, forward differences."""
    dy = p[:, 1:, :-1] - p[:, :-1, :-1]
    dx = p[:, :-1, 1:] - p[:, :-1, :-1]
    return ops.sqrt(dy ** 2 + dx ** 2 + 1e-6)


class TverskyEdge(keras.losses.Loss):
    def __init__(self, alpha=0.4, beta=0.6, edge=0.5):
        super().__init__(name="tversky_edge")
        self.alpha, self.beta, self.edge = alpha, beta, edge

    def call(self, y, p):
        tp = ops.sum(y * p)
        fp = ops.sum((1 - y) * p)
        fn = ops.sum(y * (1 - p))
        region = 1 - (tp + 1) / (tp + self.alpha * fp + self.beta * fn + 1)
        boundary = ops.mean(ops.abs(edges(y) - edges(p)))
        return region + self.edge * boundary


class F1(keras.metrics.Metric):
    def __init__(self, name="f1"):
        super().__init__(name=name)
        self.tp = self.add_weight(name="tp", initializer="zeros")
        self.pos = self.add_weight(name="pos", initializer="zeros")

    def update_state(self, y, p, sample_weight=None):
        p = ops.cast(p > 0.5, "float32")
        self.tp.assign_add(ops.sum(y * p))
        self.pos.assign_add(ops.sum(y) + ops.sum(p))

    def result(self):
        return 2 * self.tp / (self.pos + 1e-6)


def main():
    random.seed(0)
    keras.utils.set_random_seed(0)
    train_loader = DataLoader(CrackDataset("train", train=True), batch_size=6, shuffle=True, num_workers=WORKERS)
    test_loader = DataLoader(CrackDataset("test"), batch_size=6, num_workers=WORKERS)
    net = crack_net()
    steps = EPOCHS * len(train_loader)
    net.compile(optimizer=keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(LR, steps), weight_decay=1e-4),
                loss=TverskyEdge(), metrics=[F1()])
    net.fit(train_loader, validation_data=test_loader, epochs=EPOCHS, verbose=2)

    # threshold with the best F1 over the test set
    truth = np.concatenate([np.asarray(lab) for _, lab in test_loader]) > 0.5
    prob = keras.ops.convert_to_numpy(net.predict(test_loader, verbose=0))
    table = {}
    for t in np.arange(0.1, 1.0, 0.1):
        hit = prob > t
        table[round(float(t), 1)] = 2 * (hit & truth).sum() / (hit.sum() + truth.sum())
    print("ODS F1 %.3f at %.1f" % max((v, k) for k, v in table.items()))
    net.save("crack_net.keras")


if __name__ == "__main__":
    main()
