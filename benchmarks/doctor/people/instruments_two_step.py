# Surgical instruments: an encoder learns first to name small windows, then it is put under a segmentation decoder.
# Like ImageNet weights, only that the "ImageNet" is made from my own frames.
import glob
import os
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'

import numpy as np
import tensorflow as tf
import keras

keras.utils.set_random_seed(17)
keras.mixed_precision.set_global_policy('mixed_bfloat16')

H, W = 48, 60
N_CLASSES = 3            # 0 tissue, 1 shaft, 2 jaws; 255 = black corners around the picture
OUTSIDE = 255
MEAN = [86., 92., 165.]  # B, G, R
TRAIN_OPS, VAL_OPS = ['op1', 'op2', 'op3', 'op4', 'op5'], ['op6']


def preprocess_input(x):
    """RGB 0..255 -> what the encoder was trained on (BGR, centred, as the old Caffe models)."""
    return (x[..., ::-1] - MEAN) / 60.


def files_of(ops):
    return sorted(f for op in ops for f in glob.glob(f'instruments/{op}/raw/*.jpg'))


def read(frame_file):
    frame = tf.io.decode_jpeg(tf.io.read_file(frame_file), channels=3)
    frame = tf.image.resize(frame, (H, W))
    label_file = tf.strings.regex_replace(frame_file, 'raw/(.*)jpg', r'labels/\1png')
    label = tf.io.decode_png(tf.io.read_file(label_file), channels=1)
    label = tf.image.resize(label, (H, W), method='nearest')
    return frame, tf.cast(label, tf.int32)


def prepare(frame, label):
    return preprocess_input(frame), label


def flip(frame, label):
    if tf.random.uniform(()) < 0.5:
        frame, label = tf.reverse(frame, [1]), tf.reverse(label, [1])
    return frame, label


raw_train = tf.data.Dataset.from_tensor_slices(files_of(TRAIN_OPS)).map(read).cache()
raw_val = tf.data.Dataset.from_tensor_slices(files_of(VAL_OPS)).map(read).cache()
train_ds = raw_train.shuffle(100, seed=1).map(prepare).map(flip).batch(7, drop_remainder=True).prefetch(1)
val_ds = raw_val.map(prepare).batch(7)


def encoder():
    inp = keras.Input((None, None, 3))
    x, outs = inp, []
    for i, f in enumerate((12, 20, 28)):
        x = keras.layers.Conv2D(f, 3, padding='same', activation='relu', kernel_initializer='he_normal', name=f'enc{i}a')(x)
        x = keras.layers.Conv2D(f, 3, padding='same', activation='relu', kernel_initializer='he_normal', name=f'enc{i}b')(x)
        outs.append(x)
        if i < 2:
            x = keras.layers.MaxPooling2D()(x)
    return keras.Model(inp, outs, name='encoder')


# ---- step 1: windows of 12 x 12, what is in the middle of them? --------------------------------------------------
rng = np.random.default_rng(0)
windows, names = [], []
for frame, label in raw_train.as_numpy_iterator():
    for c in range(N_CLASSES):
        for y, x in rng.permutation(np.argwhere(label[6:-6, 6:-6, 0] == c))[:8]:
            windows.append(frame[y:y + 12, x:x + 12])
            names.append(c)
windows, names = np.stack(windows), np.array(names)

enc = encoder()
pooled = keras.layers.GlobalAveragePooling2D()(enc.outputs[-1])
classifier = keras.Model(enc.input, keras.layers.Dense(N_CLASSES, dtype='float32')(pooled))
classifier.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=['accuracy'])
classifier.fit(preprocess_input(windows), names, batch_size=32, epochs=4, verbose=2)

# ---- step 2: decoder on the frozen encoder ------------------------------------------------------------------------
enc.trainable = False
inp = keras.Input((H, W, 3))
skips = enc(inp)
x = skips[2]
for skip, f in ((skips[1], 20), (skips[0], 12)):
    x = keras.layers.UpSampling2D()(x)
    x = keras.layers.Concatenate()([x, skip])
    x = keras.layers.Conv2D(f, 3, padding='same', activation='relu', kernel_initializer='he_normal')(x)
out = keras.layers.Conv2D(N_CLASSES, 1, dtype='float32', name='seg')(x)
net = keras.Model(inp, out)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=OUTSIDE)
iou = keras.metrics.MeanIoU(N_CLASSES, ignore_class=OUTSIDE, sparse_y_pred=False, name='iou')
net.compile(keras.optimizers.Adam(5e-3), loss, metrics=[iou])
net.fit(train_ds, validation_data=val_ds, epochs=8, verbose=2)

# ---- step 3: everything together, gently --------------------------------------------------------------------------
enc.trainable = True
net.compile(keras.optimizers.Adam(5e-4), loss, metrics=[iou])
net.fit(train_ds, validation_data=val_ds, epochs=4, verbose=2)

# ---- how well on the last operation? ------------------------------------------------------------------------------
mine = np.argmax(np.concatenate([net.predict_on_batch(f) for f, _ in val_ds]), -1)
real = np.stack([l[..., 0] for _, l in tf.data.Dataset.from_tensor_slices(files_of(VAL_OPS)).map(read).as_numpy_iterator()])
for c, name in enumerate(['tissue', 'shaft', 'jaws']):
    m, r = (mine == c) & (real != OUTSIDE), real == c
    print(name, round(2 * (m & r).sum() / (m.sum() + r.sum()), 3), end='  ')
print()
