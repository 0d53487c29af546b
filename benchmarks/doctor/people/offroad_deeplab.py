"""DeepLab v3+ for off-road scenes.

The backbone is a small atrous ResNet. No ImageNet weights exist for it, so it first learns to say which classes are in a
picture (weak labels), and is then loaded the way one would load pretrained weights:

    stage 0   backbone alone, tags of the picture           -> backbone.weights.h5
    stage 1   backbone frozen, decoder learns
    stage 2   everything but batch norm learns, poly rate
"""
import os
import cv2
import numpy as np
import tensorflow as tf
import keras
from keras import layers

ROOT = 'offroad'
CLASSES = ('sky', 'trees', 'grass', 'trail', 'obstacle')
VOID = 255
H, W = 64, 80
BATCH = 6
PRETRAIN_EPOCHS, HEAD_EPOCHS, FINE_EPOCHS = 4, 5, 5
HEAD_LR, FINE_LR = 2e-3, 4e-4
keras.utils.set_random_seed(77)


# ---------------------------------------------------------------- input
def preprocess_input(rgb):
    """What the backbone was trained with: -1 .. 1, RGB."""
    return rgb.astype(np.float32) / 127.5 - 1.0


def read_list(name):
    images, labels = [], []
    for line in open(os.path.join(ROOT, name)):
        image_path, label_path = line.split()
        bgr = cv2.imread(os.path.join(ROOT, image_path))
        images.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        labels.append(cv2.imread(os.path.join(ROOT, label_path), cv2.IMREAD_GRAYSCALE))
    return np.stack(images), np.stack(labels).astype(np.int32)


def tags(labels):
    """1 where a class covers more than a fifth of what is usual for it."""
    share = np.stack([(labels == k).mean((1, 2)) for k in range(len(CLASSES))], -1)
    return (share > share.mean(0)).astype(np.float32)


def crop_and_flip(image, label):
    pair = tf.concat([image, tf.cast(label[..., None], tf.float32)], -1)
    pair = tf.image.random_crop(tf.pad(pair, [[4, 4], [4, 4], [0, 0]], constant_values=VOID), (H, W, 4))
    pair = tf.image.random_flip_left_right(pair)
    image, label = pair[..., :3], tf.cast(pair[..., 3], tf.int32)
    image = tf.where(image > 2.0, 0.0, image)  # the padding is void in the label and grey in the image
    return image, label


def dataset(images, labels, training):
    ds = tf.data.Dataset.from_tensor_slices((preprocess_input(images), labels))
    if training:
        ds = ds.shuffle(128).map(crop_and_flip)
    return ds.batch(BATCH, drop_remainder=training).prefetch(2)


# ---------------------------------------------------------------- network
def cbr(x, filters, size=3, stride=1, rate=1, relu=True, name=None):
    x = layers.Conv2D(filters, size, strides=stride, dilation_rate=rate, padding='same', use_bias=False,
                      kernel_initializer='he_normal', name=name)(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name and name + '_bn')(x)
    return layers.ReLU(name=name and name + '_relu')(x) if relu else x


def residual_unit(x, filters, stride, rate, name):
    y = cbr(x, filters, stride=stride, rate=1, name=name + '_a')
    y = cbr(y, filters, rate=rate, relu=False, name=name + '_b')
    if stride > 1 or x.shape[-1] != filters:
        x = cbr(x, filters, size=1, stride=stride, relu=False, name=name + '_proj')
    return layers.ReLU(name=name + '_out')(layers.Add(name=name + '_add')([x, y]))


def make_backbone():
    inp = keras.Input((H, W, 3))
    x = cbr(inp, 16, name='conv1')
    x = residual_unit(x, 24, 2, 1, 'res2')
    low = x
    x = residual_unit(x, 40, 2, 1, 'res3')
    x = residual_unit(x, 40, 1, 2, 'res4')
    return keras.Model(inp, [low, x], name='backbone')


def deeplab(backbone):
    inp = keras.Input((H, W, 3))
    low, high = backbone(inp)
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(high)
    pooled = layers.Conv2D(24, 1, activation='relu')(pooled)
    pooled = layers.UpSampling2D((high.shape[1], high.shape[2]))(pooled)
    branches = [cbr(high, 24, size=1)] + [cbr(high, 24, rate=r) for r in (2, 4, 6)]
    x = cbr(layers.Concatenate(name='aspp')(branches + [pooled]), 32, size=1)
    x = layers.UpSampling2D(2, interpolation='bilinear')(x)
    x = layers.Concatenate()([x, cbr(low, 12, size=1)])
    x = cbr(x, 32)
    x = layers.Conv2D(len(CLASSES), 1, name='classifier')(x)
    return keras.Model(inp, layers.UpSampling2D(2, interpolation='bilinear', name='logits')(x))


loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID)


def miou():
    return keras.metrics.MeanIoU(len(CLASSES), ignore_class=VOID, sparse_y_pred=False, name='miou')


if __name__ == '__main__':
    x_train, y_train = read_list('train.lst')
    x_val, y_val = read_list('val.lst')
    print(x_train.shape, 'void: %.1f %%' % (100 * (y_train == VOID).mean()))

    # stage 0
    backbone = make_backbone()
    tagger = keras.Sequential([keras.Input((H, W, 3)), keras.Model(backbone.input, backbone.outputs[1]),
                               layers.GlobalAveragePooling2D(), layers.Dense(len(CLASSES))])
    tagger.compile(keras.optimizers.Adam(2e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    if not os.path.exists('backbone.weights.h5'):
        tagger.fit(preprocess_input(x_train), tags(y_train), batch_size=BATCH, epochs=PRETRAIN_EPOCHS, verbose=0)
        backbone.save_weights('backbone.weights.h5')

    train_ds, val_ds = dataset(x_train, y_train, True), dataset(x_val, y_val, False)

    # stage 1
    backbone = make_backbone()
    backbone.load_weights('backbone.weights.h5')
    backbone.trainable = False
    model = deeplab(backbone)
    model.compile(keras.optimizers.Adam(HEAD_LR), loss, metrics=[miou()])
    model.fit(train_ds, validation_data=val_ds, epochs=HEAD_EPOCHS, verbose=2)

    # stage 2
    backbone.trainable = True
    for layer in backbone.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    steps = FINE_EPOCHS * (len(x_train) // BATCH)
    rate = keras.optimizers.schedules.PolynomialDecay(FINE_LR, steps, 1e-6, power=0.9)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=[miou()])
    model.fit(train_ds, validation_data=val_ds, epochs=FINE_EPOCHS, verbose=2)

    guess = np.argmax(model.predict(val_ds, verbose=0), -1)
    known = y_val != VOID
    for k, name in enumerate(CLASSES):
        p, t = (guess == k) & known, y_val == k
        print('%-10s IoU %.3f' % (name, (p & t).sum() / (p | t).sum()))
    model.save('deeplab_offroad.keras')
