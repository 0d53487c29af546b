"""PSPNet for tissue slides, with my own train_step because parts of the tiles were never annotated (value 255)."""
import glob
import os

import numpy as np
import tensorflow as tf
import keras
from keras import layers
from PIL import Image

keras.utils.set_random_seed(3)

TILE = 48
CLASS_NAMES = ['stroma', 'tumour', 'lymphocytes']
NUM_CLASSES = len(CLASS_NAMES)
UNKNOWN = 255
CLASS_WEIGHTS = [1.0, 1.5, 2.0]      # rare tissue counts more
TEST_PATIENTS = ('pt08', 'pt09')     # whole patients are held out
EPOCHS = 22
WEIGHT_DECAY = 1e-5


def read_tile(path):
    tile = Image.open(path).convert('RGB').resize((TILE, TILE), Image.BILINEAR)
    return np.asarray(tile, np.float32) / 255.0


def read_annotation(path):
    annotation = Image.open(path.replace('tiles', 'annotation')).resize((TILE, TILE), Image.NEAREST)
    return np.asarray(annotation).astype('int32')


tiles = sorted(glob.glob('slides/tiles/*.png'))
train_tiles = [t for t in tiles if not os.path.basename(t).startswith(TEST_PATIENTS)]
test_tiles = [t for t in tiles if os.path.basename(t).startswith(TEST_PATIENTS)]

X = np.stack([read_tile(t) for t in train_tiles])
Y = np.stack([read_annotation(t) for t in train_tiles])
X_test = np.stack([read_tile(t) for t in test_tiles])
Y_test = np.stack([read_annotation(t) for t in test_tiles])
# turned by 180 degrees a tile is as good as before
X = np.concatenate([X, X[:, ::-1, ::-1]])
Y = np.concatenate([Y, Y[:, ::-1, ::-1]])

dataset = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(200, seed=3).batch(8).prefetch(2)
test_dataset = tf.data.Dataset.from_tensor_slices((X_test, Y_test)).batch(8)


def cbr(x, filters, size=3, strides=1):
    x = layers.Conv2D(filters, size, strides=strides, padding='same', use_bias=False,
                      kernel_regularizer=keras.regularizers.L2(WEIGHT_DECAY))(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation('relu')(x)


def pyramid_pooling(x, bins=(1, 2, 4)):
    side = x.shape[1]
    branches = [x]
    for b in bins:
        y = layers.AveragePooling2D(side // b)(x)
        y = layers.Conv2D(8, 1, activation='relu')(y)
        branches.append(layers.UpSampling2D(side // b, interpolation='bilinear')(y))
    return layers.Concatenate()(branches)


def pspnet_backbone():
    inputs = layers.Input((TILE, TILE, 3))
    fine = cbr(inputs, 12)
    x = cbr(fine, 20, strides=2)
    x = cbr(x, 28, strides=2)
    x = pyramid_pooling(x)
    x = cbr(x, 28)
    x = layers.UpSampling2D(4, interpolation='bilinear')(x)
    x = cbr(layers.Concatenate()([x, fine]), 20)
    return keras.Model(inputs, x, name='backbone')


class TissueSegmenter(keras.Model):
    def __init__(self):
        super().__init__()
        self.backbone = pspnet_backbone()
        self.head = layers.Conv2D(NUM_CLASSES, 1, kernel_regularizer=keras.regularizers.L2(WEIGHT_DECAY), name='head')
        self.loss_tracker = keras.metrics.Mean(name='loss')
        self.iou = keras.metrics.MeanIoU(NUM_CLASSES, name='iou')

    def call(self, x, training=False):
        return self.head(self.backbone(x, training=training))

    @property
    def metrics(self):
        return [self.loss_tracker, self.iou]

    def masked_loss(self, y, logits):
        known = tf.cast(y != UNKNOWN, tf.float32)
        y = tf.where(y == UNKNOWN, 0, y)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        weight = known * tf.gather(CLASS_WEIGHTS, y)
        return tf.reduce_sum(loss * weight) / (tf.reduce_sum(weight) + 1e-6), y, known

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss, labels, known = self.masked_loss(y, logits)
            total = loss + tf.add_n(self.losses)
        variables = self.trainable_variables
        grads = tape.gradient(total, variables)
        self.optimizer.apply_gradients(zip(grads, variables))
        self.loss_tracker.update_state(total)
        self.iou.update_state(labels, tf.argmax(logits, -1), sample_weight=known)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data):
        x, y = data
        logits = self(x, training=False)
        loss, labels, known = self.masked_loss(y, logits)
        self.loss_tracker.update_state(loss)
        self.iou.update_state(labels, tf.argmax(logits, -1), sample_weight=known)
        return {m.name: m.result() for m in self.metrics}


learning_rate = keras.optimizers.schedules.CosineDecay(5e-3, EPOCHS * len(dataset), alpha=0.02)
model = TissueSegmenter()
model.compile(optimizer=keras.optimizers.Adam(learning_rate))
model.fit(dataset, validation_data=test_dataset, epochs=EPOCHS, verbose=2)

predicted = np.argmax(model.predict(X_test, verbose=0), -1)
truth = np.stack([np.asarray(Image.open(t.replace('tiles', 'annotation')).resize((TILE, TILE), 0)) for t in test_tiles])
for k, name in enumerate(CLASS_NAMES):
    a, b = (predicted == k) & (truth != 255), truth == k
    print('%s %.3f' % (name, 2 * (a & b).sum() / (a.sum() + b.sum())), end=' ')
print('(dice, test patients)')
