# Lung and infection from CT slices. Attention U-Net, supervised at three depths.
# slices: dicom/Pxx/*.dcm, labels: labels/Pxx.nii.gz (0 rest, 1 lung, 2 infection)
import argparse
from pathlib import Path

import keras
import nibabel as nib
import numpy as np
import pydicom
import tensorflow as tf
from keras import layers

parser = argparse.ArgumentParser()
parser.add_argument('--data', type=Path, default=Path('covid_ct'))
parser.add_argument('--window', type=float, nargs=2, default=(-1000, 200), help='HU')
parser.add_argument('--test-patients', nargs='+', default=['P03', 'P06', 'P10'])
parser.add_argument('--base', type=int, default=8)
parser.add_argument('--batch', type=int, default=6)
parser.add_argument('--epochs', type=int, default=8)
parser.add_argument('--rate', type=float, default=2e-3)
opt = parser.parse_args()

N_CLASSES = 3
keras.utils.set_random_seed(20)


def load_patient(name):
    """-> (z, y, x) HU and (z, y, x) labels"""
    slices = [pydicom.dcmread(p) for p in (opt.data / 'dicom' / name).glob('*.dcm')]
    slices.sort(key=lambda s: int(s.InstanceNumber))
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices])
    # nibabel gives x, y, z
    label = np.asarray(nib.load(opt.data / 'labels' / f'{name}.nii.gz').dataobj).transpose(2, 1, 0)
    assert hu.shape == label.shape, (hu.shape, label.shape)
    return hu, label


def normalise(hu):
    low, high = opt.window
    return ((np.clip(hu, low, high) - low) / (high - low)).astype('float32')[..., None]


def one_hot(label):
    return np.eye(N_CLASSES, dtype='float32')[label]


def load(names):
    x, y = [], []
    for name in names:
        hu, label = load_patient(name)
        x.append(normalise(hu))
        y.append(one_hot(label))
    return np.concatenate(x), np.concatenate(y)


patients = sorted(p.name for p in (opt.data / 'dicom').iterdir())
x_train, y_train = load([p for p in patients if p not in opt.test_patients])
x_test, y_test = load([p for p in patients if p in opt.test_patients])
print('train', x_train.shape, 'test', x_test.shape, 'pixels per class', y_train.mean((0, 1, 2)).round(3))


def augment(x, y):
    both = tf.concat([x, y], -1)
    both = tf.image.random_flip_left_right(both)
    x, y = both[..., :1], both[..., 1:]
    x = x * tf.random.uniform((), 0.9, 1.1) + tf.random.uniform((), -0.05, 0.05)
    return x, y


def pyramid(x, y):
    """The target at full, half and quarter size; soft where classes meet."""
    half = tf.nn.avg_pool2d(y, 2, 2, 'SAME')
    quarter = tf.nn.avg_pool2d(half, 2, 2, 'SAME')
    return x, {'full': y, 'half': half, 'quarter': quarter}


train = (tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(len(x_train)).map(augment)
         .batch(opt.batch).map(pyramid).prefetch(2))
test = tf.data.Dataset.from_tensor_slices((x_test, y_test)).batch(opt.batch).map(pyramid)


def conv(x, filters):
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding='same', kernel_initializer='he_normal')(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
    return x


def gate(skip, signal, filters):
    a = layers.Conv2D(filters, 1)(skip)
    b = layers.Conv2D(filters, 1)(signal)
    psi = layers.Conv2D(1, 1, activation='sigmoid')(layers.ReLU()(layers.Add()([a, b])))
    return layers.Multiply()([skip, psi])


def attention_unet(base):
    inputs = keras.Input((64, 64, 1), name='ct')
    c1 = conv(inputs, base)
    c2 = conv(layers.MaxPooling2D()(c1), 2 * base)
    c3 = conv(layers.MaxPooling2D()(c2), 3 * base)
    c4 = conv(layers.MaxPooling2D()(c3), 4 * base)
    outputs, x = {}, c4
    for skip, filters, name in ((c3, 3 * base, 'quarter'), (c2, 2 * base, 'half'), (c1, base, 'full')):
        x = layers.Conv2DTranspose(filters, 2, strides=2)(x)
        x = conv(layers.Concatenate()([x, gate(skip, x, filters // 2)]), filters)
        outputs[name] = layers.Conv2D(N_CLASSES, 1, activation='softmax', name=name)(x)
    return keras.Model(inputs, outputs)


def dice_ce(y_true, y_pred):
    p = tf.clip_by_value(y_pred, 1e-6, 1.0)
    ce = -tf.reduce_mean(tf.reduce_sum(y_true * tf.math.log(p), -1))
    inter = tf.reduce_sum(y_true * y_pred, (0, 1, 2))
    total = tf.reduce_sum(y_true, (0, 1, 2)) + tf.reduce_sum(y_pred, (0, 1, 2))
    return ce + 1 - tf.reduce_mean((2 * inter + 1) / (total + 1))


class ClassDice(keras.metrics.Metric):
    """Dice of one class over the whole epoch."""

    def __init__(self, index, name):
        super().__init__(name=name)
        self.index = index
        self.inter = self.add_weight(name='inter', initializer='zeros')
        self.total = self.add_weight(name='total', initializer='zeros')

    def update_state(self, y_true, y_pred, sample_weight=None):
        t = tf.cast(tf.argmax(y_true, -1) == self.index, tf.float32)
        p = tf.cast(tf.argmax(y_pred, -1) == self.index, tf.float32)
        self.inter.assign_add(tf.reduce_sum(t * p))
        self.total.assign_add(tf.reduce_sum(t) + tf.reduce_sum(p))

    def result(self):
        return 2 * self.inter / (self.total + 1e-6)


model = attention_unet(opt.base)
model.compile(optimizer=keras.optimizers.Adam(opt.rate),
              loss={'full': dice_ce, 'half': dice_ce, 'quarter': dice_ce},
              loss_weights={'full': 1.0, 'half': 0.5, 'quarter': 0.25},
              metrics={'full': [ClassDice(1, 'lung'), ClassDice(2, 'infection')]})
model.fit(train, validation_data=test, epochs=opt.epochs, verbose=2)

guess = model.predict(x_test, verbose=0, batch_size=opt.batch)['full'].argmax(-1)
truth = y_test.argmax(-1)
for k, name in ((1, 'lung'), (2, 'infection')):
    print(name, 'Dice %.3f' % (2 * ((guess == k) & (truth == k)).sum() / ((guess == k).sum() + (truth == k).sum())))
model.save('attention_unet.keras')
