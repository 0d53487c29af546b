"""Short-axis cine MR, right ventricle / myocardium / left ventricle, small UNet++ with deep concatenations.

Slices of synthetic volumes (we may not share the hospital's); labels come as in MM-WHS: 0, 200, 500, 600.
"""
import math

import cv2
import keras
import numpy as np
from keras import layers, ops

SIZE = 64
CLASSES = ["background", "RV", "MYO", "LV"]
LABELS = {200: 1, 500: 2, 600: 3}
ACT = "relu"
MAX_SHIFT = 4
rng = np.random.default_rng(11)
keras.utils.set_random_seed(11)


def fake_volume(depth=6, side=88):
    yy, xx = np.mgrid[:side, :side]
    cy, cx = rng.uniform(36, 52, 2)
    size, ang = rng.uniform(13, 17), rng.uniform(2.6, 3.6)
    vol, lab = [], []
    for z in range(depth):
        r = size * (1 - 0.09 * z)
        d = np.hypot((yy - cy) * rng.uniform(0.95, 1.05), xx - cx)
        oy, ox = cy + 1.25 * r * np.sin(ang), cx + 1.25 * r * np.cos(ang)
        right = np.hypot((yy - oy) * 0.75, xx - ox) < r * 0.95
        mask = np.zeros((side, side), np.int16)
        mask[right] = 200
        mask[d < r] = 500
        mask[d < r * 0.62] = 600
        img = 300 + 120 * np.sin(xx / 17 + yy / 23 + z) + np.where(np.hypot(yy - 44, xx - 44) > 41, -220, 0)
        img = np.where(mask == 200, 1150, np.where(mask == 500, 480, np.where(mask == 600, 1300, img)))
        img = cv2.GaussianBlur(img.astype(np.float32), (0, 0), 0.8) + rng.normal(0, 60, mask.shape)
        vol.append(np.clip(img, 0, None))
        lab.append(mask)
    return np.stack(vol).astype(np.float32), np.stack(lab)


def to_ids(mask):
    ids = np.zeros(mask.shape, np.uint8)
    for value, k in LABELS.items():
        ids[mask == value] = k
    return ids


def zscore(img):
    return (img - img.mean()) / (img.std() + 1e-6)


class SliceSequence(keras.utils.PyDataset):
    def __init__(self, patients, batch_size=4, train=False, **kwargs):
        super().__init__(**kwargs)
        self.batch_size, self.train = batch_size, train
        self.slices = [(v[z], m[z]) for v, m in patients for z in range(len(v))]
        self.order = np.arange(len(self.slices))
        self.on_epoch_end()

    def __len__(self):
        return math.ceil(len(self.slices) / self.batch_size)

    def on_epoch_end(self):
        if self.train:
            rng.shuffle(self.order)

    def augment(self, img, ids):
        k = rng.integers(4)
        img, ids = np.rot90(img, k), np.rot90(ids, k)
        m = np.float32([[1, 0, rng.integers(-MAX_SHIFT, MAX_SHIFT + 1)], [0, 1, rng.integers(-MAX_SHIFT, MAX_SHIFT + 1)]])
        img = cv2.warpAffine(np.ascontiguousarray(img), m, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
        ids = cv2.warpAffine(np.ascontiguousarray(ids), m, (SIZE, SIZE), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
        return img, ids

    def __getitem__(self, index):
        x, y = [], []
        for i in self.order[index * self.batch_size:(index + 1) * self.batch_size]:
            img, mask = self.slices[i]
            img = cv2.resize(zscore(img), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
            ids = cv2.resize(to_ids(mask), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
            if self.train:
                img, ids = self.augment(img, ids)
            x.append(img[..., None])
            y.append(np.eye(len(CLASSES), dtype=np.float32)[ids])
        return np.stack(x), np.stack(y)


def node(tensors, f):
    x = layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]
    x = layers.Conv2D(f, 3, padding="same", activation=ACT, kernel_initializer="he_normal")(x)
    return layers.Conv2D(f, 3, padding="same", activation=ACT, kernel_initializer="he_normal")(x)


def up(x):
    return layers.UpSampling2D(interpolation="bilinear")(x)


def unet_pp(f=(10, 20, 32)):
    inp = layers.Input((SIZE, SIZE, 1))
    x00 = node([inp], f[0])
    x10 = node([layers.MaxPooling2D()(x00)], f[1])
    x20 = node([layers.MaxPooling2D()(x10)], f[2])
    x01 = node([x00, up(x10)], f[0])
    x11 = node([x10, up(x20)], f[1])
    x02 = node([x00, x01, up(x11)], f[0])
    scores = layers.Conv2D(len(CLASSES), 1, name="scores")(x02)
    return keras.Model(inp, layers.Softmax(axis=-1)(scores), name="unet_pp")


W = ops.convert_to_tensor(np.array([0.4, 1.2, 1.2, 1.2], "float32"))


def ce_dice(y_true, y_pred):
    y_pred = ops.clip(y_pred, 1e-7, 1.0)
    ce = -ops.mean(ops.sum(W * y_true * ops.log(y_pred), axis=-1))
    inter = ops.sum(y_true * y_pred, axis=(0, 1, 2))
    total = ops.sum(y_true, axis=(0, 1, 2)) + ops.sum(y_pred, axis=(0, 1, 2))
    return ce + 1.0 - ops.mean((2 * inter + 1.0) / (total + 1.0))


patients = [fake_volume() for _ in range(24)]
train = SliceSequence(patients[:18], train=True)
val = SliceSequence(patients[18:])

net = unet_pp()
net.compile(optimizer=keras.optimizers.Adam(learning_rate=3e-3), loss=ce_dice,
            metrics=[keras.metrics.OneHotMeanIoU(num_classes=len(CLASSES), sparse_y_pred=False, name="miou")])
stop = keras.callbacks.EarlyStopping("val_miou", mode="max", patience=8, restore_best_weights=True)
net.fit(train, validation_data=val, epochs=8, callbacks=[stop], verbose=2)
print(dict(zip(["loss", "mIoU"], net.evaluate(val, verbose=0))))
