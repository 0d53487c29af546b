import random
import cv2
import numpy as np
import keras
from keras import backend as K
from keras import ops
from keras.callbacks import EarlyStopping, ReduceLROnPlateau
from keras.layers import *
from keras.models import Model

SZ = 64
BS = 8
EPOCHS = 16
random.seed(0)
np.random.seed(0)
keras.utils.set_random_seed(0)


def read_list(fn):
    with open(fn) as f:
        return [l.strip() for l in f if l.strip()]


train_ids = read_list('mushrooms/train.txt')
valid_ids = read_list('mushrooms/valid.txt')


# ---- poor man's albumentations -------------------------------------------------
class HorizontalFlip:
    def __init__(self, p=0.5):
        self.p = p

    def __call__(self, image, mask):
        if random.random() < self.p:
            image, mask = image[:, ::-1].copy(), mask[:, ::-1].copy()
        return image, mask


class ShiftScaleRotate:
    def __init__(self, shift_limit=0.06, scale_limit=0.1, rotate_limit=15, p=0.5):
        self.shift, self.scale, self.rotate, self.p = shift_limit, scale_limit, rotate_limit, p

    def __call__(self, image, mask):
        if random.random() < self.p:
            h, w = mask.shape
            m = cv2.getRotationMatrix2D((w / 2, h / 2), random.uniform(-self.rotate, self.rotate),
                                        1 + random.uniform(-self.scale, self.scale))
            m[0, 2] += w * random.uniform(-self.shift, self.shift)
            m[1, 2] += h * random.uniform(-self.shift, self.shift)
            image = cv2.warpAffine(image, m, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            mask = cv2.warpAffine(mask, m, (w, h), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
        return image, mask


class BrightnessContrast:
    def __init__(self, limit=0.15, p=0.5):
        self.limit, self.p = limit, p

    def __call__(self, image, mask):
        if random.random() < self.p:
            alpha = 1 + random.uniform(-self.limit, self.limit)
            beta = 255 * random.uniform(-self.limit, self.limit)
            image = np.clip(image.astype('float32') * alpha + beta, 0, 255).astype('uint8')
        return image, mask


class Compose:
    def __init__(self, tfs):
        self.tfs = tfs

    def __call__(self, image, mask):
        for t in self.tfs:
            image, mask = t(image, mask)
        return image, mask


train_aug = Compose([HorizontalFlip(), ShiftScaleRotate(), BrightnessContrast()])


def read_pair(name):
    image = cv2.cvtColor(cv2.imread(f'mushrooms/img/{name}.jpg'), cv2.COLOR_BGR2RGB)
    mask = cv2.imread(f'mushrooms/msk/{name}.png', 0)
    image = cv2.resize(image, (SZ, SZ))
    mask = cv2.resize(mask, (SZ, SZ), interpolation=cv2.INTER_NEAREST)
    return image, mask


def generator(ids, batch_size, aug=None):
    ids = list(ids)
    while True:
        if aug is not None:
            random.shuffle(ids)
        for b in range(0, len(ids), batch_size):
            xs, ys = [], []
            for name in ids[b:b + batch_size]:
                image, mask = read_pair(name)
                if aug is not None:
                    image, mask = aug(image, mask)
                xs.append(image)
                ys.append(mask[..., None])
            yield np.array(xs, 'float32') / 255, np.array(ys, 'float32') / 255


def cbr(x, f):
    x = Conv2D(f, 3, padding='same', use_bias=False)(x)
    x = BatchNormalization(momentum=0.9)(x)
    return Activation('relu')(x)


def get_model():
    inp = Input((SZ, SZ, 3))
    d1 = cbr(cbr(inp, 8), 8)
    d2 = cbr(cbr(MaxPooling2D()(d1), 16), 16)
    d3 = cbr(cbr(MaxPooling2D()(d2), 32), 32)
    x = cbr(MaxPooling2D()(d3), 48)
    for skip, f in ((d3, 32), (d2, 16), (d1, 8)):
        x = concatenate([UpSampling2D()(x), skip])
        x = cbr(x, f)
    return Model(inp, Conv2D(1, 1, activation='sigmoid')(x))


def iou(y_true, y_pred):
    y_pred = ops.cast(y_pred > 0.5, 'float32')
    inter = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    union = ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3)) - inter
    return ops.mean((inter + K.epsilon()) / (union + K.epsilon()))


def jaccard_loss(y_true, y_pred, smooth=10.):
    inter = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    total = ops.sum(y_true + y_pred, axis=(1, 2, 3))
    return 1 - (inter + smooth) / (total - inter + smooth)


model = get_model()
model.compile(optimizer=keras.optimizers.RMSprop(1e-3), loss=jaccard_loss, metrics=[iou])
model.fit(generator(train_ids, BS, train_aug), steps_per_epoch=len(train_ids) // BS, epochs=EPOCHS, verbose=2,
          validation_data=generator(valid_ids, BS), validation_steps=int(np.ceil(len(valid_ids) / BS)),
          callbacks=[ReduceLROnPlateau(monitor='val_loss', patience=4, factor=0.3),
                     EarlyStopping(monitor='val_iou', mode='max', patience=12)])
