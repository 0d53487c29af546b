# coding: utf-8
# Cloud detection, 4 bands (blue/green/red/nir), 16 bit.
# step 1: patches -> TFRecord (once), step 2: train a small residual network, step 3: write predictions of the validation patches
import csv
import os
import sys

import numpy as np
from PIL import Image
import tensorflow as tf
from tensorflow.keras import Model
from tensorflow.keras.callbacks import CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from tensorflow.keras.layers import (Activation, Add, BatchNormalization, Concatenate, Conv2D, Conv2DTranspose, Dropout,
                                     Input, MaxPooling2D)
from tensorflow.keras.optimizers import Adam

DATA = 'cloud38'
RECORDS = 'records'
BANDS = ('red', 'green', 'blue', 'nir')
SIDE = 64
N_BANDS = len(BANDS)
FULL_SCALE = 65535.0
BATCH = 8
EPOCHS = 16
LR = 1e-3
VAL_SHARE = 0.2
AUTO = tf.data.AUTOTUNE


# ---------------------------------------------------------------- records
def _bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def read_patch(name):
    bands = [np.array(Image.open(f'{DATA}/train_{b}/{b}_{name}.PNG')) for b in BANDS]
    gt = np.array(Image.open(f'{DATA}/train_gt/gt_{name}.PNG'))
    return np.stack(bands, axis=-1).astype(np.uint16), gt.astype(np.uint8)


def write_records(names, path):
    with tf.io.TFRecordWriter(path) as writer:
        for name in names:
            image, gt = read_patch(name)
            feature = {'name': _bytes(name.encode()), 'image': _bytes(image.tobytes()), 'gt': _bytes(gt.tobytes())}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    print(path, len(names), 'patches')


# ---------------------------------------------------------------- input pipeline
FEATURES = {key: tf.io.FixedLenFeature([], tf.string) for key in ('name', 'image', 'gt')}


def parse(record):
    ex = tf.io.parse_single_example(record, FEATURES)
    image = tf.reshape(tf.io.decode_raw(ex['image'], tf.uint16), (SIDE, SIDE, N_BANDS))
    gt = tf.reshape(tf.io.decode_raw(ex['gt'], tf.uint8), (SIDE, SIDE, 1))
    image = tf.cast(image, tf.float32) / FULL_SCALE
    gt = tf.cast(gt, tf.float32) / 255.
    return image, gt


def augment(image, gt):
    k = tf.random.uniform((), 0, 4, tf.int32)
    image, gt = tf.image.rot90(image, k), tf.image.rot90(gt, k)
    flip = tf.random.uniform(()) < 0.5
    image = tf.cond(flip, lambda: tf.image.flip_left_right(image), lambda: image)
    gt = tf.cond(flip, lambda: tf.image.flip_left_right(gt), lambda: gt)
    return image, gt


def pipeline(path, training):
    ds = tf.data.TFRecordDataset(path).map(parse, AUTO).cache()
    ds = ds.apply(tf.data.experimental.assert_cardinality(len(names) - n_val if training else n_val))
    if training:
        ds = ds.shuffle(100).map(augment, AUTO)
    return ds.batch(BATCH).prefetch(AUTO)


# ---------------------------------------------------------------- network
def norm_act(x):
    return Activation('relu')(BatchNormalization(momentum=0.9)(x))


def down_block(x, filters):
    y = norm_act(Conv2D(filters, (3, 3), padding='same')(x))
    y = norm_act(Conv2D(filters, (3, 3), padding='same')(y))
    shortcut = Conv2D(filters, (1, 1), padding='same')(x)
    return Add()([y, shortcut])


def up_block(x, skip, filters):
    x = Conv2DTranspose(filters, (2, 2), strides=(2, 2), padding='same')(x)
    x = Concatenate(axis=-1)([x, skip])
    return norm_act(Conv2D(filters, (3, 3), padding='same')(x))


def cloudnet():
    inputs = Input((SIDE, SIDE, N_BANDS))
    c1 = down_block(inputs, 12)
    c2 = down_block(MaxPooling2D((2, 2))(c1), 24)
    c3 = down_block(MaxPooling2D((2, 2))(c2), 48)
    c4 = Dropout(0.15)(down_block(MaxPooling2D((2, 2))(c3), 64))
    x = up_block(c4, c3, 48)
    x = up_block(x, c2, 24)
    x = up_block(x, c1, 12)
    return Model(inputs, Conv2D(1, (1, 1), activation='sigmoid')(x))


smooth = 1.0


def jaccard_loss(y_true, y_pred):
    """soft Jaccard loss over the batch"""
    intersection = tf.reduce_sum(y_true * y_pred)
    union = tf.reduce_sum(y_true) + tf.reduce_sum(y_pred) - intersection
    return 1 - (intersection + smooth) / (union + smooth)


def jaccard(y_true, y_pred):
    y_pred = tf.cast(y_pred > 0.5, tf.float32)
    intersection = tf.reduce_sum(y_true * y_pred)
    return (intersection + smooth) / (tf.reduce_sum(y_true) + tf.reduce_sum(y_pred) - intersection + smooth)


# ---------------------------------------------------------------- main
tf.keras.utils.set_random_seed(42)
with open(f'{DATA}/training_patches.csv') as f:
    names = [row['name'] for row in csv.DictReader(f)]
np.random.shuffle(names)
n_val = int(VAL_SHARE * len(names))
os.makedirs(RECORDS, exist_ok=True)
train_rec, val_rec = f'{RECORDS}/train.tfrecord', f'{RECORDS}/val.tfrecord'
if not os.path.exists(train_rec):
    write_records(names[n_val:], train_rec)
    write_records(names[:n_val], val_rec)

train_ds = pipeline(train_rec, True)
val_ds = pipeline(val_rec, False)

model = cloudnet()
model.compile(optimizer=Adam(learning_rate=LR), loss=jaccard_loss, metrics=[jaccard])
callbacks = [
    ModelCheckpoint('cloudnet_best.keras', monitor='val_loss', save_best_only=True),
    ReduceLROnPlateau(monitor='val_loss', factor=0.7, patience=3, min_lr=1e-8, verbose=1),
    EarlyStopping(monitor='val_loss', patience=12, restore_best_weights=True),
    CSVLogger('cloudnet.csv'),
]
model.fit(train_ds, epochs=EPOCHS, validation_data=val_ds, callbacks=callbacks, verbose=2)

os.makedirs('predictions', exist_ok=True)
for name, mask in zip(names[:n_val], model.predict(val_ds, verbose=0)):
    Image.fromarray((255 * (mask[..., 0] > 0.5)).astype(np.uint8)).save(f'predictions/{name}.png')
print('share of cloud in the predictions: %.3f' % np.mean([np.array(Image.open(f'predictions/{n}.png')) > 0 for n in names[:n_val]]))
