"""
Road extraction. Usage: put sat_<n>.png and <n>_map.png into roads_demo/ (written below if the folder is not there).
Encoder-decoder as an FCN with additive skips, training loop in train_step because I log the gradient norm.
"""
import os
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
import keras
from keras import layers
from PIL import Image, ImageDraw

FOLDER = Path("roads_demo")
IMG_SIZE = 64
BATCH_SIZE = 6
N_VAL = 30
LEARNING_RATE = 1.5e-3
FILTERS = (16, 24, 32)
keras.utils.set_random_seed(8)


def write_demo(n=130):
    FOLDER.mkdir()
    r = np.random.default_rng(8)
    for i in range(1, n + 1):
        base = np.array([92, 120, 70]) + r.normal(0, 14, 3)
        land = np.kron(r.normal(0, 9, (8, 8, 3)), np.ones((8, 8, 1))) + r.normal(0, 7, (64, 64, 3))
        sat = Image.fromarray((base + land).clip(0, 255).astype(np.uint8))
        road_map = Image.new("L", (64, 64), 0)
        a, b = ImageDraw.Draw(sat), ImageDraw.Draw(road_map)
        for _ in range(r.integers(0, 4)):  # barns
            x, y = (int(v) for v in r.integers(2, 54, 2))
            a.rectangle((x, y, x + 7, y + 5), fill=(205, 200, 196))
        grey, width = int(r.integers(150, 190)), int(r.integers(4, 7))
        for _ in range(r.integers(1, 3)):
            line = [(-2, int(r.integers(0, 64))), (int(r.integers(20, 44)), int(r.integers(10, 54))), (66, int(r.integers(0, 64)))]
            if r.random() < 0.5:
                line = [(y, x) for x, y in line]
            a.line(line, fill=(grey, grey - 4, grey - 10), width=width, joint="curve")
            b.line(line, fill=255, width=width, joint="curve")
        sat.save(FOLDER / f"sat_{i}.png")
        road_map.save(FOLDER / f"{i}_map.png")


def number(path):
    return int(re.findall(r"\d+", path.name)[0])


def read(sat_path, map_path):
    sat = tf.io.decode_png(tf.io.read_file(sat_path), channels=3)
    sat = tf.image.resize(sat, (IMG_SIZE, IMG_SIZE)) / 255.0
    road = tf.io.decode_png(tf.io.read_file(map_path), channels=1)
    road = tf.image.resize(road, (IMG_SIZE, IMG_SIZE), method="nearest")
    road = tf.cast(road, tf.float32) / 255.0
    return sat, road


def flips(sat, road):
    seed = tf.random.uniform((2,), maxval=2**30, dtype=tf.int32)
    sat = tf.image.stateless_random_flip_left_right(sat, seed)
    road = tf.image.stateless_random_flip_left_right(road, seed)
    sat = tf.image.stateless_random_flip_up_down(sat, seed + 1)
    road = tf.image.stateless_random_flip_up_down(road, seed + 1)
    sat = tf.image.random_brightness(sat, 0.1)
    return sat, road


if not FOLDER.exists():
    write_demo()
sat_files = sorted(FOLDER.glob("sat_*.png"), key=number)
map_files = sorted(FOLDER.glob("*_map.png"), key=number)
files = tf.data.Dataset.from_tensor_slices(([str(f) for f in sat_files], [str(f) for f in map_files]))
pairs = files.map(read).cache()
val_ds = pairs.take(N_VAL).batch(BATCH_SIZE)
train_ds = pairs.skip(N_VAL).shuffle(200).map(flips).batch(BATCH_SIZE).prefetch(1)


class Block(layers.Layer):
    def __init__(self, filters, pad="same", **kw):
        super().__init__(**kw)
        self.convs = [layers.Conv2D(filters, 3, padding=pad, kernel_initializer="he_normal") for _ in range(2)]
        self.norms = [layers.BatchNormalization(momentum=0.9) for _ in range(2)]

    def call(self, x, training=None):
        for conv, norm in zip(self.convs, self.norms):
            x = tf.nn.relu(norm(conv(x), training=training))
        return x


class RoadNet(keras.Model):
    def __init__(self):
        super().__init__(name="road_net")
        self.down = [Block(f) for f in FILTERS]
        self.pool = layers.MaxPooling2D()
        self.sides = [layers.Conv2D(16, 1) for _ in FILTERS]
        self.up = layers.UpSampling2D(interpolation="bilinear")
        self.fuse = Block(16)
        self.head = layers.Conv2D(1, 1, activation="sigmoid")

    def call(self, x, training=None):
        feats = []
        for block in self.down:
            x = block(x, training=training)
            feats.append(x)
            x = self.pool(x)
        x = self.sides[-1](feats[-1])
        for side, feat in zip(self.sides[-2::-1], feats[-2::-1]):
            x = self.up(x) + side(feat)
        return self.head(self.fuse(x, training=training))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        weights = self.trainable_variables
        grads = tape.gradient(loss, weights)
        self.optimizer.apply_gradients(zip(grads, weights))
        logs = {"grad_norm": tf.linalg.global_norm(grads)}
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
            logs[metric.name] = metric.result()
        return logs


def soft_jaccard(y_true, y_pred):
    inter = tf.reduce_sum(y_true * y_pred)
    union = tf.reduce_sum(y_true) + tf.reduce_sum(y_pred) - inter
    return 1.0 - (inter + 1.0) / (union + 1.0)


def jaccard_bce(y_true, y_pred):
    p = tf.clip_by_value(y_pred, 1e-6, 1 - 1e-6)
    bce = -tf.reduce_mean(y_true * tf.math.log(p) + (1 - y_true) * tf.math.log(1 - p))
    return bce + soft_jaccard(y_true, y_pred)


net = RoadNet()
net.build((None, IMG_SIZE, IMG_SIZE, 3))
net.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=jaccard_bce,
            metrics=[keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.5, name="road_iou")])
net.fit(train_ds, validation_data=val_ds, epochs=6, verbose=2)
os.makedirs("road_out", exist_ok=True)
for k, p in enumerate(net.predict(val_ds, verbose=0)[:4]):
    Image.fromarray((255 * p[..., 0]).astype(np.uint8)).save(f"road_out/{k}.png")
