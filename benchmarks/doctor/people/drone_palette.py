# Land cover from a drone, colour-coded masks. SegNet-ish Sequential, tf.data, weights for the rare trees.
import csv
import glob
import os

os.environ.setdefault('KERAS_BACKEND', 'tensorflow')
import keras
import tensorflow as tf
from keras.layers import (Activation, BatchNormalization, Conv2D, Input, MaxPooling2D, Rescaling, SpatialDropout2D,
                          UpSampling2D)

AUTOTUNE = tf.data.AUTOTUNE
H = W = 64
BATCH = 4
EPOCHS = 20
tf.random.set_seed(21)

with open('drone/class_dict.csv') as f:
    rows = list(csv.DictReader(f))
NAMES = [r['name'] for r in rows]
PALETTE = tf.constant([[int(r['r']), int(r['g']), int(r['b'])] for r in rows], tf.int32)
N = len(NAMES)
CLASS_WEIGHTS = tf.constant([0.6, 1.5, 1.2, 3.0])


def parse(image_path, mask_path):
    image = tf.io.decode_jpeg(tf.io.read_file(image_path), channels=3)
    mask = tf.cast(tf.io.decode_png(tf.io.read_file(mask_path), channels=3), tf.int32)
    # index of the palette's colour, pixel by pixel
    same = tf.reduce_all(mask[:, :, None, :] == PALETTE[None, None], axis=-1)
    label = tf.argmax(tf.cast(same, tf.int32), axis=-1, output_type=tf.int32)
    image = tf.ensure_shape(tf.cast(image, tf.float32), (H, W, 3))
    return image, tf.ensure_shape(label, (H, W))[..., None]


@tf.function
def augment(image, label):
    both = tf.concat([image, tf.cast(label, tf.float32)], axis=-1)
    both = tf.image.random_flip_left_right(both)
    both = tf.image.random_flip_up_down(both)
    image, label = both[..., :3], tf.cast(both[..., 3:], tf.int32)
    image = tf.image.random_brightness(image, 20.0)
    return tf.clip_by_value(image, 0.0, 255.0), label


def add_sample_weights(image, label):
    weights = tf.gather(CLASS_WEIGHTS, label)
    return image, label, weights


def dataset(split, training):
    images = sorted(glob.glob(f'drone/{split}/original_images/*.jpg'))
    masks = sorted(glob.glob(f'drone/{split}/label_images/*.png'))
    ds = tf.data.Dataset.from_tensor_slices((images, masks))
    if training:
        ds = ds.shuffle(len(images), seed=3)
    ds = ds.map(parse, num_parallel_calls=AUTOTUNE)
    if training:
        ds = ds.cache().shuffle(128).map(augment, num_parallel_calls=AUTOTUNE)
        ds = ds.map(add_sample_weights)
    return ds.batch(BATCH).prefetch(AUTOTUNE)


train_ds = dataset('train', True)
val_ds = dataset('val', False)


def conv(model, filters, kernel=3):
    model.add(Conv2D(filters, kernel, padding='same', use_bias=False, kernel_initializer='he_uniform'))
    model.add(BatchNormalization(momentum=0.9))
    model.add(Activation('relu'))


segnet = keras.Sequential(name='segnet')
segnet.add(Input((H, W, 3)))
segnet.add(Rescaling(1 / 127.5, offset=-1))
for filters in (24, 32, 48):
    conv(segnet, filters)
    conv(segnet, filters)
    segnet.add(MaxPooling2D())
segnet.add(SpatialDropout2D(0.1))
for filters in (48, 32, 24):
    segnet.add(UpSampling2D())
    conv(segnet, filters)
    conv(segnet, filters)
segnet.add(Conv2D(N, 1, name='logits'))

segnet.compile(
    optimizer=keras.optimizers.RMSprop(1e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
    weighted_metrics=[],
)


class IoUPerClass(keras.callbacks.Callback):
    """Prints the IoU of every class on the validation pictures."""

    def __init__(self, data):
        super().__init__()
        self.data = data

    def on_epoch_end(self, epoch, logs=None):
        matrix = tf.zeros((N, N), tf.int32)
        for x, y in self.data:
            p = tf.argmax(self.model(x, training=False), -1)
            matrix += tf.math.confusion_matrix(tf.reshape(y, [-1]), tf.reshape(p, [-1]), N)
        inter = tf.linalg.diag_part(matrix)
        union = tf.reduce_sum(matrix, 0) + tf.reduce_sum(matrix, 1) - inter
        iou = (inter / tf.maximum(union, 1)).numpy()
        logs['val_miou'] = float(iou.mean())
        print(' '.join(f'{n}={v:.2f}' for n, v in zip(NAMES, iou)))


segnet.fit(train_ds, validation_data=val_ds, epochs=EPOCHS, verbose=2, callbacks=[IoUPerClass(val_ds)])
