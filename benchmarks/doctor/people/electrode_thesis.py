#!/usr/bin/env python3
"""Phase segmentation of lithium-ion cathodes from X-ray tomography (chapter 4 of the thesis).

    python electrode_thesis.py --epochs 10 --loss both

Phases: 0 pore, 1 active particle, 2 binder. Samples 1 to 8 are for training, 9 and 10 for validation.
"""
import argparse
import glob

import keras
import numpy as np
import tifffile
from keras import layers, ops

DATA_DIR = 'electrode'
PATCH = 64
N_CLASSES = 3
TRAIN_SAMPLES = [1, 2, 3, 4, 5, 6, 7, 8]
VAL_SAMPLES = [9, 10]
MAX_GREY = 65535.0

parser = argparse.ArgumentParser()
parser.add_argument('--epochs', type=int, default=10)
parser.add_argument('--batch', type=int, default=8)
parser.add_argument('--steps', type=int, default=20)
parser.add_argument('--lr', type=float, default=2e-3)
parser.add_argument('--l2', type=float, default=1e-6)
parser.add_argument('--act', default='leaky_relu')
parser.add_argument('--loss', choices=['ce', 'dice', 'both'], default='both')
parser.add_argument('--seed', type=int, default=7)
args = parser.parse_args()
keras.utils.set_random_seed(args.seed)


def read_samples(numbers):
    greys, phases = [], []
    for number in numbers:
        raw = tifffile.imread(f'{DATA_DIR}/raw/sample_{number:02d}.tif')
        label = tifffile.imread(f'{DATA_DIR}/labels/sample_{number:02d}.tif')
        greys.append(raw.astype('float32') / MAX_GREY)
        phases.append(label)
    return np.concatenate(greys), np.concatenate(phases)


def augment(grey, phase):
    """Tomograms have no up and no down."""
    turns = np.random.randint(4)
    grey, phase = np.rot90(grey, turns), np.rot90(phase, turns)
    if np.random.rand() < 0.5:
        grey, phase = np.fliplr(grey), np.fliplr(phase)
    return grey, phase


def one_hot(phase):
    return np.eye(N_CLASSES, dtype='float32')[phase]


class RandomPatches(keras.utils.PyDataset):
    def __init__(self, grey, phase, batch, steps, **kw):
        super().__init__(**kw)
        self.grey, self.phase = grey, phase
        self.batch, self.steps = batch, steps

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        x = np.zeros((self.batch, PATCH, PATCH, 1), 'float32')
        y = np.zeros((self.batch, PATCH, PATCH, N_CLASSES), 'float32')
        for k in range(self.batch):
            i = np.random.randint(len(self.grey))
            top, left = np.random.randint(0, self.grey.shape[1] - PATCH + 1, 2)
            grey = self.grey[i, top:top + PATCH, left:left + PATCH]
            phase = self.phase[i, top:top + PATCH, left:left + PATCH]
            grey, phase = augment(grey, phase)
            x[k, :, :, 0] = grey
            y[k] = one_hot(phase)
        return x, y


def tiles(grey, phase):
    """All tiles without overlap, for validation."""
    x, y = [], []
    for i in range(len(grey)):
        for top in range(0, grey.shape[1], PATCH):
            for left in range(0, grey.shape[2], PATCH):
                x.append(grey[i, top:top + PATCH, left:left + PATCH, None])
                y.append(phase[i, top:top + PATCH, left:left + PATCH])
    return np.array(x), np.array(y)


train_grey, train_phase = read_samples(TRAIN_SAMPLES)
val_grey, val_phase = read_samples(VAL_SAMPLES)
x_val, y_val = tiles(val_grey, val_phase)
share = np.bincount(train_phase.ravel(), minlength=N_CLASSES) / train_phase.size
weights = 1.0 / np.sqrt(share)
weights = (weights / weights.mean()).astype('float32')
print('share of the phases', share.round(3), 'weights', weights.round(2))


def conv(x, n):
    return layers.Conv2D(n, 3, padding='same', activation=args.act, kernel_initializer='he_normal',
                         kernel_regularizer=keras.regularizers.L2(args.l2))(x)


def build():
    x = inputs = keras.Input((PATCH, PATCH, 1))
    skips = []
    for n in (12, 24, 32):
        x = conv(conv(x, n), n)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = conv(conv(x, 48), 48)
    for n in (32, 24, 12):
        x = layers.UpSampling2D(interpolation='bilinear')(x)
        x = layers.Concatenate()([x, skips.pop()])
        x = conv(conv(x, n), n)
    outputs = layers.Conv2D(N_CLASSES, 1, activation='softmax')(x)
    return keras.Model(inputs, outputs)


def cross_entropy(y_true, y_pred):
    p = ops.clip(y_pred, 1e-7, 1.0)
    return -ops.mean(ops.sum(weights * y_true * ops.log(p), axis=-1))


def dice_loss(y_true, y_pred):
    inter = ops.sum(y_true * y_pred, axis=(0, 1, 2))
    total = ops.sum(y_true + y_pred, axis=(0, 1, 2))
    return 1.0 - ops.mean((2.0 * inter + 1.0) / (total + 1.0))


def loss(y_true, y_pred):
    if args.loss == 'ce':
        return cross_entropy(y_true, y_pred)
    if args.loss == 'dice':
        return dice_loss(y_true, y_pred)
    return cross_entropy(y_true, y_pred) + dice_loss(y_true, y_pred)


if __name__ == '__main__':
    model = build()
    model.compile(keras.optimizers.Adam(args.lr), loss=loss,
                  metrics=[keras.metrics.OneHotMeanIoU(N_CLASSES, name='miou')])
    model.fit(RandomPatches(train_grey, train_phase, args.batch, args.steps), epochs=args.epochs,
              validation_data=(x_val, one_hot(y_val)), verbose=2)

    found = model.predict(x_val, verbose=0).argmax(-1)
    _, truth = tiles(val_grey, np.concatenate([tifffile.imread(f'{DATA_DIR}/labels/sample_{k:02d}.tif') for k in VAL_SAMPLES]))
    for c, phase in enumerate(['pore', 'particle', 'binder']):
        print(phase, 'dice %.3f' % (2 * ((found == c) & (truth == c)).sum() / ((found == c).sum() + (truth == c).sum())))
