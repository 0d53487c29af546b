# Steel defects, 4 kinds that may overlap -> 4 sigmoid channels. LinkNet with depthwise blocks.
import csv
import math
from collections import defaultdict

import numpy as np
import keras
from keras import layers, ops
from PIL import Image

CFG = dict(
    root='steel',
    height=48,
    width=128,
    n_classes=4,
    batch_size=6,
    epochs=24,
    lr=2e-3,
    filters=(16, 24, 32, 48),
    alpha=0.75,
    gamma=2.0,
    focal_weight=4.0,
    val_part=0.2,
    seed=2019,
)


class Rle:
    @staticmethod
    def to_mask(text, height, width):
        flat = np.zeros(height * width, 'uint8')
        values = list(map(int, text.split()))
        for start, length in zip(values[::2], values[1::2]):
            flat[start - 1:start - 1 + length] = 1
        return flat.reshape((height, width), order='F')


def read_table(cfg):
    defects = defaultdict(dict)
    with open(f"{cfg['root']}/train.csv") as f:
        for image_id, class_id, rle in list(csv.reader(f))[1:]:
            defects[image_id][int(class_id)] = rle
    return defects


class SteelSequence(keras.utils.PyDataset):
    def __init__(self, ids, defects, cfg, augment=False, **kw):
        super().__init__(**kw)
        self.ids, self.defects, self.cfg, self.augment = list(ids), defects, cfg, augment
        self.rng = np.random.default_rng(cfg['seed'])
        self.on_epoch_end()

    def __len__(self):
        return math.ceil(len(self.ids) / self.cfg['batch_size'])

    def on_epoch_end(self):
        if self.augment:
            self.rng.shuffle(self.ids)

    def load(self, image_id):
        h, w = self.cfg['height'], self.cfg['width']
        image = np.asarray(Image.open(f"{self.cfg['root']}/train_images/{image_id}").convert('L'), 'float32')
        mask = np.zeros((h, w, self.cfg['n_classes']), 'float32')
        for class_id, rle in self.defects[image_id].items():
            mask[..., class_id - 1] = Rle.to_mask(rle, h, w)
        return (image[..., None] - 115.0) / 40.0, mask

    def __getitem__(self, idx):
        size = self.cfg['batch_size']
        batch = [self.load(i) for i in self.ids[idx * size:(idx + 1) * size]]
        x, y = np.stack([b[0] for b in batch]), np.stack([b[1] for b in batch])
        if self.augment and self.rng.random() < 0.5:
            x, y = x[:, :, ::-1], y[:, :, ::-1]
        if self.augment and self.rng.random() < 0.5:
            x, y = x[:, ::-1], y[:, ::-1]
        return np.ascontiguousarray(x), np.ascontiguousarray(y)


def encoder_block(x, filters):
    shortcut = layers.Conv2D(filters, 1, strides=2)(x)
    x = layers.Conv2D(filters, 3, strides=2, padding='same', activation='relu')(x)
    x = layers.DepthwiseConv2D(3, padding='same', activation='relu')(x)
    x = layers.Conv2D(filters, 1)(x)
    return layers.ReLU()(layers.add([x, shortcut]))


def decoder_block(x, out_filters):
    x = layers.Conv2D(x.shape[-1] // 2, 1, activation='relu')(x)
    x = layers.Conv2DTranspose(x.shape[-1], 3, strides=2, padding='same', activation='relu')(x)
    return layers.Conv2D(out_filters, 1, activation='relu')(x)


def linknet(cfg):
    inp = keras.Input((cfg['height'], cfg['width'], 1))
    x = layers.Conv2D(cfg['filters'][0], 5, padding='same', activation='relu')(inp)
    features = [x]
    for f in cfg['filters'][1:]:
        x = encoder_block(x, f)
        features.append(x)
    for skip in features[-2::-1]:
        x = decoder_block(x, skip.shape[-1])
        x = layers.add([x, skip])
    x = layers.Conv2D(cfg['filters'][0], 3, padding='same', activation='relu')(x)
    return keras.Model(inp, layers.Conv2D(cfg['n_classes'], 1, activation='sigmoid')(x))


def focal(y_true, y_pred):
    p = ops.clip(y_pred, 1e-6, 1 - 1e-6)
    pos = -CFG['alpha'] * (1 - p) ** CFG['gamma'] * ops.log(p) * y_true
    neg = -(1 - CFG['alpha']) * p ** CFG['gamma'] * ops.log(1 - p) * (1 - y_true)
    return ops.mean(pos + neg, axis=-1)


def dice_per_class(y_true, y_pred):
    inter = ops.sum(y_true * y_pred, axis=(0, 1, 2))
    return (2 * inter + 1.0) / (ops.sum(y_true, axis=(0, 1, 2)) + ops.sum(y_pred, axis=(0, 1, 2)) + 1.0)


def focal_dice(y_true, y_pred):
    return CFG['focal_weight'] * ops.mean(focal(y_true, y_pred)) + 1 - ops.mean(dice_per_class(y_true, y_pred))


def hard_dice(y_true, y_pred):
    return ops.mean(dice_per_class(y_true, ops.cast(y_pred > 0.5, 'float32')))


if __name__ == '__main__':
    keras.utils.set_random_seed(CFG['seed'])
    defects = read_table(CFG)
    ids = sorted(defects)
    np.random.RandomState(0).shuffle(ids)
    n_val = int(len(ids) * CFG['val_part'])
    train = SteelSequence(ids[n_val:], defects, CFG, augment=True)
    val = SteelSequence(ids[:n_val], defects, CFG)
    model = linknet(CFG)
    model.compile(keras.optimizers.AdamW(CFG['lr'], weight_decay=1e-4), focal_dice, metrics=[hard_dice])
    model.fit(train, validation_data=val, epochs=CFG['epochs'],
              callbacks=[keras.callbacks.TerminateOnNaN(), keras.callbacks.CSVLogger('log.csv')])
