# Semantic segmentation of aerial imagery (Dubai tiles), own loop with train_on_batch
import glob
import os
import re

import cv2
import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(31)
rng = np.random.default_rng(31)

COLORS = {  # RGB, as in classes.json
    'land': (132, 41, 246),
    'water': (226, 169, 41),
    'road': (110, 193, 228),
    'building': (60, 16, 152),
}
UNLABELED = (155, 155, 155)
CLASSES = list(COLORS)
PATCH = 64
BATCH = 8
EPOCHS = 14
LR = 2e-3
VAL_SITES = ('Tile 7', 'Tile 8')


def rgb_to_index(mask):
    index = np.full(mask.shape[:2], 255, dtype=np.uint8)
    for k, name in enumerate(CLASSES):
        index[np.all(mask == COLORS[name], axis=-1)] = k
    return index


def read_site(folder):
    xs, ys = [], []
    for path in sorted(glob.glob(os.path.join('dubai', folder, 'images', '*.jpg'))):
        image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        mask_path = re.sub('images', 'masks', path).replace('.jpg', '.png')
        mask = cv2.cvtColor(cv2.imread(mask_path), cv2.COLOR_BGR2RGB)
        xs.append(image)
        ys.append(rgb_to_index(mask))
    return xs, ys


def random_patch(image, mask):
    top, left = rng.integers(0, image.shape[0] - PATCH + 1), rng.integers(0, image.shape[1] - PATCH + 1)
    image, mask = image[top:top + PATCH, left:left + PATCH], mask[top:top + PATCH, left:left + PATCH]
    k = rng.integers(0, 4)
    image, mask = np.rot90(image, k), np.rot90(mask, k)
    if rng.random() < 0.5:
        image, mask = np.flipud(image), np.flipud(mask)
    return image, mask


def to_batch(pairs):
    x = np.stack([p[0] for p in pairs]).astype('float32') / 255.0
    y = np.stack([p[1] for p in pairs])
    w = (y != 255).astype('float32')  # nobody labelled these
    y = np.where(y == 255, 0, y)[..., None].astype('int32')
    return x, y, w


sites = sorted(os.listdir('dubai'))
train_x, train_y, val_x, val_y = [], [], [], []
for site in sites:
    xs, ys = read_site(site)
    if site in VAL_SITES:
        val_x += xs
        val_y += ys
    else:
        train_x += xs
        train_y += ys
print(len(train_x), 'training tiles', len(val_x), 'validation tiles')


def down(x, f):
    x = layers.Conv2D(f, 3, strides=2, padding='same', use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Activation('swish')(x)
    x = layers.SeparableConv2D(f, 3, padding='same', use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation('swish')(x)


def build():
    inp = keras.Input((PATCH, PATCH, 3))
    e0 = layers.Conv2D(12, 3, padding='same', activation='swish')(inp)
    e1 = down(e0, 24)
    e2 = down(e1, 40)
    x = down(e2, 64)
    for skip, f in ((e2, 40), (e1, 24), (e0, 16)):
        x = layers.UpSampling2D(interpolation='bilinear')(x)
        x = layers.Concatenate()([x, skip])
        x = layers.Conv2D(f, 3, padding='same', use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation('swish')(x)
    return keras.Model(inp, layers.Conv2D(len(CLASSES), 1, activation='softmax')(x))


def evaluate(model, xs, ys):
    x, y, w = to_batch([(a[:PATCH, :PATCH], b[:PATCH, :PATCH]) for a, b in zip(xs, ys)])
    p = model.predict(x, verbose=0).argmax(-1)
    t, valid = y[..., 0], w > 0
    ious = []
    for k in range(len(CLASSES)):
        inter = np.sum((p == k) & (t == k) & valid)
        union = np.sum(((p == k) | (t == k)) & valid)
        ious.append(inter / (union + 1e-9))
    return ious


model = build()
model.compile(optimizer=keras.optimizers.Adam(LR), loss=keras.losses.SparseCategoricalCrossentropy())
best = 0
for epoch in range(EPOCHS):
    order = rng.permutation(len(train_x))
    losses = []
    for start in range(0, len(order), BATCH):
        x, y, w = to_batch([random_patch(train_x[i], train_y[i]) for i in order[start:start + BATCH]])
        losses.append(model.train_on_batch(x, y, sample_weight=w))
    ious = evaluate(model, val_x, val_y)
    print(f'epoch {epoch + 1}: loss {np.mean(losses):.4f}  mIoU {np.mean(ious):.3f}',
          ' '.join(f'{n} {v:.2f}' for n, v in zip(CLASSES, ious)))
    if np.mean(ious) > best:
        best = np.mean(ious)
        model.save_weights('dubai_best.weights.h5')
    if epoch == EPOCHS * 2 // 3:
        model.optimizer.learning_rate.assign(LR / 5)
