#!/usr/bin/env python
# coding: utf-8

# # Coffee beans: good / broken / black
# U-Net on the VIA polygons. Keras 3 on JAX, because the TPU image of the notebook has nothing else.

# In[1]:


import os

os.environ["KERAS_BACKEND"] = "jax"

import json
import math

import cv2
import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(7)
print(keras.__version__, keras.backend.backend())


# In[2]:


BASE = "coffee_beans"
CLASSES = {"good": 1, "broken": 2, "black": 3}
NUM_CLASSES = len(CLASSES) + 1
H, W = 48, 64
EPOCHS = 13
BATCH = 5
LR = 4e-3


# In[3]:


def polygons_to_mask(record, h, w):
    mask = np.zeros((h, w), np.uint8)
    for region in record["regions"]:
        shape = region["shape_attributes"]
        pts = np.stack([shape["all_points_x"], shape["all_points_y"]], axis=1)
        label = CLASSES.get(region["region_attributes"]["bean"], 0)
        cv2.fillPoly(mask, [np.round(pts).astype(np.int32)], label)
    return mask


def load_split(split):
    with open(f"{BASE}/{split}/via_region_data.json") as f:
        records = json.load(f)
    images, masks, names = [], [], []
    for record in records.values():
        img = cv2.imread(f"{BASE}/{split}/{record['filename']}")
        img = cv2.cvtColor(img, cv2.COLOR_BGR2RGB)
        mask = polygons_to_mask(record, img.shape[0], img.shape[1])
        images.append(cv2.resize(img, (W, H)))
        masks.append(cv2.resize(mask, (W, H), interpolation=cv2.INTER_NEAREST))
        names.append(record["filename"])
    return np.array(images), np.array(masks), names


train_x, train_y, train_names = load_split("train")
val_x, val_y, val_names = load_split("val")
train_x = train_x.astype("float32") / 255.0
val_x = val_x.astype("float32") / 255.0
print(train_x.shape, train_y.shape, val_x.shape, val_y.shape)
print("share of every class:", np.bincount(train_y.ravel(), minlength=NUM_CLASSES) / train_y.size)


# In[4]:


def random_flip(img, mask, rng):
    if rng.random() < 0.5:
        img, mask = img[:, ::-1], mask[:, ::-1]
    if rng.random() < 0.5:
        img, mask = img[::-1], mask[::-1]
    return img, mask


def random_rotate(img, mask, rng, limit=20):
    m = cv2.getRotationMatrix2D((W / 2, H / 2), rng.uniform(-limit, limit), rng.uniform(0.95, 1.2))
    img = cv2.warpAffine(img, m, (W, H), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    mask = cv2.warpAffine(mask, m, (W, H), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    return img, mask


def random_light(img, rng):
    return np.clip(img * rng.uniform(0.85, 1.15), 0, 1)


class BeanSequence(keras.utils.PyDataset):
    def __init__(self, x, y, augment=False, shuffle=False, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x, y
        self.augment, self.shuffle = augment, shuffle
        self.rng = np.random.default_rng(7)
        self.order = np.arange(len(x))
        self.on_epoch_end()

    def __len__(self):
        return math.ceil(len(self.x) / BATCH)

    def on_epoch_end(self):
        if self.shuffle:
            self.rng.shuffle(self.order)

    def __getitem__(self, idx):
        imgs, masks = [], []
        for k in self.order[idx * BATCH:(idx + 1) * BATCH]:
            img, mask = self.x[k], self.y[k]
            if self.augment:
                img, mask = random_flip(img, mask, self.rng)
                img, mask = random_rotate(np.ascontiguousarray(img), np.ascontiguousarray(mask), self.rng)
                img = random_light(img, self.rng)
            imgs.append(img)
            masks.append(mask)
        onehot = keras.utils.to_categorical(np.stack(masks), NUM_CLASSES)
        return np.stack(imgs).astype("float32"), onehot


train_seq = BeanSequence(train_x, train_y, augment=True, shuffle=True)
val_seq = BeanSequence(val_x, val_y)


# In[5]:


def conv_bn(x, n):
    x = layers.Conv2D(n, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    return layers.Activation("relu")(x)


def make_unet():
    inp = keras.Input((H, W, 3))
    x, skips = inp, []
    for n in (12, 20, 28):
        x = conv_bn(x, n)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = conv_bn(x, 32)
    for n, skip in zip((28, 20, 12), skips[::-1]):
        x = layers.UpSampling2D()(x)
        x = layers.Concatenate()([x, skip])
        x = conv_bn(x, n)
    out = layers.Conv2D(NUM_CLASSES, 1, activation="softmax")(x)
    return keras.Model(inp, out)


# In[6]:


def soft_dice(y_true, y_pred):
    inter = ops.sum(y_true * y_pred, axis=(0, 1, 2))
    total = ops.sum(y_true, axis=(0, 1, 2)) + ops.sum(y_pred, axis=(0, 1, 2))
    return ops.mean((2 * inter + 1.0) / (total + 1.0))


cce = keras.losses.CategoricalCrossentropy()


def total_loss(y_true, y_pred):
    return cce(y_true, y_pred) + 0.5 * (1 - soft_dice(y_true, y_pred))


model = make_unet()
schedule = keras.optimizers.schedules.CosineDecay(LR, EPOCHS * len(train_seq), alpha=0.02)
model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=schedule),
    loss=total_loss,
    metrics=["accuracy", keras.metrics.OneHotMeanIoU(num_classes=NUM_CLASSES, name="mean_iou")],
)


# In[7]:


history = model.fit(train_seq, validation_data=val_seq, epochs=EPOCHS, verbose=2)


# In[8]:


pred = model.predict(val_x, batch_size=BATCH, verbose=0).argmax(-1)
for name, c in CLASSES.items():
    a, b = pred == c, val_y == c
    print(f"{name:8s} IoU {(a & b).sum() / max(1, (a | b).sum()):.3f}")
