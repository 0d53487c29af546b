# %% [markdown]
# # Ships from space: U-Net baseline
# balanced sampling, own augmentation, bce + dice, RLE straight from the csv

# %%
import csv
import os
import random
from collections import Counter

import cv2
import numpy as np
import keras
from keras import layers, ops
from keras.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from keras.optimizers import Adam

BATCH_SIZE = 8
EDGE_CROP = 8
NB_EPOCHS = 30
GAUSSIAN_NOISE = 0.05
UPSAMPLE_MODE = 'DECONV'
NET_SCALING = None
IMG_SCALING = (1, 1)
VALID_IMG_COUNT = 18
ship_dir = 'airbus'
train_image_dir = os.path.join(ship_dir, 'train_v2')
np.random.seed(7)
random.seed(7)


# %%
def rle_decode(mask_rle, shape=(96, 96)):
    numbers = np.array(mask_rle.split(), dtype=int)
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    img = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    for lo, length in zip(starts, lengths):
        img[lo:lo + length] = 1
    return img.reshape(shape).T  # runs go down the columns


def masks_as_image(in_mask_list):
    all_masks = np.zeros((96, 96), dtype=np.uint8)
    for mask in in_mask_list:
        if mask:
            all_masks |= rle_decode(mask)
    return np.expand_dims(all_masks, -1)


masks = {}
with open(os.path.join(ship_dir, 'train_ship_segmentations_v2.csv')) as f:
    for row in csv.DictReader(f):
        masks.setdefault(row['ImageId'], []).append(row['EncodedPixels'])
ships = {k: sum(bool(v) for v in rles) for k, rles in masks.items()}
unique_img_ids = np.random.permutation(sorted(masks))
valid_ids, train_ids = unique_img_ids[:VALID_IMG_COUNT], unique_img_ids[VALID_IMG_COUNT:]
print(len(train_ids), 'training', len(valid_ids), 'validation;', Counter(ships.values()))


# %%
def make_image_gen(ids, batch_size=BATCH_SIZE):
    all_batches = [(i, masks[i]) for i in ids]
    out_rgb, out_mask = [], []
    while True:
        random.shuffle(all_batches)
        for c_img_id, c_masks in all_batches:
            c_img = cv2.imread(os.path.join(train_image_dir, c_img_id))[:, :, ::-1]
            c_mask = masks_as_image(c_masks)
            out_rgb.append(c_img[::IMG_SCALING[0], ::IMG_SCALING[1]])
            out_mask.append(c_mask[::IMG_SCALING[0], ::IMG_SCALING[1]])
            if len(out_rgb) >= batch_size:
                yield np.stack(out_rgb, 0) / 255.0, np.stack(out_mask, 0).astype('float32')
                out_rgb, out_mask = [], []


def create_aug_gen(in_gen):
    for in_x, in_y in in_gen:
        x, y = in_x.copy(), in_y.copy()
        for i in range(len(x)):
            k = np.random.randint(4)
            x[i], y[i] = np.rot90(x[i], k), np.rot90(y[i], k)
            if np.random.rand() < 0.5:
                x[i], y[i] = x[i][:, ::-1], y[i][:, ::-1]
        x = np.clip(x * np.random.uniform(0.8, 1.2), 0, 1)
        yield x.astype('float32'), y


valid_x, valid_y = next(make_image_gen(valid_ids, VALID_IMG_COUNT))
print('x', valid_x.shape, valid_x.min(), valid_x.max(), 'y', valid_y.shape, valid_y.mean())


# %%
def upsample(filters, kernel_size, strides, padding):
    if UPSAMPLE_MODE == 'DECONV':
        return layers.Conv2DTranspose(filters, kernel_size, strides=strides, padding=padding)
    return layers.UpSampling2D(strides)


input_img = layers.Input((96, 96, 3), name='RGB_Input')
x = layers.GaussianNoise(GAUSSIAN_NOISE)(input_img)
x = layers.BatchNormalization(momentum=0.9)(x)
skips = []
for nf in (8, 16, 32):
    x = layers.Conv2D(nf, (3, 3), activation='relu', padding='same')(x)
    x = layers.Conv2D(nf, (3, 3), activation='relu', padding='same')(x)
    skips.append(x)
    x = layers.MaxPooling2D((2, 2))(x)
x = layers.Conv2D(64, (3, 3), activation='relu', padding='same')(x)
x = layers.Conv2D(64, (3, 3), activation='relu', padding='same')(x)
for nf, skip in zip((32, 16, 8), skips[::-1]):
    x = upsample(nf, (2, 2), strides=(2, 2), padding='same')(x)
    x = layers.concatenate([x, skip])
    x = layers.Conv2D(nf, (3, 3), activation='relu', padding='same')(x)
    x = layers.Conv2D(nf, (3, 3), activation='relu', padding='same')(x)
d = layers.Conv2D(1, (1, 1), activation='sigmoid')(x)
seg_model = keras.Model(inputs=[input_img], outputs=[d])


# %%
def dice_coef(y_true, y_pred, smooth=1):
    intersection = ops.sum(y_true * y_pred, axis=[1, 2, 3])
    union = ops.sum(y_true, axis=[1, 2, 3]) + ops.sum(y_pred, axis=[1, 2, 3])
    return ops.mean((2. * intersection + smooth) / (union + smooth), axis=0)


def dice_p_bce(in_gt, in_pred):
    bce = ops.mean(keras.losses.binary_crossentropy(in_gt, in_pred))
    return 0.5 * bce + 1 - dice_coef(in_gt, in_pred)


def true_positive_rate(y_true, y_pred):
    found = ops.sum(y_true * ops.round(y_pred))
    return found / (ops.sum(y_true) + 1e-6)


seg_model.compile(optimizer=Adam(1e-3), loss=dice_p_bce,
                  metrics=[dice_coef, 'binary_accuracy', true_positive_rate])
step_count = len(train_ids) // BATCH_SIZE
aug_gen = create_aug_gen(make_image_gen(train_ids))
callbacks_list = [
    ModelCheckpoint('seg_model_weights.best.weights.h5', monitor='val_dice_coef', save_best_only=True, mode='max',
                    save_weights_only=True),
    ReduceLROnPlateau(monitor='val_dice_coef', factor=0.5, patience=6, mode='max', min_delta=1e-4, min_lr=1e-5),
    EarlyStopping(monitor='val_dice_coef', mode='max', patience=20),
]
loss_history = seg_model.fit(aug_gen, steps_per_epoch=step_count, epochs=NB_EPOCHS,
                             validation_data=(valid_x, valid_y), callbacks=callbacks_list)
