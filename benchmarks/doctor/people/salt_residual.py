"""Salt deposits: residual U-Net on 101 x 101 images, with the depth as second input channel."""
import csv
from pathlib import Path

import cv2
import keras
import numpy as np
from keras import ops
from keras.layers import (Activation, Add, BatchNormalization, Concatenate, Conv2D, Conv2DTranspose, Cropping2D,
                          Dropout, Input, MaxPooling2D)
from PIL import Image

keras.utils.set_random_seed(1234)
ORIG, SIZE = 101, 64
ROOT = Path('salt')

with open(ROOT / 'depths.csv') as f:
    depths = {row['id']: float(row['z']) for row in csv.DictReader(f)}


def upsample_or_not(img, order):
    return cv2.resize(img, (SIZE, SIZE), interpolation=cv2.INTER_AREA if order else cv2.INTER_NEAREST)


def load_one(name):
    img = np.array(Image.open(ROOT / 'train' / 'images' / f'{name}.png').convert('L')) / 255.0
    msk = np.array(Image.open(ROOT / 'train' / 'masks' / f'{name}.png')).astype('float32') / 65535
    return upsample_or_not(img, 1), upsample_or_not(msk, 0)


ids = sorted(p.stem for p in (ROOT / 'train' / 'images').glob('*.png'))
images, masks = (np.stack(part)[..., None].astype('float32') for part in zip(*map(load_one, ids)))
z = np.array([depths[name] for name in ids], 'float32') / max(depths.values())
images = np.concatenate([images, np.broadcast_to(z[:, None, None, None], images.shape)], -1)

# stratified by how much salt there is: every fifth in the order of coverage
by_coverage = np.argsort(masks.mean((1, 2, 3)))
valid = np.zeros(len(ids), bool)
valid[by_coverage[2::5]] = True
x_train, y_train = images[~valid], masks[~valid]
x_valid, y_valid = images[valid], masks[valid]
# flip augmentation
x_train = np.append(x_train, [np.fliplr(x) for x in x_train], axis=0)
y_train = np.append(y_train, [np.fliplr(y) for y in y_train], axis=0)
print(x_train.shape, y_train.shape, x_valid.shape, y_train.mean())


def bn_act(x):
    return Activation('relu')(BatchNormalization(momentum=0.9)(x))


def residual_block(block_input, num_filters):
    x = bn_act(block_input)
    x = Conv2D(num_filters, 3, padding='same')(x)
    x = bn_act(x)
    x = Conv2D(num_filters, 3, padding='same')(x)
    return Add()([x, block_input])


def build_model(input_layer, start_neurons, dropout=0.25):
    x, skips = input_layer, []
    for k in range(3):
        x = Conv2D(start_neurons * 2 ** k, 3, padding='same')(x)
        x = residual_block(x, start_neurons * 2 ** k)
        x = Activation('relu')(x)
        skips.append(x)
        x = Dropout(dropout)(MaxPooling2D()(x))
    x = residual_block(Conv2D(start_neurons * 8, 3, padding='same')(x), start_neurons * 8)
    for k in (2, 1, 0):
        x = Conv2DTranspose(start_neurons * 2 ** k, 3, strides=2, padding='same')(x)
        x = Dropout(dropout)(Concatenate()([x, skips[k]]))
        x = Conv2D(start_neurons * 2 ** k, 3, padding='same')(x)
        x = Activation('relu')(residual_block(x, start_neurons * 2 ** k))
    return Conv2D(1, 1, padding='same', activation=None)(x)


def lovasz_hinge(y_true, y_pred):
    """Per image, on logits: errors sorted, weighted by the slope of the Jaccard index."""
    labels = ops.reshape(y_true, (ops.shape(y_true)[0], SIZE * SIZE))
    logits = ops.reshape(y_pred, (ops.shape(y_true)[0], SIZE * SIZE))
    errors = 1.0 - logits * (2.0 * labels - 1.0)
    order = ops.argsort(-errors, axis=1)
    errors = ops.take_along_axis(errors, order, axis=1)
    truth = ops.take_along_axis(labels, order, axis=1)
    total = ops.sum(truth, axis=1, keepdims=True)
    inter = total - ops.cumsum(truth, axis=1)
    union = total + ops.cumsum(1.0 - truth, axis=1)
    jaccard = 1.0 - inter / ops.maximum(union, 1e-6)
    slope = ops.concatenate([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], axis=1)
    return ops.mean(ops.sum((ops.elu(errors) + 1.0) * ops.stop_gradient(slope), axis=1))


def bce_logits(y_true, y_pred):
    return keras.losses.binary_crossentropy(y_true, y_pred, from_logits=True)


def my_iou_metric(y_true, y_pred):
    p = ops.cast(y_pred > 0.0, 'float32')
    inter = ops.sum(y_true * p, axis=(1, 2, 3))
    union = ops.sum(ops.maximum(y_true, p), axis=(1, 2, 3))
    return ops.mean((inter + 1e-6) / (union + 1e-6))


inp = Input((SIZE, SIZE, 2))
model = keras.Model(inp, build_model(inp, 8))
model.compile(loss=lambda t, p: 0.5 * lovasz_hinge(t, p) + bce_logits(t, p),
              optimizer=keras.optimizers.Adam(0.002), metrics=[my_iou_metric])
model.summary(print_fn=lambda s, **_: None)
history = model.fit(x_train, y_train, validation_data=(x_valid, y_valid), epochs=25, batch_size=16,
                    callbacks=[keras.callbacks.ReduceLROnPlateau(monitor='val_my_iou_metric', mode='max', factor=0.5,
                                                                 patience=5, min_lr=1e-4)])
