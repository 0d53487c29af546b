import os
os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from keras import layers as L
from keras import ops as K

# thyroid ultrasound phantom: 0 background, 1 gland, 2 nodule

side = 64
n_cls = 3
bs = 6
epochs = 6
lr = 2e-3
decay = 1e-6
keras.utils.set_random_seed(17)


def scan(g):
    yy, xx = np.mgrid[:side, :side] / side
    lab = np.zeros((side, side), "uint8")
    cx, cy = g.uniform(.4, .6), g.uniform(.38, .55)
    a, b = g.uniform(.24, .34), g.uniform(.15, .22)
    gland = ((xx - cx) / a) ** 2 + ((yy - cy) / b) ** 2 + .06 * np.sin(9 * xx + g.uniform(0, 6)) < 1
    lab[gland] = 1
    nx, ny, r = cx + g.uniform(-.12, .12), cy + g.uniform(-.05, .05), g.uniform(.09, .14)
    nodule = (xx - nx) ** 2 + ((yy - ny) * g.uniform(.8, 1.3)) ** 2 < r ** 2
    lab[nodule & gland] = 2
    echo = np.choose(lab, [.32, .62, .18]) * (1.05 - .45 * yy)
    echo = echo * g.gamma(12., 1 / 12., (side, side))
    echo[:3] = .95
    for k in range(1, 3):
        echo = (echo + np.roll(echo, k, 1)) / 2
    return np.clip(echo * 255, 0, 255).astype("uint8"), lab


def dataset(n, seed):
    g = np.random.default_rng(seed)
    both = [scan(g) for _ in range(n)]
    img = np.array([s for s, _ in both])
    lab = np.array([l for _, l in both])
    # 4 px of frame of the screen are cut away on each side, then padded again by reflection
    img = np.pad(img[:, 4:-4, 4:-4], ((0, 0), (4, 4), (4, 4)), mode="reflect")
    lab = np.pad(lab[:, 4:-4, 4:-4], ((0, 0), (4, 4), (4, 4)), mode="reflect")
    return img[..., None], lab


def rescale(img):
    return img.astype("float32") / 255.


def unet(act="relu", w=(16, 24, 32), init="he_uniform"):
    reg = keras.regularizers.L2(decay)
    skips = []
    z = inp = L.Input((side, side, 1))
    for f in w:
        z = L.Conv2D(f, 3, padding="same", activation=act, kernel_initializer=init, kernel_regularizer=reg, name=f"enc_{f}a")(z)
        z = L.Conv2D(f, 3, padding="same", activation=act, kernel_initializer=init, kernel_regularizer=reg, name=f"enc_{f}b")(z)
        skips.append(z)
        z = L.MaxPool2D()(z)
    z = L.Conv2D(w[-1], 3, padding="same", activation=act, kernel_initializer=init, kernel_regularizer=reg, name="mid")(z)
    for f in w[::-1]:
        z = L.Concatenate()([L.UpSampling2D()(z), skips.pop()])
        z = L.Conv2D(f, 3, padding="same", activation=act, kernel_initializer=init, kernel_regularizer=reg, name=f"dec_{f}a")(z)
    return keras.Model(inp, L.Conv2D(n_cls, 1, name="scores")(z))


sparse_ce = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def tversky(y, s, alpha=.3, beta=.7):
    y = K.one_hot(K.cast(y, "int32"), n_cls)
    p = K.softmax(s, axis=-1)
    tp = K.sum(y * p, axis=(0, 1, 2))
    fp = K.sum((1 - y) * p, axis=(0, 1, 2))
    fn = K.sum(y * (1 - p), axis=(0, 1, 2))
    return 1 - K.mean((tp + 1) / (tp + alpha * fp + beta * fn + 1))


def criterion(y, s):
    return sparse_ce(y, s) + tversky(y, s)


def scores_by_class(net, x, y):
    hat = np.argmax(net.predict(x, batch_size=16, verbose=0), -1)
    return [2 * ((hat == c) & (y == c)).sum() / max(1, (hat == c).sum() + (y == c).sum()) for c in range(n_cls)]


x_train, y_train = dataset(120, 0)
x_test, y_test = dataset(32, 1)
x_train = rescale(x_train)
x_test = rescale(x_test)

net = unet()
net.compile(optimizer=keras.optimizers.Adam(lr), loss=criterion,
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")])

best = 0
for epoch in range(epochs):
    idx = np.random.permutation(len(x_train))
    losses = []
    for b in range(0, len(idx), bs):
        batch = idx[b:b + bs]
        xb, yb = x_train[batch], y_train[batch]
        if np.random.rand() < .5:
            xb, yb = xb[:, :, ::-1], yb[:, :, ::-1]
        out = net.train_on_batch(xb, yb, return_dict=True)
        losses.append(float(out["loss"]))
    d = scores_by_class(net, x_test, y_test)
    if epoch == 4:
        net.optimizer.learning_rate.assign(lr / 4)
    if np.mean(d[1:]) > best:
        best = np.mean(d[1:])
        net.save_weights("thyroid.weights.h5")
    print(f"{epoch + 1:2d}  loss {np.mean(losses):.4f}  acc {float(out['acc']):.3f}  gland {d[1]:.3f}  nodule {d[2]:.3f}")
