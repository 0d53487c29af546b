# Hi all, this is the complete script for my crater mapping (lunar digital elevation model + list of craters).
# 1) an encoder learns which way a tile was turned (no labels needed)
# 2) its weights go into the U-Net, encoder frozen for some epochs
# 3) everything learns with a smaller rate
import csv

import keras
import numpy as np
import tifffile
from keras import layers, regularizers
from scipy import ndimage

np.random.seed(3)
keras.utils.set_random_seed(3)

TILE = 64
BATCH = 6
DECAY = 1e-6

dem = tifffile.imread('craters/dem.tif')
rows, cols = dem.shape
yy, xx = np.mgrid[:rows, :cols]
mask = np.zeros(dem.shape, 'uint8')
with open('craters/craters.csv') as f:
    for crater in csv.DictReader(f):
        x, y, r = float(crater['x']), float(crater['y']), float(crater['radius'])
        if r < 4 or float(crater['degradation']) > 0.5:
            continue  # too small or too old to be seen
        mask[(xx - x) ** 2 + (yy - y) ** 2 <= r ** 2] = 1
print('map', dem.shape, 'crater pixels', mask.mean())

# west to learn, east to test (96 columns in between belong to nobody)
west, east = slice(0, 480), slice(576, 768)


def normalize(tile):
    """Heights of a tile -> plane of mean height removed, about -1 .. 1"""
    tile = tile - tile.mean()
    return (tile / 300.0).astype('float32')


def random_tile(part, turn=True):
    top = np.random.randint(0, rows - TILE + 1)
    left = np.random.randint(part.start, part.stop - TILE + 1)
    window = np.s_[top:top + TILE, left:left + TILE]
    image, target = normalize(dem[window]), mask[window]
    if turn:
        k = np.random.randint(4)
        image, target = np.rot90(image, k), np.rot90(target, k)
    return image, target


def batches(part):
    while True:
        pairs = [random_tile(part) for _ in range(BATCH)]
        image = np.stack([i for i, t in pairs])[..., None]
        target = np.stack([t for i, t in pairs])[..., None].astype('float32')
        yield image, target


def grid(part):
    """All tiles side by side"""
    image, target = [], []
    for top in range(0, rows - TILE + 1, TILE):
        for left in range(part.start, part.stop - TILE + 1, TILE):
            window = np.s_[top:top + TILE, left:left + TILE]
            image.append(normalize(dem[window]))
            target.append(mask[window])
    return np.stack(image)[..., None], np.stack(target)[..., None].astype('float32')


def conv(x, n, name):
    for k in (1, 2):
        x = layers.Conv2D(n, 3, padding='same', activation='relu', kernel_initializer='he_normal',
                          kernel_regularizer=regularizers.L2(DECAY), name='%s_%d' % (name, k))(x)
    return x


def encoder():
    inp = keras.Input((TILE, TILE, 1))
    e1 = conv(inp, 12, 'enc1')
    e2 = conv(layers.MaxPooling2D()(e1), 24, 'enc2')
    e3 = conv(layers.MaxPooling2D()(e2), 40, 'enc3')
    return keras.Model(inp, [e1, e2, e3], name='encoder')


def dice_loss(y_true, y_pred):
    inter = keras.ops.sum(y_true * y_pred)
    return 1 - (2 * inter + 1) / (keras.ops.sum(y_true) + keras.ops.sum(y_pred) + 1)


def loss(y_true, y_pred):
    return keras.ops.mean(keras.losses.binary_crossentropy(y_true, y_pred)) + dice_loss(y_true, y_pred)


# ---- 1) pretext: 0, 90, 180 or 270 degrees? light comes from nowhere in a DEM, but a plane was added by the orbit
enc = encoder()
head = layers.Dense(4, activation='softmax')(layers.GlobalAveragePooling2D()(enc.outputs[-1]))
pretext = keras.Model(enc.input, head)
pretext.compile(optimizer=keras.optimizers.Adam(1e-3), loss='sparse_categorical_crossentropy', metrics=['accuracy'],
                jit_compile=False)
tiles = np.stack([random_tile(west, turn=False)[0] for _ in range(160)])
turns = np.random.randint(0, 4, len(tiles))
turned = np.stack([np.rot90(t, k) for t, k in zip(tiles, turns)])[..., None]
pretext.fit(turned, turns, batch_size=16, epochs=2, verbose=2)

# ---- 2) U-Net on top
e1, e2, e3 = enc.outputs
u = layers.Conv2DTranspose(24, 2, strides=2, name='up2')(e3)
u = conv(layers.Concatenate()([u, e2]), 24, 'dec2')
u = layers.Conv2DTranspose(12, 2, strides=2, name='up1')(u)
u = conv(layers.Concatenate()([u, e1]), 12, 'dec1')
out = layers.Conv2D(1, 1, activation='sigmoid', name='crater')(u)
unet = keras.Model(enc.input, out)

x_test, y_test = grid(east)


def set_encoder(trainable):
    for layer in unet.layers:
        if layer.name.startswith('enc'):
            layer.trainable = trainable


def train(rate, epochs):
    unet.compile(optimizer=keras.optimizers.Adam(rate), loss=loss,
                 metrics=[keras.metrics.BinaryIoU([1], threshold=0.5, name='iou')], jit_compile=False)
    return unet.fit(batches(west), steps_per_epoch=15, epochs=epochs, validation_data=(x_test, y_test), verbose=2)


set_encoder(False)
train(2e-3, 2)
# ---- 3) everything
set_encoder(True)
train(1e-3, 9)

p = unet.predict(x_test, verbose=0) > 0.5
t = y_test > 0.5
print('craters found (connected areas):', ndimage.label(p[0, ..., 0])[1], 'of', ndimage.label(t[0, ..., 0])[1], 'in tile 0')
print('test IoU %.4f  Dice %.4f' % ((p & t).sum() / (p | t).sum(), 2 * (p & t).sum() / (p.sum() + t.sum())))
