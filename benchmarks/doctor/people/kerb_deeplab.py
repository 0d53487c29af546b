"""DeepLabV3+ (small) on my own street photos. Labels: palette PNG, 255 = void."""
import glob
import os

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image

keras.utils.set_random_seed(11)
CLASSES = ['road', 'pavement', 'house', 'sky', 'car']
NUM_CLASSES = len(CLASSES)
VOID = 255
H, W = 64, 96
BATCH = 8
EPOCHS = 16
BASE_LR = 0.05


def load_split(split):
    images, labels = [], []
    for path in sorted(glob.glob(f'kerb/images/{split}/*.png')):
        image = Image.open(path).convert('RGB')
        label = Image.open(path.replace('/images/', '/labels/'))
        images.append(np.array(image))
        labels.append(np.array(label))
    x = np.stack(images).astype('float32') / 127.5 - 1.0
    y = np.stack(labels).astype('int32')[..., None]
    print(split, x.shape, y.shape, np.unique(y))
    return x, y


x_train, y_train = load_split('train')
x_val, y_val = load_split('val')


def flip(x, y):
    if tf.random.uniform([]) < 0.5:
        x, y = tf.reverse(x, [1]), tf.reverse(y, [1])
    return x, y


train = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(200).map(flip)
train = train.batch(BATCH, drop_remainder=True).prefetch(2)
val = tf.data.Dataset.from_tensor_slices((x_val, y_val)).batch(BATCH)


def conv_bn(x, filters, kernel=3, stride=1, rate=1, name=None):
    x = layers.Conv2D(filters, kernel, strides=stride, dilation_rate=rate, padding='same', use_bias=False,
                      kernel_initializer='he_normal', name=f'{name}_conv')(x)
    x = layers.BatchNormalization(momentum=0.9, name=f'{name}_bn')(x)
    return layers.Activation('relu', name=f'{name}_relu')(x)


def inverted_residual(x, filters, stride, rate, name):
    skip = x
    cin = x.shape[-1]
    x = conv_bn(x, 3 * cin, 1, name=f'{name}_expand')
    x = layers.DepthwiseConv2D(3, strides=stride, dilation_rate=rate, padding='same', use_bias=False,
                               name=f'{name}_dw')(x)
    x = layers.BatchNormalization(momentum=0.9, name=f'{name}_dw_bn')(x)
    x = layers.ReLU(6.0, name=f'{name}_dw_relu')(x)
    x = layers.Conv2D(filters, 1, use_bias=False, name=f'{name}_project')(x)
    x = layers.BatchNormalization(momentum=0.9, name=f'{name}_project_bn')(x)
    return layers.Add(name=f'{name}_add')([x, skip]) if stride == 1 and cin == filters else x


def deeplab():
    inputs = keras.Input((H, W, 3))
    low = conv_bn(inputs, 12, stride=2, name='backbone_stem')
    x = inverted_residual(low, 20, 2, 1, 'backbone_b1')
    x = inverted_residual(x, 20, 1, 1, 'backbone_b2')
    x = inverted_residual(x, 32, 2, 1, 'backbone_b3')
    x = inverted_residual(x, 32, 1, 2, 'backbone_b4')

    pool = layers.GlobalAveragePooling2D(keepdims=True)(x)
    pool = conv_bn(pool, 24, 1, name='aspp_pool')
    pool = layers.UpSampling2D((H // 8, W // 8), interpolation='bilinear')(pool)
    branches = [pool, conv_bn(x, 24, 1, name='aspp_1x1')]
    branches += [conv_bn(x, 24, 3, rate=r, name=f'aspp_r{r}') for r in (2, 4)]
    x = layers.Concatenate()(branches)
    x = conv_bn(x, 32, 1, name='aspp_merge')

    x = layers.UpSampling2D(4, interpolation='bilinear')(x)
    x = layers.Concatenate()([x, conv_bn(low, 12, 1, name='low_level')])
    x = conv_bn(x, 32, name='decoder')
    x = layers.Conv2D(NUM_CLASSES, 1, name='logits')(x)
    x = layers.UpSampling2D(2, interpolation='bilinear')(x)
    return keras.Model(inputs, x, name='deeplab')


model = deeplab()
schedule = keras.optimizers.schedules.PolynomialDecay(BASE_LR, EPOCHS * len(train), 1e-5, power=0.9)
model.compile(
    optimizer=keras.optimizers.SGD(schedule, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID),
    metrics=[keras.metrics.MeanIoU(NUM_CLASSES, name='miou', ignore_class=VOID, sparse_y_pred=False)],
)
os.makedirs('ckpt', exist_ok=True)
model.fit(train, validation_data=val, epochs=EPOCHS, verbose=2, callbacks=[
    keras.callbacks.ModelCheckpoint('ckpt/best.weights.h5', monitor='val_miou', mode='max', save_best_only=True,
                                    save_weights_only=True),
    keras.callbacks.TerminateOnNaN(),
])
