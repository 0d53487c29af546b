import dataclasses
import pathlib
import typing as tp

import keras
import numpy as np
import tensorflow as tf


@dataclasses.dataclass
class Config:
    data: pathlib.Path = pathlib.Path("camvid")
    classes: int = 4
    side: int = 64
    width: int = 16
    lr: float = 1e-3
    batch: int = 8
    epochs: int = 50
    clip: float = 1.0


class SegModel(keras.Model):
    """Mixed loss computed by hand, gradients clipped by global norm."""

    def __init__(self, net: keras.Model, cfg: Config, **kw):
        super().__init__(**kw)
        self.net, self.cfg = net, cfg
        self.total = keras.metrics.Mean(name="total")
        self.iou = keras.metrics.MeanIoU(cfg.classes, sparse_y_pred=False, name="iou")

    @property
    def metrics(self):
        return [self.total, self.iou]

    def call(self, x, training=False):
        return self.net(x, training=training)

    def _loss(self, y, logits):
        ce = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        p = tf.nn.softmax(logits)
        t = tf.one_hot(y, self.cfg.classes)
        dice = (2 * tf.reduce_sum(p * t, (1, 2)) + 1) / (tf.reduce_sum(p + t, (1, 2)) + 1)
        return tf.reduce_mean(ce) + 1 - tf.reduce_mean(dice)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss = self._loss(y, logits)
        grads = tape.gradient(loss, self.trainable_variables)
        grads, _ = tf.clip_by_global_norm(grads, self.cfg.clip)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
        self.total.update_state(loss)
        self.iou.update_state(y, logits)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data):
        x, y = data
        logits = self(x, training=False)
        self.total.update_state(self._loss(y, logits))
        self.iou.update_state(y, logits)
        return {m.name: m.result() for m in self.metrics}


class Trainer:
    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.model = SegModel(self.net(), cfg)

    def dataset(self, split: str, training: bool) -> tf.data.Dataset:
        files = sorted(str(p) for p in (self.cfg.data / split).glob("*.png"))

        def parse(path):
            image = tf.io.decode_png(tf.io.read_file(path), 3)
            label = tf.io.decode_png(tf.io.read_file(tf.strings.regex_replace(path, split, split + "annot")), 1)
            image = tf.image.convert_image_dtype(image, tf.float32)
            return tf.ensure_shape(image, (self.cfg.side,) * 2 + (3,)), tf.cast(label[..., 0], tf.int32)

        def flip(image, label):
            if tf.random.uniform(()) < 0.5:
                image, label = image[:, ::-1], label[:, ::-1]
            return image, label

        ds = tf.data.Dataset.from_tensor_slices(files)
        if training:
            ds = ds.shuffle(len(files))
        ds = ds.map(parse, tf.data.AUTOTUNE)
        if training:
            ds = ds.map(flip, tf.data.AUTOTUNE)
        return ds.batch(self.cfg.batch).prefetch(2)

    def net(self) -> keras.Model:
        w = self.cfg.width

        def block(x, f):
            x = keras.layers.Conv2D(f, 3, padding="same")(x)
            x = keras.layers.GroupNormalization(4)(x)
            return keras.layers.Activation("swish")(x)

        i = keras.Input((self.cfg.side, self.cfg.side, 3))
        a = block(i, w)
        b = block(keras.layers.AveragePooling2D(2)(a), 2 * w)
        c = block(block(keras.layers.AveragePooling2D(2)(b), 4 * w), 4 * w)
        d = block(keras.layers.Concatenate()([keras.layers.UpSampling2D()(c), b]), 2 * w)
        e = block(keras.layers.Concatenate()([keras.layers.UpSampling2D()(d), a]), w)
        return keras.Model(i, keras.layers.Conv2D(self.cfg.classes, 1)(e))

    def run(self) -> tp.Dict[str, tp.List[float]]:
        self.model.compile(optimizer=keras.optimizers.Adam(self.cfg.lr))
        return self.model.fit(self.dataset("train", True), validation_data=self.dataset("val", False), epochs=self.cfg.epochs).history


if __name__ == "__main__":
    Trainer(Config()).run()
