# 3D segmentation of the hippocampus (Medical Segmentation Decathlon, task 4, resampled to 40 x 32 x 24)
# torch does the loading, Keras 3 on torch the training
import json
import os
import random

os.environ["KERAS_BACKEND"] = "torch"

import keras
import nibabel as nib
import numpy as np
import torch
from keras import layers, ops
from torch.utils.data import DataLoader, Dataset

ROOT = "hippocampus"
CROP = (32, 24, 16)
N_CLASSES = 3  # background, anterior, posterior
N_VAL = 10

torch.manual_seed(4)
torch.set_num_threads(1)
keras.utils.set_random_seed(4)


def load_nifti(path):
    return np.asarray(nib.load(os.path.join(ROOT, path)).dataobj)


def zscore(volume):
    volume = volume.astype("float32")
    low, high = np.percentile(volume, (0.5, 99.5))
    volume = np.clip(volume, low, high)
    return (volume - volume.mean()) / (volume.std() + 1e-6)


class HippocampusDataset(Dataset):
    def __init__(self, cases, train):
        self.images = [zscore(load_nifti(c["image"])) for c in cases]
        self.labels = [load_nifti(c["label"]).astype("int64") for c in cases]
        self.train = train

    def __len__(self):
        return len(self.images)

    def random_crop(self, image, label):
        start = [random.randint(0, s - c) for s, c in zip(image.shape, CROP)]
        window = tuple(slice(s, s + c) for s, c in zip(start, CROP))
        return image[window], label[window]

    def random_flip(self, image, label):
        if random.random() < 0.5:  # left and right
            image, label = np.flip(image, 1), np.flip(label, 1)
        return image, label

    def __getitem__(self, i):
        image, label = self.images[i], self.labels[i]
        if self.train:
            image, label = self.random_crop(image, label)
            image, label = self.random_flip(image, label)
            image = image * random.uniform(0.9, 1.1) + random.uniform(-0.1, 0.1)
        image = torch.from_numpy(np.ascontiguousarray(image, dtype="float32"))[..., None]
        label = torch.from_numpy(np.ascontiguousarray(label))
        return image, torch.nn.functional.one_hot(label, N_CLASSES).float()


with open(os.path.join(ROOT, "dataset.json")) as f:
    cases = json.load(f)["training"]
random.Random(0).shuffle(cases)
train_ds = HippocampusDataset(cases[N_VAL:], train=True)
val_ds = HippocampusDataset(cases[:N_VAL], train=False)
train_loader = DataLoader(train_ds, batch_size=4, shuffle=True)
val_loader = DataLoader(val_ds, batch_size=2)


# V-Net like: residual blocks, strided convolutions down, transposed ones up, no normalization
def residual(x, n, k):
    y = x
    for _ in range(k):
        y = layers.Conv3D(n, 3, padding="same")(y)
        y = layers.ELU()(y)
    if x.shape[-1] != n:
        x = layers.Conv3D(n, 1)(x)
    return layers.Add()([x, y])


def vnet(widths=(12, 24)):
    inp = keras.Input((None, None, None, 1))
    x = layers.Conv3D(widths[0], 3, strides=2, padding="same", activation="elu")(inp)
    x = residual(x, widths[0], 1)
    skips = []
    for n in widths[1:]:
        skips.append(x)
        x = layers.Conv3D(n, 2, strides=2, activation="elu")(x)
        x = residual(x, n, 2)
    for n, skip in zip(widths[-2::-1], skips[::-1]):
        x = layers.Conv3DTranspose(n, 2, strides=2, activation="elu")(x)
        x = layers.Concatenate()([x, skip])
        x = residual(x, n, 1)
    x = layers.Conv3DTranspose(8, 2, strides=2, activation="elu")(x)
    out = layers.Conv3D(N_CLASSES, 1, activation="softmax", name="labels")(x)
    return keras.Model(inp, out)


def dice_ce(y, p):
    y, p = ops.cast(y, "float32"), ops.cast(p, "float32")
    axes = (0, 1, 2, 3)
    both = ops.sum(y * p, axis=axes)
    sums = ops.sum(y, axis=axes) + ops.sum(p, axis=axes)
    dice = (2 * both + 1) / (sums + 1)
    ce = -ops.sum(y * ops.log(ops.clip(p, 1e-7, 1.0)), axis=-1)
    return 1 - ops.mean(dice[1:]) + ops.mean(ce)


model = vnet()
optimizer = keras.optimizers.AdamW(learning_rate=4e-3, weight_decay=1e-4)
model.compile(
    optimizer=optimizer,
    loss=dice_ce,
    metrics=[keras.metrics.OneHotMeanIoU(N_CLASSES, name="miou")],
)
drop = keras.callbacks.LearningRateScheduler(lambda epoch, lr: lr * 0.4 if epoch in (5, 7) else lr)
model.fit(train_loader, validation_data=val_loader, validation_freq=3, epochs=9, verbose=2, callbacks=[drop])

scores = []
for image, label in val_loader:
    found = ops.convert_to_numpy(model(image, training=False)).argmax(-1)
    real = label.numpy().argmax(-1)
    for a, b in zip(found, real):
        scores.append([2 * ((a == k) & (b == k)).sum() / max(1, (a == k).sum() + (b == k).sum()) for k in (1, 2)])
scores = np.array(scores)
print("Dice anterior %.3f +- %.3f, posterior %.3f +- %.3f" % (scores[:, 0].mean(), scores[:, 0].std(),
                                                              scores[:, 1].mean(), scores[:, 1].std()))
print("mean Dice %.4f" % scores.mean())
model.save_weights("vnet.weights.h5")
