# Knee MRI: bone and cartilage with a (very) small vision transformer, tf.data.Dataset.from_generator
import glob
import random

import keras
import numpy as np
import tensorflow as tf
from keras import layers

SEED = 5
SIDE = 64
PATCH = 8
DIM = 32
HEADS = 4
DEPTH = 2
CLASSES = 3          # rest, bone, cartilage
BATCH_SIZE = 6
EPOCHS = 12

keras.utils.set_random_seed(SEED)

knees = sorted(glob.glob("knees/knee_*.npz"))
random.Random(SEED).shuffle(knees)
val_knees, train_knees = knees[:3], knees[3:]      # a knee is either here or there


def normalise(mri):
    # every scanner has its own units
    mri = mri.astype("float32")
    return mri / np.percentile(mri, 99)


def slices_of(files):
    images, labels = [], []
    for f in files:
        with np.load(f) as knee:
            images.append(normalise(knee["mri"]))
            labels.append(knee["seg"].astype("int32"))
    return np.concatenate(images)[..., None], np.concatenate(labels)


train_images, train_labels = slices_of(train_knees)
val_images, val_labels = slices_of(val_knees)


def train_generator():
    order = np.random.permutation(len(train_images))
    for i in order:
        image, label = train_images[i], train_labels[i]
        if random.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        yield image, label


def val_generator():
    for image, label in zip(val_images, val_labels):
        yield image, label


signature = (
    tf.TensorSpec((SIDE, SIDE, 1), tf.float32),
    tf.TensorSpec((SIDE, SIDE), tf.int32),
)
train_set = tf.data.Dataset.from_generator(train_generator, output_signature=signature).batch(BATCH_SIZE).prefetch(2)
val_set = tf.data.Dataset.from_generator(val_generator, output_signature=signature).batch(BATCH_SIZE)


class AddPositions(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=(1, shape[1], shape[2]), initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table


def encoder_block(x):
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.MultiHeadAttention(HEADS, DIM // HEADS)(y, y)
    x = layers.Add()([x, y])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.Dense(2 * DIM, activation="gelu")(y)
    y = layers.Dense(DIM)(y)
    return layers.Add()([x, y])


def segmenter():
    inputs = keras.Input((SIDE, SIDE, 1))
    detail = layers.Conv2D(8, 3, padding="same", activation="gelu")(inputs)
    middle = layers.Conv2D(16, 4, strides=4, activation="gelu")(detail)
    grid = SIDE // PATCH
    x = layers.Conv2D(DIM, 2, strides=2)(middle)             # tokens of 8 x 8 pixels
    x = layers.Reshape((grid * grid, DIM))(x)
    x = AddPositions()(x)
    for _ in range(DEPTH):
        x = encoder_block(x)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Reshape((grid, grid, DIM))(x)
    x = layers.UpSampling2D(2)(x)
    x = layers.Conv2D(24, 3, padding="same", activation="gelu")(layers.Concatenate()([x, middle]))
    x = layers.UpSampling2D(4, interpolation="bilinear")(x)
    x = layers.Conv2D(16, 3, padding="same", activation="gelu")(layers.Concatenate()([x, detail]))
    x = layers.Conv2D(16, 3, padding="same", activation="gelu")(x)
    return keras.Model(inputs, layers.Conv2D(CLASSES, 1, activation="softmax")(x))


steps = EPOCHS * (len(train_images) // BATCH_SIZE)
schedule = keras.optimizers.schedules.CosineDecay(1e-4, steps, warmup_target=6e-3, warmup_steps=20)

model = segmenter()
model.compile(
    optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-4, clipnorm=1.0),
    loss="sparse_categorical_crossentropy",
    metrics=[keras.metrics.MeanIoU(CLASSES, sparse_y_pred=False, name="mean_iou")],
)
model.fit(train_set, validation_data=val_set, epochs=EPOCHS, verbose=2)

predicted = np.concatenate([np.argmax(model.predict_on_batch(x), -1) for x, _ in val_set])
expected = np.concatenate([np.load(f)["seg"] for f in val_knees])[:len(predicted)]
for i, tissue in ((1, "bone"), (2, "cartilage")):
    a, b = predicted == i, expected == i
    print(tissue, "dice", round(float(2 * (a & b).sum() / (a.sum() + b.sum())), 3), end="; ")
print()
