# DeepLab-like net for our own street pictures, annotated the ADE20K way (0 = "other", 1..8 = the classes).
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

IM_H, IM_W = 64, 96
NUM_CLASSES = 8
IGNORE = 255
BS = 8
NUM_EPOCHS = 7
BN_MOMENTUM = 0.9
BASE_LR = 0.04
COLORS = np.array([[120, 170, 230], [90, 90, 95], [180, 70, 60], [50, 130, 55], [235, 220, 90], [150, 60, 170],
                   [240, 240, 240], [30, 35, 90]], np.float32)
tf.keras.utils.set_random_seed(5)


def draw_street(r):
    ids = np.zeros((IM_H, IM_W), np.uint8)
    horizon, foot = r.integers(20, 30), r.integers(40, 50)
    ids[:horizon], ids[horizon:foot], ids[foot:] = 1, 4, 2          # sky, green, road
    yy, xx = np.mgrid[:IM_H, :IM_W]
    for _ in range(r.integers(1, 4)):                                # houses
        a, w, h = r.integers(0, IM_W - 10), r.integers(10, 26), r.integers(10, 24)
        ids[max(0, foot - h):foot, a:a + w] = 3
    for c in (5, 6, 7, 8):                                           # taxi, bus, sheep, dog
        if r.random() < 0.55:
            cy, cx, a, b = r.integers(40, 58), r.integers(8, IM_W - 8), r.integers(4, 8), r.integers(6, 12)
            ids[((yy - cy) / a) ** 2 + ((xx - cx) / b) ** 2 < 1] = c
    rgb = COLORS[ids - 1] + r.normal(0, 14, (IM_H, IM_W, 3)) + r.uniform(-18, 18)
    edge = np.zeros(ids.shape, bool)
    edge[1:] |= ids[1:] != ids[:-1]
    edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    ids[edge] = 0                                                    # annotators leave borders out
    return rgb.clip(0, 255).astype(np.uint8), ids.T.copy()           # labels are in MATLAB's order


def make(n, seed):
    r = np.random.default_rng(seed)
    pairs = [draw_street(r) for _ in range(n)]
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])


def prepare(image, label):
    image = tf.cast(image, tf.float32)
    label = tf.transpose(label)
    label = tf.cast(label, tf.int32) - 1
    label = tf.where(label < 0, IGNORE, label)
    return image, label[..., tf.newaxis]


def normalize(image, label):
    return (image - 127.5) / 64.0, label


def augment(image, label):
    if tf.random.uniform(()) > 0.5:
        image = tf.image.flip_left_right(image)
        label = tf.image.flip_left_right(label)
    image = tf.image.random_contrast(image, 0.9, 1.1)
    return image, label


train_x, train_y = make(120, 0)
valid_x, valid_y = make(32, 1)
steps_per_epoch = len(train_x) // BS

train_data = (tf.data.Dataset.from_tensor_slices((train_x, train_y))
              .shuffle(120)
              .repeat()
              .map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
              .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
              .map(normalize)
              .batch(BS, drop_remainder=True)
              .prefetch(2))
valid_data = tf.data.Dataset.from_tensor_slices((valid_x, valid_y)).map(prepare).map(normalize).batch(BS)


def conv_block(x, filters, k=3, stride=1, rate=1):
    x = layers.Conv2D(filters, k, strides=stride, dilation_rate=rate, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=BN_MOMENTUM)(x)
    return layers.ReLU()(x)


def aspp(x, filters=32):
    pool = layers.GlobalAveragePooling2D(keepdims=True)(x)
    pool = layers.Conv2D(filters, 1, activation="relu")(pool)
    pool = layers.UpSampling2D((x.shape[1], x.shape[2]), interpolation="bilinear")(pool)
    branches = [conv_block(x, filters, 1)] + [conv_block(x, filters, 3, rate=r) for r in (2, 4)]
    return conv_block(layers.Concatenate()(branches + [pool]), filters, 1)


def build():
    img = keras.Input((IM_H, IM_W, 3))
    low = conv_block(conv_block(img, 16, stride=2), 24)
    x = conv_block(low, 32, stride=2)
    x = conv_block(x, 48, stride=2)
    x = conv_block(x, 48, rate=2)
    x = aspp(x)
    x = layers.UpSampling2D(4, interpolation="bilinear")(x)
    x = layers.Concatenate()([x, conv_block(low, 12, 1)])
    x = conv_block(x, 32)
    x = layers.Conv2D(NUM_CLASSES, 1, name="classifier")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(img, x)


model = build()
poly = keras.optimizers.schedules.PolynomialDecay(BASE_LR, NUM_EPOCHS * steps_per_epoch, 1e-4, power=0.9)
model.compile(
    optimizer=keras.optimizers.SGD(poly, momentum=0.9, nesterov=True),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORE),
    metrics=[keras.metrics.MeanIoU(NUM_CLASSES, sparse_y_pred=False, ignore_class=IGNORE, name="miou")],
)
model.fit(train_data, epochs=NUM_EPOCHS, steps_per_epoch=steps_per_epoch, validation_data=valid_data, verbose=2)
model.save("streets.keras")
