# original U-Net with weight map: touching cells are pushed apart
import os
import cv2
import numpy as np
import tensorflow as tf
from scipy.ndimage import distance_transform_edt, label
from tensorflow import keras
from tensorflow.keras import layers

tf.random.set_seed(3)
SHAPE = (64, 64)


def load(folder='stage1_train'):
    for name in sorted(os.listdir(folder)):
        image = cv2.imread(f'{folder}/{name}/images/{name}.png', cv2.IMREAD_GRAYSCALE)
        instances = [cv2.imread(f'{folder}/{name}/masks/{m}', cv2.IMREAD_GRAYSCALE) for m in sorted(os.listdir(f'{folder}/{name}/masks'))]
        image = cv2.resize(image, SHAPE)
        instances = [cv2.resize(m, SHAPE, interpolation=cv2.INTER_NEAREST) > 0 for m in instances]
        yield image, np.any(instances, axis=0), instances


def weight_map(mask, instances, w0=5.0, sigma=3.0):
    weights = np.where(mask, 2.0, 1.0)
    if len(instances) > 1:
        distances = np.sort([distance_transform_edt(~m) for m in instances], axis=0)
        weights += w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma ** 2)) * ~mask
    return weights


images, masks, weights = [], [], []
for image, mask, instances in load():
    images.append(image / 255.)
    masks.append(mask)
    weights.append(weight_map(mask, instances))
images = np.expand_dims(np.asarray(images, np.float32), -1)
masks = np.asarray(masks, np.float32)[..., None]
weights = np.asarray(weights, np.float32)


def unet(n=16):
    inp = layers.Input(SHAPE + (1,))
    down, x = [], inp
    for k in range(3):
        x = layers.Conv2D(n * 2 ** k, 3, activation='relu', padding='same')(x)
        x = layers.Conv2D(n * 2 ** k, 3, activation='relu', padding='same')(x)
        down.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(n * 8, 3, activation='relu', padding='same')(x)
    for k in (2, 1, 0):
        x = layers.Conv2DTranspose(n * 2 ** k, 2, strides=2)(x)
        x = layers.concatenate([x, down[k]])
        x = layers.Conv2D(n * 2 ** k, 3, activation='relu', padding='same')(x)
        x = layers.Conv2D(n * 2 ** k, 3, activation='relu', padding='same')(x)
    return keras.Model(inp, layers.Conv2D(1, 1)(x))


n = int(0.85 * len(images))
model = unet()
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=keras.losses.BinaryCrossentropy(from_logits=True),
              weighted_metrics=[keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.0)])
model.fit(images[:n], masks[:n], sample_weight=weights[:n], batch_size=4, epochs=50,
          validation_data=(images[n:], masks[n:], weights[n:]))
