# SegFormer in small, Keras model, data through torch's DataLoader
import glob
import os.path as osp
import random

import keras
import numpy as np
import torch
from keras import layers, ops
from PIL import Image
from torch.utils.data import DataLoader, Dataset

IGNORE = 255
ID_TO_TRAINID = {7: 0, 21: 1, 23: 2, 26: 3, 20: 4, 24: 5}
LUT = np.full(256, IGNORE, dtype=np.uint8)
for label_id, train_id in ID_TO_TRAINID.items():
    LUT[label_id] = train_id
NUM_CLASSES = len(ID_TO_TRAINID)
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


class City(Dataset):
    def __init__(self, root, split, train):
        self.images = sorted(glob.glob(osp.join(root, 'leftImg8bit', split, '*', '*_leftImg8bit.png')))
        self.labels = sorted(glob.glob(osp.join(root, 'gtFine', split, '*', '*_labelIds.png')))
        assert len(self.images) == len(self.labels) > 0
        self.train = train

    def __len__(self):
        return len(self.images)

    def load_image(self, path):
        return np.asarray(Image.open(path).convert('RGB'), dtype=np.float32) / 255

    def __getitem__(self, i):
        image = self.load_image(self.images[i])
        label = LUT[np.asarray(Image.open(self.labels[i]))]
        if self.train:
            if random.random() < 0.5:
                image, label = image[:, ::-1], label[:, ::-1]
            image = image * random.uniform(0.85, 1.15)
        image = (image - MEAN) / STD
        return torch.from_numpy(np.ascontiguousarray(image)), torch.from_numpy(label.astype(np.int64))


class PatchEmbed(layers.Layer):
    def __init__(self, dim, kernel, stride):
        super().__init__()
        self.proj = layers.Conv2D(dim, kernel, strides=stride, padding='same')
        self.norm = layers.LayerNormalization(epsilon=1e-6)

    def call(self, x):
        return self.norm(self.proj(x))


class Block(layers.Layer):
    """attention over reduced keys, then Mix-FFN"""
    def __init__(self, dim, heads, reduction):
        super().__init__()
        self.dim = dim
        self.norm1 = layers.LayerNormalization(epsilon=1e-6)
        self.norm2 = layers.LayerNormalization(epsilon=1e-6)
        self.reduce = layers.Conv2D(dim, reduction, strides=reduction)
        self.attn = layers.MultiHeadAttention(heads, dim // heads)
        self.fc1 = layers.Dense(2 * dim)
        self.dw = layers.DepthwiseConv2D(3, padding='same')
        self.fc2 = layers.Dense(dim)

    def tokens(self, x):
        return ops.reshape(x, (ops.shape(x)[0], -1, self.dim))

    def call(self, x):
        h = self.norm1(x)
        mixed = self.attn(self.tokens(h), self.tokens(self.reduce(h)))
        x = x + ops.reshape(mixed, ops.shape(x))
        h = self.fc2(ops.gelu(self.dw(self.fc1(self.norm2(x)))))
        return x + h


def segformer(size, dims=(24, 48, 64), heads=(1, 2, 4), reductions=(4, 2, 1)):
    inputs = keras.Input((size, size, 3))
    x, levels = inputs, []
    for i, (dim, head, reduction) in enumerate(zip(dims, heads, reductions)):
        x = PatchEmbed(dim, 5 if i == 0 else 3, 2)(x)
        x = Block(dim, head, reduction)(x)
        levels.append(x)
    fused = []
    for i, level in enumerate(levels):
        level = layers.Dense(48)(level)
        fused.append(layers.UpSampling2D(2 ** i, interpolation='bilinear')(level) if i else level)
    x = layers.Concatenate()(fused)
    x = layers.Dense(48, activation='gelu')(x)
    x = layers.Dense(NUM_CLASSES)(x)
    outputs = layers.UpSampling2D(2, interpolation='bilinear')(x)
    return keras.Model(inputs, outputs)


def main():
    random.seed(0), torch.manual_seed(0), keras.utils.set_random_seed(0)
    train_loader = DataLoader(City('city', 'train', train=True), batch_size=8, shuffle=True, drop_last=True)
    val_loader = DataLoader(City('city', 'val', train=False), batch_size=8)
    epochs = 30
    warmup = len(train_loader)
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-5, decay_steps=epochs * len(train_loader), warmup_target=2e-3, warmup_steps=warmup)
    model = segformer(64)
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORE),
        metrics=[keras.metrics.MeanIoU(NUM_CLASSES, ignore_class=IGNORE, sparse_y_pred=False, name='miou')],
    )
    model.fit(train_loader, validation_data=val_loader, epochs=epochs, verbose=2)


if __name__ == '__main__':
    main()
