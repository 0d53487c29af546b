"""Nuclei in fluorescence, LinkNet on Keras with torch underneath. Instance maps are merged on the fly."""
import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from keras import layers, ops

TILE, BATCH, N_TRAIN, N_TEST = 64, 6, 90, 30
EPOCHS = 7
keras.utils.set_random_seed(99)


def well(rs):
    """A frame of 80 x 80 as 16 bit counts and its instance map; some wells are empty, some frames were never lit."""
    img = np.full((80, 80), 300.0)
    inst = np.zeros((80, 80), np.uint16)
    if rs.rand() < 0.04:
        return np.full((80, 80), 300, np.uint16), inst
    yy, xx = np.mgrid[:80, :80]
    for k in range(1, rs.randint(8, 20)):
        cy, cx, a, b, t = rs.uniform(3, 77), rs.uniform(3, 77), rs.uniform(3.5, 7), rs.uniform(3.5, 7), rs.uniform(0, np.pi)
        u = (yy - cy) * np.cos(t) + (xx - cx) * np.sin(t)
        v = -(yy - cy) * np.sin(t) + (xx - cx) * np.cos(t)
        d = (u / a) ** 2 + (v / b) ** 2
        inst[d < 1] = k
        img += rs.uniform(1500, 4000) * np.exp(-d ** 3) * (0.8 + 0.2 * np.sin(u))
    img += 500 * np.exp(-((yy - 40) ** 2 + (xx - 40) ** 2) / 2500)
    return rs.poisson(np.clip(img, 0, None)).astype(np.uint16), inst


def load(n, seed):
    rs = np.random.RandomState(seed)
    frames = [well(rs) for _ in range(n)]
    return np.stack([f for f, _ in frames]), np.stack([i for _, i in frames])


def standardize(img):
    img = img.astype("float32")
    return (img - img.mean()) / (img.std() + 1.0)


def to_mask(instances):
    return (instances > 0).astype("float32")


def batches(frames, instances, augment, seed=0):
    rs = np.random.RandomState(seed)
    pos, order = 0, np.arange(len(frames))
    while True:
        if augment and pos == 0:
            rs.shuffle(order)
        chosen = order[pos:pos + BATCH]
        pos = pos + BATCH if pos + BATCH < len(frames) else 0
        X, Y = [], []
        for i in chosen:
            img, msk = standardize(frames[i]), to_mask(instances[i])
            if augment:
                top, left = rs.randint(0, 80 - TILE, 2)
                if rs.rand() < 0.5:
                    img, msk = img[::-1], msk[::-1]
                if rs.rand() < 0.5:
                    img, msk = img.T, msk.T
            else:
                top = left = 8
            X.append(img[top:top + TILE, left:left + TILE])
            Y.append(msk[top:top + TILE, left:left + TILE])
        yield np.stack(X)[..., None], np.stack(Y)[..., None]


def conv_bn(x, f, k=3, s=1):
    x = layers.Conv2D(f, k, strides=s, padding="same", use_bias=True, kernel_initializer="he_uniform")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation("relu")(x)


def res_block(x, f, s=1):
    short = conv_bn(x, f, 1, s)
    return layers.Add()([conv_bn(conv_bn(x, f, 3, s), f), short])


def decode(x, f_out):
    x = conv_bn(x, x.shape[-1] // 2, 1)
    x = layers.Conv2DTranspose(x.shape[-1], 4, strides=2, padding="same", activation="relu")(x)
    return conv_bn(x, f_out, 1)


def linknet():
    i = keras.Input((TILE, TILE, 1))
    stem = conv_bn(i, 16)
    e1 = res_block(stem, 16, 2)
    e2 = res_block(e1, 32, 2)
    e3 = res_block(e2, 64, 2)
    x = layers.Add()([decode(e3, 32), e2])
    x = layers.Add()([decode(x, 16), e1])
    x = layers.Add()([decode(x, 16), stem])
    x = conv_bn(x, 16)
    out = layers.Conv2D(1, 3, padding="same", bias_initializer=keras.initializers.Constant(-1.0))(x)
    return keras.Model(i, out)


bce = keras.losses.BinaryCrossentropy(from_logits=True)


def loss_fn(y, logit):
    p = ops.sigmoid(logit)
    inter = ops.sum(y * p, axis=(1, 2, 3))
    dice = (2 * inter + 1) / (ops.sum(y, axis=(1, 2, 3)) + ops.sum(p, axis=(1, 2, 3)) + 1)
    return bce(y, logit) + 0.5 * (1 - ops.mean(dice))


def f1(y, logit):
    hard = ops.cast(logit > 0, "float32")
    return (2 * ops.sum(y * hard) + 1e-6) / (ops.sum(y) + ops.sum(hard) + 1e-6)


x_tr, i_tr = load(N_TRAIN, 1)
x_te, i_te = load(N_TEST, 2)
net = linknet()
net.compile(keras.optimizers.AdamW(2e-3, weight_decay=1e-4), loss_fn, metrics=[f1])
log = net.fit(batches(x_tr, i_tr, augment=True), steps_per_epoch=N_TRAIN // BATCH, epochs=EPOCHS,
              validation_data=batches(x_te, i_te, augment=False), validation_steps=N_TEST // BATCH, verbose=2)
print("test F1", log.history["val_f1"][-1])
