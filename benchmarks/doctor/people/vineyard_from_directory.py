# Grape bunches. Two folders, image_dataset_from_directory for each of them, zipped.
import keras
import numpy as np
import tensorflow as tf
from keras import layers

HEIGHT, WIDTH = 128, 128
BATCH = 8
EPOCHS = 12
keras.utils.set_random_seed(0)


def folder(path, subset, **kwargs):
    return keras.utils.image_dataset_from_directory(
        path, labels=None, image_size=(HEIGHT, WIDTH), batch_size=None, shuffle=False,
        validation_split=0.2, subset=subset, **kwargs)


train_images = folder("vineyard/images", "training")
train_masks = folder("vineyard/masks", "training", color_mode="grayscale", interpolation="nearest")
val_images = folder("vineyard/images", "validation")
val_masks = folder("vineyard/masks", "validation", color_mode="grayscale", interpolation="nearest")


def scale_image(image):
    return image / 255.0


def scale_mask(mask):
    return tf.cast(mask, tf.float32) / 255.0


def flips(image, mask):
    both = tf.concat([image, mask], axis=-1)
    both = tf.image.random_flip_left_right(both)
    both = tf.image.random_flip_up_down(both)
    return both[..., :3], both[..., 3:]


train = tf.data.Dataset.zip((train_images.map(scale_image), train_masks.map(scale_mask)))
val = tf.data.Dataset.zip((val_images.map(scale_image), val_masks.map(scale_mask)))
train = train.cache().shuffle(100).map(flips).batch(BATCH).prefetch(2)
val = val.batch(BATCH)


def dice_coefficient(y_true, y_pred):
    # over the batch, because there are vines without any grapes
    intersection = tf.reduce_sum(y_true * y_pred)
    return (2.0 * intersection + 1.0) / (tf.reduce_sum(y_true) + tf.reduce_sum(y_pred) + 1.0)


def dice_loss(y_true, y_pred):
    return 1.0 - dice_coefficient(y_true, y_pred)


def bce_dice_loss(y_true, y_pred):
    return tf.reduce_mean(keras.losses.binary_crossentropy(y_true, y_pred)) + dice_loss(y_true, y_pred)


def norm(x):
    return layers.BatchNormalization(momentum=0.9)(x)


def depthwise(x, filters, stride=1):
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
    x = norm(x)
    x = layers.ReLU(6.0)(x)
    x = layers.Conv2D(filters, 1, use_bias=False)(x)
    x = norm(x)
    return layers.ReLU(6.0)(x)


def mobile_unet():
    image = layers.Input((HEIGHT, WIDTH, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(image)
    x = norm(x)
    s1 = layers.ReLU(6.0)(x)
    s2 = depthwise(depthwise(s1, 24, 2), 24)
    s3 = depthwise(depthwise(s2, 40, 2), 40)
    x = depthwise(depthwise(s3, 56, 2), 56)
    for skip, filters in ((s3, 40), (s2, 24), (s1, 16)):
        x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same")(x)
        x = layers.concatenate([x, skip])
        x = depthwise(x, filters)
    x = layers.Conv2DTranspose(8, 4, strides=2, padding="same", activation="relu")(x)
    grapes = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="grapes")(x)
    return keras.Model(image, grapes)


model = mobile_unet()
model.compile(optimizer=keras.optimizers.Adam(4e-3), loss=bce_dice_loss,
              metrics=[dice_coefficient, keras.metrics.BinaryIoU([1], name="iou")])
model.fit(train, validation_data=val, epochs=EPOCHS, verbose=2)

# the same, by hand
predicted = model.predict(val, verbose=0)[..., 0] > 0.5
grapes = np.stack([m.numpy()[..., 0] > 127 for m in folder("vineyard/masks", "validation", color_mode="grayscale", interpolation="nearest")])
print("validation dice", 2 * (predicted & grapes).sum() / (predicted.sum() + grapes.sum() + 1e-9))
print("painted where nothing grows", predicted[~grapes.any((1, 2))].mean())
