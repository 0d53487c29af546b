# liver / no liver, three neighbouring slices in, the middle one out
import random
import numpy as np
import nibabel as nib
from tensorflow import keras
from tensorflow.keras import layers, regularizers
import tensorflow as tf

LOW, HIGH = -160, 240      # abdominal window
BATCH_SIZE = 6
STEPS = 18
WEIGHT_DECAY = 1e-5

def load_patient(i):
    ct = nib.load('liver_ct/volume-%d.nii' % i).get_fdata(dtype=np.float32)
    seg = nib.load('liver_ct/segmentation-%d.nii' % i).get_fdata(dtype=np.float32)
    return np.moveaxis(ct, -1, 0), np.moveaxis(seg, -1, 0)

def window(ct):
    return (np.clip(ct, LOW, HIGH) - LOW) / (HIGH - LOW)

def neighbours(ct, z):
    above, below = max(z - 1, 0), min(z + 1, len(ct) - 1)
    return np.stack([ct[above], ct[z], ct[below]], axis=-1)

def slices(patients):
    xs, ys = [], []
    for i in patients:
        ct, seg = load_patient(i)
        ct = window(ct)
        for z in range(len(ct)):
            xs.append(neighbours(ct, z))
            ys.append(seg[z][..., np.newaxis])
    return xs, ys

def forever(patients, train=True):
    xs, ys = slices(patients)
    order = list(range(len(xs)))
    while True:
        if train:
            random.shuffle(order)
        for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            batch_x, batch_y = [], []
            for k in order[start:start + BATCH_SIZE]:
                x, y = xs[k], ys[k]
                if train:
                    dy, dx = random.randint(-4, 4), random.randint(-4, 4)
                    x, y = np.roll(x, (dy, dx), (0, 1)), np.roll(y, (dy, dx), (0, 1))
                    x = x + np.random.normal(0, 0.02, x.shape)
                batch_x.append(x)
                batch_y.append(y)
            yield np.array(batch_x, 'float32'), np.array(batch_y, 'float32')

def tversky(y_true, y_pred, alpha=0.3, beta=0.7, smooth=1.0):
    tp = tf.reduce_sum(y_true * y_pred)
    fp = tf.reduce_sum((1 - y_true) * y_pred)
    fn = tf.reduce_sum(y_true * (1 - y_pred))
    return (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)

def tversky_loss(y_true, y_pred):
    return 1 - tversky(y_true, y_pred) + 0.5 * tf.reduce_mean(keras.losses.binary_crossentropy(y_true, y_pred))

def dice(y_true, y_pred):
    return tversky(y_true, tf.round(y_pred), 0.5, 0.5, 1e-5)

def block(x, n):
    for _ in range(2):
        x = layers.Conv2D(n, 3, padding='same', kernel_initializer='he_uniform',
                          kernel_regularizer=regularizers.l2(WEIGHT_DECAY))(x)
        x = layers.LayerNormalization()(x)
        x = layers.LeakyReLU(negative_slope=0.1)(x)
    return x

def build():
    inp = layers.Input((64, 64, 3))
    c1 = block(inp, 12)
    c2 = block(layers.AveragePooling2D(2)(c1), 24)
    c3 = block(layers.AveragePooling2D(2)(c2), 48)
    c4 = layers.SpatialDropout2D(0.1)(block(layers.AveragePooling2D(2)(c3), 64))
    u3 = block(layers.concatenate([layers.UpSampling2D()(c4), c3]), 48)
    u2 = block(layers.concatenate([layers.UpSampling2D()(u3), c2]), 24)
    u1 = block(layers.concatenate([layers.UpSampling2D()(u2), c1]), 12)
    out = layers.Conv2D(1, 1, activation='sigmoid')(u1)
    return keras.Model(inp, out)

TRAIN, VAL = range(0, 8), range(8, 10)

random.seed(5); np.random.seed(5); tf.random.set_seed(5)
model = build()
model.compile(keras.optimizers.Adamax(3e-3), loss=tversky_loss, metrics=[dice])
model.fit(forever(TRAIN), steps_per_epoch=STEPS, epochs=15, verbose=2,
          validation_data=forever(VAL, train=False), validation_steps=4)
model.save('liver.keras')
