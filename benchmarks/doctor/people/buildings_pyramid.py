#!/usr/bin/env python
# -*- coding: utf-8 -*-
# footprints of buildings: COCO polygons -> masks, ResNet50 (first two stages) + pyramid pooling
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from keras import Model, ops
from keras import backend as K
from keras.applications import ResNet50
from keras.callbacks import Callback, LearningRateScheduler
from keras.layers import (AveragePooling2D, BatchNormalization, Concatenate, Conv2D, Input, ReLU, Resizing,
                          UpSampling2D)
from keras.losses import binary_crossentropy
from keras.optimizers import Adam
from keras.utils import set_random_seed

set_random_seed(99)
SIZE = 80
DATA = Path('buildings')
K.set_epsilon(1e-7)


class CocoMasks:
    def __init__(self, file):
        coco = json.loads(Path(file).read_text())
        self.images = {i['id']: i for i in coco['images']}
        self.polygons = defaultdict(list)
        for a in coco['annotations']:
            self.polygons[a['image_id']].extend(a['segmentation'])
        self.ids = sorted(self.images)

    def mask(self, image_id):
        info = self.images[image_id]
        canvas = Image.new('L', (info['width'], info['height']), 0)
        for polygon in self.polygons[image_id]:
            xy = [(polygon[k], polygon[k + 1]) for k in range(0, len(polygon), 2)]
            ImageDraw.Draw(canvas).polygon(xy, outline=1, fill=1)
        return np.asarray(canvas)

    def image(self, image_id):
        return np.asarray(Image.open(DATA / 'images' / self.images[image_id]['file_name']))


class MyImageDataGenerator:
    """As Keras' old one: random transformations, the same ones for a picture and its mask if the seeds agree."""

    def __init__(self, rotation=False, flip=False, shift=0, rescale=1.0, center=0.0, fill=0):
        self.rotation, self.flip, self.shift = rotation, flip, shift
        self.rescale, self.center, self.fill = rescale, center, fill

    def transform(self, a, rng):
        if self.rotation:
            a = np.rot90(a, rng.integers(4))
        if self.flip and rng.random() < 0.5:
            a = a[:, ::-1]
        if self.shift:
            dy, dx = rng.integers(-self.shift, self.shift + 1, 2)
            s = self.shift
            a = np.pad(a, ((s, s), (s, s), (0, 0)), mode='reflect')[s + dy:s + dy + SIZE, s + dx:s + dx + SIZE]
        return a

    def flow(self, array, batch_size, seed, shuffle=True):
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(array)) if shuffle else np.arange(len(array))
            for start in range(0, len(order) - batch_size + 1, batch_size):
                batch = [self.transform(array[i], rng) for i in order[start:start + batch_size]]
                yield np.stack(batch).astype('float32') * self.rescale - self.center


def pyramid(x, bins=(1, 2, 5)):
    h = x.shape[1]
    branches = [x]
    for b in bins:
        p = AveragePooling2D(h // b)(x)
        p = Conv2D(16, 1, use_bias=False)(p)
        p = ReLU()(BatchNormalization(momentum=0.8)(p))
        branches.append(Resizing(h, h, interpolation='bilinear')(p))
    return Concatenate()(branches)


def build(backbone_weights=None, trainable=True):
    inputs = Input((SIZE, SIZE, 3))
    backbone = ResNet50(include_top=False, weights=backbone_weights, input_tensor=inputs)
    deep = backbone.get_layer('conv2_block3_out').output      # stride 4
    shallow = backbone.get_layer('conv1_relu').output         # stride 2
    encoder = Model(inputs, [deep, shallow])
    for layer in encoder.layers:
        layer.trainable = trainable
        if isinstance(layer, BatchNormalization):
            layer.momentum = 0.8   # few steps an epoch
    deep, shallow = encoder.outputs
    x = Conv2D(32, 3, padding='same', activation='relu')(pyramid(deep))
    x = UpSampling2D(2, interpolation='bilinear')(x)
    x = Concatenate()([x, Conv2D(16, 1, activation='relu')(shallow)])
    x = Conv2D(24, 3, padding='same', activation='relu')(x)
    x = UpSampling2D(2, interpolation='bilinear')(x)
    x = Conv2D(16, 3, padding='same', activation='relu')(x)
    return Model(inputs, Conv2D(1, 1, activation='sigmoid', name='building')(x))


def jaccard_distance(y_true, y_pred, smooth=10.):
    inter = ops.sum(y_true * y_pred)
    union = ops.sum(y_true) + ops.sum(y_pred) - inter
    return 1. - (inter + smooth) / (union + smooth)


def bce_jaccard(y_true, y_pred):
    return ops.mean(binary_crossentropy(y_true, y_pred)) + jaccard_distance(y_true, y_pred)


def iou(y_true, y_pred):
    return 1. - jaccard_distance(y_true, ops.round(y_pred), smooth=1e-6)


coco = CocoMasks(DATA / 'annotation.json')
X = np.stack([coco.image(i) for i in coco.ids])
Y = np.stack([coco.mask(i) for i in coco.ids])[..., None]
X_train, X_val, Y_train, Y_val = X[16:], X[:16], Y[16:], Y[:16]

geometry = dict(rotation=True, flip=True, shift=6)
image_gen = MyImageDataGenerator(**geometry, rescale=1 / 127.5, center=1.0)
mask_gen = MyImageDataGenerator(**geometry)
train_gen = ((x, y) for x, y in zip(image_gen.flow(X_train, 8, seed=5), mask_gen.flow(Y_train, 8, seed=5)))
validation = (X_val / 127.5 - 1.0, Y_val.astype('float32'))

model = build()
model.compile(optimizer=Adam(1e-3), loss=bce_jaccard, metrics=[iou])
model.fit(train_gen, steps_per_epoch=len(X_train) // 8, epochs=20, validation_data=validation, verbose=2,
          callbacks=[LearningRateScheduler(lambda epoch: 1e-3 * 0.92 ** epoch)])
