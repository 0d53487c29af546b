import os
os.environ['KERAS_BACKEND'] = 'torch'

import random
from collections import OrderedDict

import keras
import numpy as np
import torch
from keras import layers as kl
from keras import ops
from PIL import Image

# ---- face parsing, BiSeNet-like (detail branch + context branch), OHEM + dice ----

PARTS = OrderedDict(skin=1, hair=2, cloth=3, eyes=4, mouth=5)   # later ones lie on top
N = len(PARTS) + 1
DIR = 'faces'
N_TEST = 16


def seed_all(s=5):
    random.seed(s)
    np.random.seed(s)
    torch.manual_seed(s)
    keras.utils.set_random_seed(s)


def read_face(number):
    rgb = np.array(Image.open(f'{DIR}/img/{number}.jpg').convert('RGB'))
    ids = np.zeros(rgb.shape[:2], np.int32)
    for part, k in PARTS.items():
        file = f'{DIR}/parts/{number:05d}_{part}.png'
        if os.path.exists(file):       # not every part is seen
            ids[np.array(Image.open(file)) > 127] = k
    return rgb, ids


def to_input(rgb):
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return (np.float32(rgb) / 255 - mean) / std


def random_crop_resize(rgb, ids, low=0.7):
    h, w = ids.shape
    s = random.uniform(low, 1.0)
    ch, cw = int(h * s), int(w * s)
    t, l = random.randint(0, h - ch), random.randint(0, w - cw)
    rgb = Image.fromarray(rgb[t:t + ch, l:l + cw]).resize((w, h), Image.BILINEAR)
    ids = Image.fromarray(ids[t:t + ch, l:l + cw].astype(np.uint8)).resize((w, h), Image.NEAREST)
    return np.array(rgb), np.array(ids).astype(np.int32)


def jitter(rgb):
    gain = random.uniform(0.8, 1.2)
    return np.clip(rgb * gain, 0, 255).astype(np.uint8)


class Faces(keras.utils.PyDataset):
    def __init__(self, numbers, batch=6, train=False):
        super().__init__()
        self.numbers, self.batch, self.train = list(numbers), batch, train
        self.faces = [read_face(n) for n in self.numbers]

    def __len__(self):
        return len(self.numbers) // self.batch + (len(self.numbers) % self.batch > 0)

    def on_epoch_end(self):
        if self.train:
            random.shuffle(self.faces)

    def __getitem__(self, b):
        xs, ys = [], []
        for rgb, ids in self.faces[b * self.batch:(b + 1) * self.batch]:
            if self.train:
                rgb, ids = random_crop_resize(rgb, ids)
                rgb = jitter(rgb)
                if random.random() < 0.5:
                    rgb, ids = rgb[:, ::-1], ids[:, ::-1]
            xs.append(to_input(rgb))
            ys.append(ids)
        return np.stack(xs), np.stack(ys)


def cbr(x, f, k=3, s=1, act='relu'):
    x = kl.Conv2D(f, k, strides=s, padding='same', use_bias=False)(x)
    x = kl.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return kl.Activation(act)(x)


def attention_refine(x):
    g = kl.GlobalAveragePooling2D(keepdims=True)(x)
    g = kl.Conv2D(x.shape[-1], 1, activation='sigmoid')(g)
    return kl.Multiply()([x, g])


def bisenet(size=64):
    inp = keras.Input((size, size, 3))
    # detail
    d = cbr(cbr(inp, 8), 24, s=2)
    d = cbr(d, 32)
    # context
    c = cbr(inp, 16, s=2)
    c4 = cbr(cbr(c, 24, s=2), 32)
    c8 = attention_refine(cbr(cbr(c4, 48, s=2), 48))
    c = kl.UpSampling2D(2, interpolation='bilinear')(c8)
    c = cbr(kl.Concatenate()([c, attention_refine(c4)]), 32)
    c = kl.UpSampling2D(2, interpolation='bilinear')(c)
    # fusion
    f = cbr(kl.Concatenate()([d, c]), 40)
    f = kl.Add()([f, attention_refine(f)])
    f = kl.UpSampling2D(2, interpolation='bilinear')(cbr(f, 16))
    f = cbr(kl.Concatenate()([f, inp]), 16)
    return keras.Model(inp, kl.Conv2D(N, 1)(f))


class OhemDice(keras.losses.Loss):
    """Cross-entropy of the hardest quarter of the pixels, and soft dice of the parts."""

    def __init__(self, keep=0.25, dice=1.0):
        super().__init__(name='ohem_dice')
        self.keep, self.dice = keep, dice

    def call(self, ids, logits):
        t = ops.one_hot(ids, N)
        ce = ops.categorical_crossentropy(t, logits, from_logits=True)
        ce = ops.reshape(ce, (-1,))
        k = int(self.keep * int(ce.shape[0]))
        hard, _ = ops.top_k(ce, k)
        p = ops.softmax(logits, axis=-1)
        inter = ops.sum(p * t, axis=(0, 1, 2))
        dice = (2 * inter + 1) / (ops.sum(p, axis=(0, 1, 2)) + ops.sum(t, axis=(0, 1, 2)) + 1)
        return ops.mean(hard) + self.dice * (1 - ops.mean(dice))


def main():
    seed_all()
    numbers = sorted(int(f.split('.')[0]) for f in os.listdir(f'{DIR}/img'))
    train, test = Faces(numbers[:-N_TEST], train=True), Faces(numbers[-N_TEST:])
    net = bisenet()
    net.compile(keras.optimizers.AdamW(2e-3, weight_decay=1e-3), loss=OhemDice(),
                metrics=[keras.metrics.MeanIoU(N, sparse_y_pred=False, name='miou')])

    def rate(epoch, lr):
        return lr * 0.3 if epoch in (5, 7) else lr

    net.fit(train, validation_data=test, epochs=9, verbose=2, callbacks=[keras.callbacks.LearningRateScheduler(rate)])

    pred = np.argmax(ops.convert_to_numpy(net.predict(test, verbose=0)), -1)
    true = np.concatenate([test[i][1] for i in range(len(test))])
    f1 = {p: 2 * ((pred == k) & (true == k)).sum() / max(1, (pred == k).sum() + (true == k).sum()) for p, k in PARTS.items()}
    print('F1', {p: round(float(v), 3) for p, v in f1.items()}, 'mean %.3f' % np.mean(list(f1.values())))
    net.save('bisenet_faces.keras')


if __name__ == '__main__':
    main()
