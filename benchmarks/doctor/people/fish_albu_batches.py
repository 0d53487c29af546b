# Fish on the sorting tray: body and fins, weighing comes later
# no albumentations on this machine, so I wrote the few transforms that I need
import os
import random

import cv2
import numpy as np
import keras
from keras import layers

SEED = 5
random.seed(SEED)
np.random.seed(SEED)
keras.utils.set_random_seed(SEED)

IMG_DIR, GT_DIR = 'fish/img', 'fish/gt'
COLORS = {0: (0, 0, 0), 1: (230, 25, 75), 2: (60, 180, 75)}  # R G B
CLASS_WEIGHT = np.array([1., 2., 4.], 'float32')
H, W = 80, 112
BS = 8
EPOCHS = 12


# ------------------------------------------------------------------ transforms
class HorizontalFlip:
    def __init__(self, p=0.5):
        self.p = p

    def __call__(self, image, mask):
        if random.random() < self.p:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return image, mask


class ShiftScaleRotate:
    def __init__(self, shift=0.06, scale=0.1, rotate=15, p=0.5):
        self.shift, self.scale, self.rotate, self.p = shift, scale, rotate, p

    def __call__(self, image, mask):
        if random.random() < self.p:
            angle = random.uniform(-self.rotate, self.rotate)
            m = cv2.getRotationMatrix2D((W / 2, H / 2), angle, 1 + random.uniform(-self.scale, self.scale))
            m[0, 2] += W * random.uniform(-self.shift, self.shift)
            m[1, 2] += H * random.uniform(-self.shift, self.shift)
            image = cv2.warpAffine(np.ascontiguousarray(image), m, (W, H), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            mask = cv2.warpAffine(np.ascontiguousarray(mask), m, (W, H), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
        return image, mask


class BrightnessContrast:
    def __init__(self, brightness=20, contrast=0.15, p=0.5):
        self.brightness, self.contrast, self.p = brightness, contrast, p

    def __call__(self, image, mask):
        if random.random() < self.p:
            a = 1 + random.uniform(-self.contrast, self.contrast)
            b = random.uniform(-self.brightness, self.brightness)
            image = np.clip(a * image.astype('float32') + b, 0, 255).astype('uint8')
        return image, mask


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image, mask):
        for t in self.transforms:
            image, mask = t(image, mask)
        return image, mask


train_aug = Compose([HorizontalFlip(), ShiftScaleRotate(), BrightnessContrast()])
val_aug = Compose([])


# ------------------------------------------------------------------ data
def load(name):
    image = cv2.cvtColor(cv2.imread(f'{IMG_DIR}/{name}.jpg'), cv2.COLOR_BGR2RGB)
    gt = cv2.cvtColor(cv2.imread(f'{GT_DIR}/{name}.png'), cv2.COLOR_BGR2RGB)
    mask = np.zeros(gt.shape[:2], 'uint8')
    for k, color in COLORS.items():
        mask[(gt == color).all(-1)] = k
    return image, mask


def batches(names, aug, shuffle):
    names = list(names)
    if shuffle:
        random.shuffle(names)
    for start in range(0, len(names), BS):
        part = names[start:start + BS]
        x = np.zeros((len(part), H, W, 3), 'float32')
        y = np.zeros((len(part), H, W, 3), 'float32')
        for k, name in enumerate(part):
            image, mask = aug(*load(name))
            x[k] = image / 127.5 - 1
            y[k] = keras.utils.to_categorical(mask, 3)
        yield x, y


names = sorted(f[:-4] for f in os.listdir(IMG_DIR))
random.shuffle(names)
train_names, val_names = names[18:], names[:18]


# ------------------------------------------------------------------ model
def conv_bn_act(x, n, s=1):
    x = layers.Conv2D(n, 3, strides=s, padding='same', use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    return layers.PReLU(shared_axes=[1, 2])(x)


def residual(x, n):
    y = conv_bn_act(conv_bn_act(x, n), n)
    return layers.Add()([x, y])


inp = keras.Input((H, W, 3))
x1 = conv_bn_act(inp, 12)
x2 = residual(conv_bn_act(x1, 24, 2), 24)
x3 = residual(conv_bn_act(x2, 40, 2), 40)
x4 = residual(conv_bn_act(x3, 48, 2), 48)
u = layers.Conv2DTranspose(40, 2, strides=2)(x4)
u = conv_bn_act(layers.Add()([u, x3]), 40)
u = layers.Conv2DTranspose(24, 2, strides=2)(u)
u = conv_bn_act(layers.Add()([u, x2]), 24)
u = layers.Conv2DTranspose(12, 2, strides=2)(u)
u = conv_bn_act(layers.Concatenate()([u, x1]), 12)
out = layers.Conv2D(3, 1, activation='softmax')(u)
model = keras.Model(inp, out)
model.compile(optimizer=keras.optimizers.Adam(2e-3), loss='categorical_crossentropy', metrics=['categorical_accuracy'])


# ------------------------------------------------------------------ train
def dice_per_class(names, aug):
    hit, both = np.zeros(3), np.zeros(3)
    for x, y in batches(names, aug, False):
        p = model.predict_on_batch(x).argmax(-1)
        t = y.argmax(-1)
        for k in range(3):
            hit[k] += ((p == k) & (t == k)).sum()
            both[k] += (p == k).sum() + (t == k).sum()
    return 2 * hit / np.maximum(both, 1)


best = 0
for epoch in range(EPOCHS):
    losses = []
    for x, y in batches(train_names, train_aug, True):
        sample_weight = (y * CLASS_WEIGHT).sum(-1)
        losses.append(model.train_on_batch(x, y, sample_weight=sample_weight, return_dict=True)['loss'])
    d = dice_per_class(val_names, val_aug)
    print(f'epoch {epoch + 1:2d}  loss {np.mean(losses):.4f}  dice body {d[1]:.3f} fins {d[2]:.3f}')
    if d[1:].mean() > best:
        best = d[1:].mean()
        model.save_weights('fish_best.weights.h5')
