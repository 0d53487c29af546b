# UNet++ (nested UNet) with deep supervision for HAM10000 lesion masks
# Focal Tversky loss: Abraham & Khan 2018
import csv
import os
import random

import cv2
import keras
import numpy as np
from keras import ops
from keras.layers import BatchNormalization, Concatenate, Conv2D, Conv2DTranspose, Input, MaxPooling2D, ReLU
from keras.regularizers import l2

SIZE = 64
EPOCHS = 9
BATCH = 8
LR = 1e-3
IMG_DIR, MASK_DIR = 'ham/HAM_images', 'ham/HAM_masks'

keras.utils.set_random_seed(2024)

rows = list(csv.DictReader(open('ham/HAM_metadata.csv')))


def read_rows(rows):
    x, y = [], []
    for r in rows:
        im = cv2.imread(os.path.join(IMG_DIR, r['image_id'] + '.jpg'))
        im = cv2.cvtColor(im, cv2.COLOR_BGR2RGB)
        im = cv2.resize(im, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        mk = cv2.imread(os.path.join(MASK_DIR, r['image_id'] + '_segmentation.png'), cv2.IMREAD_GRAYSCALE)
        mk = cv2.resize(mk, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
        x.append(im)
        y.append(mk[..., np.newaxis])
    return np.array(x, dtype='float32') / 255., (np.array(y) > 127).astype('float32')


# lesions were photographed more than once -> split by lesion, not by image
lesions = sorted({r['lesion_id'] for r in rows})
random.Random(5).shuffle(lesions)
val_lesions = set(lesions[:len(lesions) // 5])
train_rows = [r for r in rows if r['lesion_id'] not in val_lesions]
val_rows = [r for r in rows if r['lesion_id'] in val_lesions]
x_train, y_train = read_rows(train_rows)
x_val, y_val = read_rows(val_rows)

# offline augmentation: mirrored copies
x_train = np.concatenate([x_train, x_train[:, :, ::-1]])
y_train = np.concatenate([y_train, y_train[:, :, ::-1]])
print('train', x_train.shape, y_train.shape, 'val', x_val.shape, y_val.shape)


def unit(x, filters, name):
    for k in (1, 2):
        x = Conv2D(filters, 3, padding='same', kernel_initializer='he_normal', kernel_regularizer=l2(1e-5),
                   name=f'{name}_conv{k}')(x)
        x = BatchNormalization(momentum=0.9, name=f'{name}_bn{k}')(x)
        x = ReLU(name=f'{name}_relu{k}')(x)
    return x


def up(x, filters, name):
    return Conv2DTranspose(filters, 2, strides=2, padding='same', name=name)(x)


def nested_unet(filters=(6, 12, 24, 40), deep_supervision=True):
    inp = Input((SIZE, SIZE, 3))
    X = {}
    depth = len(filters)
    x = inp
    for i in range(depth):
        X[i, 0] = unit(x if i == 0 else MaxPooling2D()(X[i - 1, 0]), filters[i], f'x{i}0')
    for j in range(1, depth):
        for i in range(depth - j):
            skips = [X[i, k] for k in range(j)]
            merged = Concatenate()(skips + [up(X[i + 1, j - 1], filters[i], f'up{i}{j}')])
            X[i, j] = unit(merged, filters[i], f'x{i}{j}')
    heads = [Conv2D(1, 1, activation='sigmoid', name=f'out{j}')(X[0, j]) for j in range(1, depth)]
    return keras.Model(inp, heads if deep_supervision else heads[-1])


def tversky(y_true, y_pred, alpha=0.7, smooth=1.0):
    tp = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    fn = ops.sum(y_true * (1 - y_pred), axis=(1, 2, 3))
    fp = ops.sum((1 - y_true) * y_pred, axis=(1, 2, 3))
    return (tp + smooth) / (tp + alpha * fn + (1 - alpha) * fp + smooth)


def focal_tversky(y_true, y_pred, gamma=0.75):
    return ops.power(1 - tversky(y_true, y_pred) + 1e-7, gamma)


def dice(y_true, y_pred):
    p = ops.cast(y_pred > 0.5, 'float32')
    num = 2 * ops.sum(y_true * p, axis=(1, 2, 3)) + 1e-6
    return ops.mean(num / (ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(p, axis=(1, 2, 3)) + 1e-6))


model = nested_unet()
model.compile(
    optimizer=keras.optimizers.Adam(LR),
    loss=[focal_tversky, focal_tversky, focal_tversky],
    loss_weights=[0.3, 0.3, 1.0],
    metrics=[[dice], [dice], [dice]],
)
history = model.fit(x_train, [y_train] * 3, validation_data=(x_val, [y_val] * 3), batch_size=BATCH, epochs=EPOCHS,
                    callbacks=[keras.callbacks.ReduceLROnPlateau(monitor='val_out3_dice', mode='max', patience=4)],
                    verbose=2)
