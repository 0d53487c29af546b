"""Crop type from a season of satellite images: ConvLSTM over the dates, then a light U-Net.

Labels: 0 no field, 1-4 crops, 19 void (not evaluated).
"""
import json
import os
from collections import Counter

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'

import numpy as np
import tensorflow as tf
import keras

FOLDER = 'parcels'
DATES, BANDS, SIDE = 6, 4, 48
CLASSES = ['no field', 'winter rape', 'wheat', 'maize', 'beet']
VOID = 19
VAL_FOLD = 5
BATCH_SIZE = 4

with open(os.path.join(FOLDER, 'metadata.json')) as f:
    META = json.load(f)
with open(os.path.join(FOLDER, 'NORM_S2_patch.json')) as f:
    NORM = json.load(f)
MEAN = np.array(NORM['mean'], 'float32')
STD = np.array(NORM['std'], 'float32')


def load_patch(patch_id):
    series = np.load(os.path.join(FOLDER, 'DATA_S2', 'S2_%d.npy' % patch_id)).astype('float32')
    target = np.load(os.path.join(FOLDER, 'ANNOTATIONS', 'TARGET_%d.npy' % patch_id)).astype('int32')
    series = series.transpose(0, 2, 3, 1)  # dates, rows, columns, bands
    series = (series - MEAN) / STD
    return series, target


def sample_generator(patch_ids, augment=False, seed=0):
    rng = np.random.default_rng(seed)
    cache = {}

    def gen():
        ids = list(patch_ids)
        if augment:
            rng.shuffle(ids)
        for i in ids:
            if i not in cache:
                cache[i] = load_patch(i)
            series, target = cache[i]
            if augment and rng.random() < 0.5:
                series, target = np.flip(series, 1), np.flip(target, 0)
            if augment and rng.random() < 0.5:
                series, target = np.flip(series, 2), np.flip(target, 1)
            yield series, target
    return gen


def dataset(patch_ids, augment=False):
    signature = (tf.TensorSpec((DATES, SIDE, SIDE, BANDS), tf.float32), tf.TensorSpec((SIDE, SIDE), tf.int32))
    ds = tf.data.Dataset.from_generator(sample_generator(patch_ids, augment), output_signature=signature)
    return ds.batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)


def make_model(units=12):
    series = keras.Input((DATES, SIDE, SIDE, BANDS))
    x = keras.layers.ConvLSTM2D(units, 3, padding='same', name='over_time')(series)
    skip = keras.layers.Conv2D(24, 3, padding='same', activation='relu')(x)
    x = keras.layers.MaxPooling2D()(skip)
    x = keras.layers.Conv2D(48, 3, padding='same', activation='relu')(x)
    x = keras.layers.Conv2D(48, 3, padding='same', activation='relu')(x)
    x = keras.layers.UpSampling2D()(x)
    x = keras.layers.Concatenate()([x, skip])
    x = keras.layers.Conv2D(24, 3, padding='same', activation='relu')(x)
    x = keras.layers.Conv2D(len(CLASSES), 1)(x)
    return keras.Model(series, keras.layers.Softmax(name='crop')(x))


keras.utils.set_random_seed(2024)
train_ids = [m['ID_PATCH'] for m in META if m['Fold'] != VAL_FOLD]
val_ids = [m['ID_PATCH'] for m in META if m['Fold'] == VAL_FOLD]
pixels = Counter()
for i in train_ids:
    pixels.update(dict(zip(*np.unique(load_patch(i)[1], return_counts=True))))
print('pixels per class', {int(k): int(v) for k, v in sorted(pixels.items())})

train_ds = dataset(train_ids, augment=True)
val_ds = dataset(val_ids)

model = make_model()
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=VOID),
    metrics=[keras.metrics.MeanIoU(len(CLASSES), ignore_class=VOID, sparse_y_pred=False, name='miou')],
)
model.fit(
    train_ds, validation_data=val_ds, epochs=14, verbose=2,
    callbacks=[
        keras.callbacks.EarlyStopping(monitor='val_miou', mode='max', patience=5, restore_best_weights=True),
        keras.callbacks.BackupAndRestore('backup'),
    ],
)

# confusion matrix over the fold that was left out
matrix = np.zeros((len(CLASSES), len(CLASSES)), int)
for x, y in val_ds:
    pred = model.predict_on_batch(x).argmax(-1)
    y = y.numpy()
    keep = y != VOID
    np.add.at(matrix, (y[keep], pred[keep]), 1)
iou = np.diag(matrix) / np.maximum(1, matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
for name, value in zip(CLASSES, iou):
    print('%-12s IoU %.3f' % (name, value))
print('mean %.3f' % iou.mean())
model.save('convlstm.keras')
