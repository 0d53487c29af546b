#!/usr/bin/env python
# coding: utf-8

# # Thyroid nodules in ultrasound: feature pyramid network, Keras 3 on PyTorch

# In[1]:

import os
os.environ['KERAS_BACKEND'] = 'torch'

import random
from glob import glob

import cv2
import numpy as np
import tifffile
import torch
import keras
from keras import ops
from keras.layers import (Activation, Add, BatchNormalization, Concatenate, Conv2D, Input, ReLU, UpSampling2D)

keras.utils.set_random_seed(11)
DIM = 48
BATCH = 8
EPOCHS = 16


# In[2]: files. Every frame belongs to another patient, so a plain split is fine

frames = sorted(glob('thyroid/images/*.tif'))
nodules = [f.replace('images', 'masks') for f in frames]

n_test = 20
train_frames, train_nodules = frames[n_test:], nodules[n_test:]
test_frames, test_nodules = frames[:n_test], nodules[:n_test]
print(len(train_frames), 'frames to learn from,', len(test_frames), 'to test')


# In[3]:

def read_frame(path):
    frame = tifffile.imread(path).astype('float32')
    frame = cv2.resize(frame, (DIM, DIM), interpolation=cv2.INTER_AREA)
    return frame[..., None] / 255.


def read_nodule(path):
    nodule = tifffile.imread(path)
    nodule = cv2.resize(nodule, (DIM, DIM), interpolation=cv2.INTER_NEAREST)
    return (nodule > 127).astype('float32')[..., None]


class ThyroidFrames(torch.utils.data.Dataset):
    def __init__(self, frames, nodules, train):
        self.frames, self.nodules, self.train = frames, nodules, train

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, i):
        x = read_frame(self.frames[i])
        y = read_nodule(self.nodules[i])
        if self.train and random.random() < 0.5:
            x = x[:, ::-1].copy()
            y = y[:, ::-1].copy()
        return torch.from_numpy(x), torch.from_numpy(y)


train_loader = torch.utils.data.DataLoader(ThyroidFrames(train_frames, train_nodules, True),
                                           batch_size=BATCH, shuffle=True, drop_last=True)
test_loader = torch.utils.data.DataLoader(ThyroidFrames(test_frames, test_nodules, False), batch_size=BATCH)


# In[4]: the network

def conv_bn(x, n, strides=1):
    x = Conv2D(n, 3, strides=strides, padding='same', use_bias=False)(x)
    x = BatchNormalization(momentum=0.9)(x)
    return ReLU()(x)


def fpn(n=16):
    inp = Input((DIM, DIM, 1))
    c1 = conv_bn(inp, 8)
    c2 = conv_bn(c1, 12, strides=2)
    c3 = conv_bn(c2, 24, strides=2)
    c4 = conv_bn(c3, 32, strides=2)
    # top down path with lateral 1x1 convolutions
    p4 = Conv2D(n, 1)(c4)
    p3 = Add()([UpSampling2D()(p4), Conv2D(n, 1)(c3)])
    p2 = Add()([UpSampling2D()(p3), Conv2D(n, 1)(c2)])
    pyramid = Concatenate()([UpSampling2D(4, interpolation='bilinear')(p4),
                             UpSampling2D(2, interpolation='bilinear')(p3), p2])
    x = conv_bn(pyramid, n)
    x = Concatenate()([UpSampling2D(interpolation='bilinear')(x), c1])
    x = conv_bn(x, 8)
    x = Conv2D(1, 1)(x)
    out = Activation('sigmoid', name='nodule')(x)
    return keras.Model(inp, out)


# In[5]: cross entropy + dice. smooth = 1 because there are frames without any nodule

def dice_coef(y_true, y_pred, smooth=1.):
    both = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    either = ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3))
    return (2. * both + smooth) / (either + smooth)


def bce_dice(y_true, y_pred):
    bce = ops.mean(keras.losses.binary_crossentropy(y_true, y_pred), axis=(1, 2))
    return bce + 1. - dice_coef(y_true, y_pred)


model = fpn()
model.compile(optimizer=keras.optimizers.Adam(4e-3), loss=bce_dice, metrics=[dice_coef])
history = model.fit(train_loader, validation_data=test_loader, epochs=EPOCHS, verbose=2)


# In[6]: how good is it really?

found = model.predict(np.stack([read_frame(f) for f in test_frames]), verbose=0) > 0.5
truth = np.stack([cv2.resize(tifffile.imread(f), (DIM, DIM), interpolation=cv2.INTER_NEAREST) > 0 for f in test_nodules])
found = found[..., 0]
sick = truth.any(axis=(1, 2))
dice = 2 * (found & truth).sum(axis=(1, 2)) / (found.sum(axis=(1, 2)) + truth.sum(axis=(1, 2)) + 1e-9)
print('dice of frames with a nodule %.3f, painted in healthy frames %.4f' % (dice[sick].mean(), found[~sick].mean()))
