#!/usr/bin/env python3
# New buildings between two dates. Siamese U-Net (shared encoder, absolute differences), tf.data with py_function + cv2.
from pathlib import Path
import datetime
import random

import cv2
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras.layers import *

ROOT = Path('levir_cd')
SIZE = 64
BATCH = 8
EPOCHS = 16
LR = 1e-3
POS_WEIGHT = 3.0
MEAN = np.array([0.42, 0.44, 0.36], np.float32)
STD = np.array([0.17, 0.14, 0.16], np.float32)


def read_rgb(path):
    img = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    return (img.astype(np.float32) / 255 - MEAN) / STD


def read_label(path):
    label = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    return (label > 127).astype(np.float32)[..., None]


def load(name, split, train):
    name, split = name.numpy().decode(), split.numpy().decode()
    a = read_rgb(str(ROOT / split / 'A' / name))
    b = read_rgb(str(ROOT / split / 'B' / name))
    label = read_label(str(ROOT / split / 'label' / name))
    if bool(train):
        # the same for all three
        code = random.choice([None, 0, 1, -1])
        if code is not None:
            a, b, label = cv2.flip(a, code), cv2.flip(b, code), cv2.flip(label, code)[..., None]
        turns = random.randrange(4)
        a, b, label = np.rot90(a, turns), np.rot90(b, turns), np.rot90(label, turns)
        a, b = a + np.random.uniform(-.15, .15), b + np.random.uniform(-.15, .15)
    return np.float32(a), np.float32(b), np.float32(label)


def tf_load(split, train):
    def fn(name):
        a, b, label = tf.py_function(load, [name, split, train], [tf.float32, tf.float32, tf.float32])
        a.set_shape((SIZE, SIZE, 3))
        b.set_shape((SIZE, SIZE, 3))
        label.set_shape((SIZE, SIZE, 1))
        return {'before': a, 'after': b}, label
    return fn


def get_dataset(split, train=False):
    names = sorted(p.name for p in (ROOT / split / 'label').iterdir())
    ds = tf.data.Dataset.from_tensor_slices(names)
    if train:
        ds = ds.shuffle(len(names), reshuffle_each_iteration=True)
    ds = ds.map(tf_load(split, train), num_parallel_calls=2)
    return ds.batch(BATCH).prefetch(2)


def conv(x, f, name=None):
    x = Conv2D(f, 3, padding='same', kernel_initializer='he_normal', use_bias=False)(x)
    x = BatchNormalization(momentum=0.9)(x)
    return Activation('relu', name=name)(x)


def shared_encoder():
    inp = Input((SIZE, SIZE, 3))
    e1 = conv(conv(inp, 12), 12)
    e2 = conv(conv(MaxPool2D()(e1), 24), 24)
    e3 = conv(conv(MaxPool2D()(e2), 48), 48)
    return keras.Model(inp, [e1, e2, e3], name='shared')


class AbsDiff(Layer):
    def call(self, pair):
        return tf.abs(pair[0] - pair[1])


def siamese():
    before, after = Input((SIZE, SIZE, 3), name='before'), Input((SIZE, SIZE, 3), name='after')
    enc = shared_encoder()
    diffs = [AbsDiff()([p, q]) for p, q in zip(enc(before), enc(after))]
    d = conv(diffs[2], 48)
    d = conv(Concatenate()([UpSampling2D()(d), diffs[1]]), 24)
    d = conv(Concatenate()([UpSampling2D()(d), diffs[0]]), 12)
    logits = Conv2D(1, 1, name='logits')(d)
    return keras.Model({'before': before, 'after': after}, logits)


def loss_fn(y_true, logits):
    ce = tf.nn.weighted_cross_entropy_with_logits(y_true, logits, POS_WEIGHT)
    p = tf.sigmoid(logits)
    dice = 1 - (2 * tf.reduce_sum(p * y_true) + 1) / (tf.reduce_sum(p) + tf.reduce_sum(y_true) + 1)
    return tf.reduce_mean(ce) + dice


if __name__ == '__main__':
    random.seed(11)
    keras.utils.set_random_seed(11)
    train_ds, val_ds = get_dataset('train', train=True), get_dataset('val')

    model = siamese()
    model.compile(
        optimizer=keras.optimizers.Adam(LR),
        loss=loss_fn,
        metrics=[keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.0, name='iou'),
                 keras.metrics.Recall(thresholds=0.0, name='recall')])
    print(datetime.datetime.now().strftime('%H:%M'), 'parameters:', model.count_params())
    history = model.fit(
        train_ds, epochs=EPOCHS, validation_data=val_ds, verbose=2,
        callbacks=[keras.callbacks.ReduceLROnPlateau(monitor='val_iou', mode='max', factor=0.5, patience=4)])
    best = int(np.argmax(history.history['val_iou']))
    print('best epoch', best, {k: round(float(v[best]), 3) for k, v in history.history.items()})

    prob = tf.sigmoid(model.predict(val_ds, verbose=0)).numpy()
    out = Path('change_maps')
    out.mkdir(exist_ok=True)
    for k, p in enumerate(prob):
        cv2.imwrite(str(out / f'{k}.png'), np.uint8(255 * p[..., 0]))
    model.save('siamese.keras')
