# MA thesis, chapter 4: layout of medieval manuscripts (annotation as in DIVA-HisDB)
#
# A pixel can be comment, decoration and main text at once (an initial painted over the text), so the blue channel of
# the annotation is a bit field. Pixels with the red bit are on the rim of the ink and must not count.
import glob
import os

import numpy as np
import tensorflow as tf
import keras
from keras import layers
from PIL import Image

keras.utils.set_random_seed(1456)

BITS = {"comment": 2, "decoration": 4, "text": 8}
TEST_PAGES = ("csg0004", "csg0009", "csg0013", "csg0017")
BATCH = 6
EPOCHS = 10
RATE = 3e-3


# ---------------------------------------------------------------------------------------------------------- data
def read_page_part(img_file, gt_file):
    x = np.asarray(Image.open(img_file).convert("RGB"))
    gt = np.asarray(Image.open(gt_file))
    bits = gt[..., 2]
    y = np.stack([(bits & bit) > 0 for bit in BITS.values()], axis=-1)
    w = gt[..., 0] != 128
    return x, y, w


def read_all(images, labels):
    parts = [read_page_part(i, g) for i, g in zip(images, labels)]
    x, y, w = (np.stack(column) for column in zip(*parts))
    return x.astype("float32"), y.astype("float32"), w.astype("float32")[..., None]


img_files = sorted(glob.glob("manuscripts/img/*.png"))
gt_files = sorted(glob.glob("manuscripts/pixel-level-gt/*.png"))
is_test = np.array([os.path.basename(f).startswith(TEST_PAGES) for f in img_files])
X, Y, W = read_all(img_files, gt_files)
x_train, y_train, w_train = X[~is_test], Y[~is_test], W[~is_test]
x_test, y_test, w_test = X[is_test], Y[is_test], W[is_test]
print("parts:", len(x_train), "for training,", len(x_test), "for testing; share of the classes", Y.mean((0, 1, 2)))


def shift_light(x, y, w):
    return x * tf.random.uniform((), 0.9, 1.1), y, w


train = tf.data.Dataset.from_tensor_slices((x_train, y_train, w_train)).shuffle(100, seed=1)
train = train.map(shift_light).batch(BATCH).prefetch(2)
test = tf.data.Dataset.from_tensor_slices((x_test, y_test, w_test)).batch(BATCH)


# ---------------------------------------------------------------------------------------------------------- model
class DicePerClass(keras.metrics.Metric):
    """Hard Dice of every class, summed over the whole set, without the rims."""

    def __init__(self, classes, name="dice"):
        super().__init__(name=name)
        self.classes = classes
        self.both = self.add_weight(shape=(classes,), initializer="zeros", name="both")
        self.sums = self.add_weight(shape=(classes,), initializer="zeros", name="sums")

    def update_state(self, y, p, w):
        p = tf.cast(p > 0.5, tf.float32)
        self.both.assign_add(tf.reduce_sum(w * y * p, axis=(0, 1, 2)))
        self.sums.assign_add(tf.reduce_sum(w * (y + p), axis=(0, 1, 2)))

    def result(self):
        dice = 2 * self.both / tf.maximum(self.sums, 1.0)
        return tf.reduce_mean(dice)


class ContextNet(keras.Model):
    """Dilated convolutions at full resolution (Yu & Koltun), then one 1 x 1 convolution."""

    def __init__(self, width=14, dilations=(1, 1, 2, 4, 8, 1)):
        super().__init__()
        self.scale = layers.Rescaling(1 / 255.0)
        self.context = [
            layers.Conv2D(width, 3, dilation_rate=d, padding="same", activation="relu", kernel_initializer="he_normal")
            for d in dilations
        ]
        self.head = layers.Conv2D(len(BITS), 1)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.dice = DicePerClass(len(BITS))

    def call(self, x, training=False):
        x = self.scale(x)
        for conv in self.context:
            x = conv(x)
        return self.head(x)

    @property
    def metrics(self):
        return [self.loss_tracker, self.dice]

    def pixel_loss(self, y, z, w):
        """Cross-entropy of the logits z, stable as in the TensorFlow manual, and a soft Dice."""
        ce = tf.maximum(z, 0.0) - z * y + tf.math.log1p(tf.exp(-tf.abs(z)))
        ce = tf.reduce_sum(w * ce) / (tf.reduce_sum(w) * len(BITS))
        p = tf.sigmoid(z)
        both = tf.reduce_sum(w * y * p, axis=(0, 1, 2))
        sums = tf.reduce_sum(w * (y + p), axis=(0, 1, 2))
        return ce + 0.5 * (1 - tf.reduce_mean((2 * both + 1) / (sums + 1)))

    def train_step(self, data):
        x, y, w = data
        with tf.GradientTape() as tape:
            z = self(x, training=True)
            loss = self.pixel_loss(y, z, w)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.loss_tracker.update_state(loss)
        self.dice.update_state(y, tf.sigmoid(z), w)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data):
        x, y, w = data
        z = self(x, training=False)
        self.loss_tracker.update_state(self.pixel_loss(y, z, w))
        self.dice.update_state(y, tf.sigmoid(z), w)
        return {m.name: m.result() for m in self.metrics}


net = ContextNet()
net.compile(optimizer=keras.optimizers.Adam(RATE), jit_compile=False)
net.fit(train, validation_data=test, epochs=EPOCHS, verbose=2)

# ---------------------------------------------------------------------------------------------------------- table 4.2
found = net.predict(x_test, batch_size=BATCH, verbose=0) > 0
counts = w_test * np.ones_like(y_test)
for k, name in enumerate(BITS):
    a, b = found[..., k] & (counts[..., k] > 0), (y_test[..., k] > 0.5) & (counts[..., k] > 0)
    print(f"{name:12s} IoU {(a & b).sum() / max(1, (a | b).sum()):.4f}")
a, b = found & (counts > 0), (y_test > 0.5) & (counts > 0)
print(f"mean IoU {np.mean([(a & b)[..., k].sum() / max(1, (a | b)[..., k].sum()) for k in range(len(BITS))]):.4f}")
