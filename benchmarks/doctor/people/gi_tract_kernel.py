# %% [code]
# GI tract organs - 2.5D? no, plain 2D baseline. tf.data + group folds + BCE/Tversky.
# v7: folds by case (v6 was by slice, LB dropped)
import os, re, gc, csv
from glob import glob
from collections import defaultdict

import numpy as np
import tensorflow as tf
import keras
from keras import layers as L, backend as K
from keras.callbacks import ReduceLROnPlateau, ModelCheckpoint, EarlyStopping, CSVLogger


class CFG:
    seed = 101
    comp = 'uw_madison'
    img = 64
    organs = ['large_bowel', 'small_bowel', 'stomach']
    n_fold = 4
    run_folds = [0]
    bs = 8
    epochs = 9
    lr = 2e-3
    w_bce, w_tversky = 0.5, 0.5
    filters = (12, 24, 32, 48)


keras.utils.set_random_seed(CFG.seed)
AUTO = tf.data.AUTOTUNE

# %% [code]
# one row per slice out of three rows per slice
table = defaultdict(dict)
with open(f'{CFG.comp}/train.csv') as f:
    for row in csv.DictReader(f):
        table[row['id']][row['class']] = row['segmentation']

paths = {}
for p in glob(f'{CFG.comp}/train/*/*/scans/*.png'):
    case_day = p.split(os.sep)[-3]
    number = re.match(r'slice_(\d+)_', os.path.basename(p)).group(1)
    paths[f'{case_day}_slice_{number}'] = p

rows = [dict(id=i, path=paths[i], case=i.split('_')[0], rles=[table[i].get(o, '') for o in CFG.organs])
        for i in sorted(table)]
print(len(rows), 'slices of', len({r['case'] for r in rows}), 'cases,',
      sum(any(r['rles']) for r in rows), 'with at least one organ')


# %% [code]
def rle_decode(s, shape):
    a = np.array(s.split(), dtype=int).reshape(-1, 2)
    img = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    for start, length in a:
        img[start - 1:start - 1 + length] = 1
    return img.reshape(shape)


def make_folds(rows):
    groups = sorted({r['case'] for r in rows})
    np.random.RandomState(CFG.seed).shuffle(groups)
    fold_of = {g: k % CFG.n_fold for k, g in enumerate(groups)}
    for r in rows:
        r['fold'] = fold_of[r['case']]


make_folds(rows)


# %% [code]
def read_image(path):
    img = tf.io.decode_png(tf.io.read_file(path), channels=1, dtype=tf.uint16)
    img = tf.cast(img, tf.float32)
    img = img / tf.reduce_max(img)  # every scanner has its own range
    return tf.ensure_shape(img, (CFG.img, CFG.img, 1))


def prepare(path, mask):
    return read_image(path), tf.cast(mask, tf.float32)


def augment(img, mask):
    both = tf.concat([img, mask], axis=-1)
    both = tf.image.random_flip_left_right(both)
    both = tf.image.random_flip_up_down(both)
    img, mask = both[..., :1], both[..., 1:]
    img = tf.image.random_brightness(img, 0.1)
    return img, mask


def get_dataset(rows, train):
    masks = np.stack([np.stack([rle_decode(s, (CFG.img, CFG.img)) for s in r['rles']], -1) for r in rows])
    ds = tf.data.Dataset.from_tensor_slices(([r['path'] for r in rows], masks))
    if train:
        ds = ds.shuffle(len(rows), seed=CFG.seed)
    ds = ds.map(prepare, AUTO)
    if train:
        ds = ds.map(augment, AUTO)
    return ds.batch(CFG.bs).prefetch(AUTO)


# %% [code]
def scse(x):
    c = L.GlobalAveragePooling2D(keepdims=True)(x)
    c = L.Conv2D(max(4, x.shape[-1] // 4), 1, activation='relu')(c)
    c = L.Conv2D(x.shape[-1], 1, activation='sigmoid')(c)
    s = L.Conv2D(1, 1, activation='sigmoid')(x)
    return L.Add()([L.Multiply()([x, c]), L.Multiply()([x, s])])


def conv_bn(x, f):
    x = L.Conv2D(f, 3, padding='same', use_bias=False, kernel_initializer='he_normal')(x)
    x = L.BatchNormalization(momentum=0.9)(x)
    return L.Activation('relu')(x)


def build():
    K.clear_session()
    inp = L.Input((CFG.img, CFG.img, 1))
    x, skips = inp, []
    for f in CFG.filters[:-1]:
        x = conv_bn(conv_bn(x, f), f)
        skips.append(x)
        x = L.MaxPooling2D()(x)
    x = scse(conv_bn(conv_bn(x, CFG.filters[-1]), CFG.filters[-1]))
    for f, s in zip(CFG.filters[-2::-1], skips[::-1]):
        x = L.UpSampling2D()(x)
        x = scse(conv_bn(L.Concatenate()([x, s]), f))
    out = L.Conv2D(len(CFG.organs), 1, activation='sigmoid', name='organs')(x)
    return keras.Model(inp, out)


def tversky_loss(y_true, y_pred, alpha=0.3, beta=0.7, smooth=1.0):
    axes = (0, 1, 2)
    tp = tf.reduce_sum(y_true * y_pred, axes)
    fp = tf.reduce_sum((1 - y_true) * y_pred, axes)
    fn = tf.reduce_sum(y_true * (1 - y_pred), axes)
    return 1 - tf.reduce_mean((tp + smooth) / (tp + alpha * fp + beta * fn + smooth))


def bce_tversky(y_true, y_pred):
    bce = tf.reduce_mean(keras.losses.binary_crossentropy(y_true, y_pred))
    return CFG.w_bce * bce + CFG.w_tversky * tversky_loss(y_true, y_pred)


def dice_coef(y_true, y_pred):
    y_pred = tf.cast(y_pred > 0.5, tf.float32)
    inter = tf.reduce_sum(y_true * y_pred, (1, 2))
    den = tf.reduce_sum(y_true + y_pred, (1, 2))
    return tf.reduce_mean((2 * inter + 1e-3) / (den + 1e-3))


# %% [code]
scores = []
for fold in CFG.run_folds:
    trn = [r for r in rows if r['fold'] != fold]
    val = [r for r in rows if r['fold'] == fold]
    print(f'--- fold {fold}: {len(trn)} / {len(val)}')
    train_ds, valid_ds = get_dataset(trn, True), get_dataset(val, False)
    model = build()
    model.compile(keras.optimizers.Adam(CFG.lr), loss=bce_tversky, metrics=[dice_coef])
    model.fit(train_ds, validation_data=valid_ds, epochs=CFG.epochs, verbose=2, callbacks=[
        ModelCheckpoint(f'fold{fold}.weights.h5', monitor='val_dice_coef', mode='max', save_best_only=True,
                        save_weights_only=True),
        EarlyStopping(monitor='val_dice_coef', mode='max', patience=8),
        ReduceLROnPlateau(monitor='val_loss', mode='min', factor=0.5, patience=3, min_lr=1e-6),
        CSVLogger(f'fold{fold}.csv'),
    ])
    model.load_weights(f'fold{fold}.weights.h5')
    oof = model.predict(valid_ds, verbose=0) > 0.5
    truth = np.concatenate([m for _, m in valid_ds]) > 0.5
    per_organ = 2 * (oof & truth).sum((0, 1, 2)) / (oof.sum((0, 1, 2)) + truth.sum((0, 1, 2)))
    print('OOF dice', dict(zip(CFG.organs, per_organ.round(3))))
    scores.append(per_organ.mean())
    del train_ds, valid_ds
    gc.collect()
print('CV Dice %.4f' % np.mean(scores))
