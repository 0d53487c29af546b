# %% [markdown]
# # Counting rice: background / grain / border, 2-fold cross validation
# Grains touch, so a plain mask is not enough. Third class = outline of each grain (where two touch it is what separates
# them), afterwards `ndimage.label` counts. Version 7: weights for the outline, warm-up.

# %%
import os

import cv2
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy import ndimage

ROOT = "rice"
SIZE = 64
N_CLASSES = 3
FOLDS = 2
EPOCHS = 11
BS = 7
LR = 4e-3
keras.utils.set_random_seed(0)

# %%
def to_classes(ids):
    y = (ids > 0).astype("uint8")
    outline = ndimage.maximum_filter(ids, 3) != ndimage.minimum_filter(ids, 3)
    y[outline & (ids > 0)] = 2
    return y


def load(name):
    img = cv2.cvtColor(cv2.imread(f"{ROOT}/photos/{name}"), cv2.COLOR_BGR2RGB)
    ids = cv2.imread(f"{ROOT}/instances/{name}", cv2.IMREAD_UNCHANGED)
    img = cv2.resize(img, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    y = to_classes(cv2.resize(ids, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST))
    return img, y, len(np.unique(ids)) - 1


names = sorted(os.listdir(f"{ROOT}/photos"))
X, Y, n_grains = map(np.array, zip(*[load(n) for n in names]))
X = X / 255.0
X = X.astype("float32")
print(X.shape, Y.shape, "pixels per class", np.bincount(Y.ravel()), "grains", n_grains.sum())

# %%
WEIGHTS = tf.constant([1.0, 1.0, 2.0])


def augment(x, y):
    k = tf.random.uniform((), 0, 4, tf.int32)
    x, y = tf.image.rot90(x, k), tf.image.rot90(y, k)
    x = tf.image.random_brightness(x, 0.08)
    return x, y


def weigh(x, y):
    return x, y, tf.gather(WEIGHTS, tf.cast(y[..., 0], tf.int32))


def make_ds(x, y, training=False):
    ds = tf.data.Dataset.from_tensor_slices((x, y[..., None]))
    if training:
        ds = ds.shuffle(len(x)).map(augment, num_parallel_calls=2)
    return ds.map(weigh).batch(BS).prefetch(2)


# %%
def conv(x, n):
    x = layers.SeparableConv2D(n, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.85)(x)
    return layers.Activation("relu")(x)


def get_model():
    inp = layers.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(inp)
    c1 = conv(x, 24)
    c2 = conv(conv(layers.MaxPooling2D()(c1), 48), 48)
    c3 = conv(conv(layers.MaxPooling2D()(c2), 64), 64)
    u2 = layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(c3), c2])
    u2 = conv(u2, 48)
    u1 = layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(u2), c1])
    u1 = conv(u1, 24)
    out = layers.Conv2D(N_CLASSES, 1, activation="softmax")(u1)
    return keras.Model(inp, out)


def warm_up(epoch, lr):
    if epoch < 2:
        return LR * (epoch + 1) / 2
    return LR if epoch < 8 else LR / 5


# %%
def iou(y, p, c):
    return ((y == c) & (p == c)).sum() / max(1, ((y == c) | (p == c)).sum())


folds = np.array_split(np.random.permutation(len(X)), FOLDS)
history = []
for f in range(FOLDS):
    test = folds[f]
    train = np.concatenate([folds[k] for k in range(FOLDS) if k != f])
    keras.backend.clear_session()
    model = get_model()
    model.compile(optimizer=keras.optimizers.Adam(LR), loss="sparse_categorical_crossentropy",
                  metrics=[keras.metrics.MeanIoU(N_CLASSES, sparse_y_pred=False, name="miou")], jit_compile=False)
    h = model.fit(make_ds(X[train], Y[train], True), validation_data=make_ds(X[test], Y[test]), epochs=EPOCHS, verbose=0,
                  callbacks=[keras.callbacks.LearningRateScheduler(warm_up)])
    history.append(h.history)
    p = model.predict(X[test], verbose=0).argmax(-1)
    counted = [ndimage.label(one == 1)[1] for one in p]
    scores = [iou(Y[test], p, c) for c in (1, 2)]
    print(f"fold {f}: val_miou {h.history['val_miou'][-1]:.4f}  grain {scores[0]:.4f}  border {scores[1]:.4f}"
          f"  grains off by {np.abs(np.array(counted) - n_grains[test]).mean():.2f} per picture")
    history[-1]["score"] = np.mean(scores)

# %%
print("CV score: %.4f" % np.mean([h["score"] for h in history]))
