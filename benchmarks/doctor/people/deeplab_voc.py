"""DeepLabV3+ on VOC."""
import os

import keras
import tensorflow as tf
from keras import layers

IMAGE_SIZE = 96
BATCH_SIZE = 4
NUM_CLASSES = 6
DATA_DIR = "voc"


def names(split):
    with open(os.path.join(DATA_DIR, "ImageSets", "Segmentation", split + ".txt")) as f:
        return [line.strip() for line in f if line.strip()]


def read_image(image_path, mask=False):
    image = tf.io.read_file(image_path)
    if mask:
        image = tf.image.decode_png(image, channels=1)
        image.set_shape([None, None, 1])
        image = tf.image.resize(images=image, size=[IMAGE_SIZE, IMAGE_SIZE], method="nearest")
        image = tf.cast(image, tf.int32)
    else:
        image = tf.image.decode_png(image, channels=3)
        image.set_shape([None, None, 3])
        image = tf.image.resize(images=image, size=[IMAGE_SIZE, IMAGE_SIZE])
        image = image / 127.5 - 1.0
    return image


def load_data(image_list, mask_list):
    image = read_image(image_list)
    mask = read_image(mask_list, mask=True)
    return image, mask


def data_generator(split, training):
    image_list = [f"{DATA_DIR}/JPEGImages/{n}.jpg" for n in names(split)]
    mask_list = [f"{DATA_DIR}/SegmentationClassRaw/{n}.png" for n in names(split)]
    dataset = tf.data.Dataset.from_tensor_slices((image_list, mask_list))
    dataset = dataset.map(load_data, num_parallel_calls=tf.data.AUTOTUNE)
    if training:
        dataset = dataset.shuffle(64)
    return dataset.batch(BATCH_SIZE, drop_remainder=True)


def convolution_block(block_input, num_filters=64, kernel_size=3, dilation_rate=1, use_bias=False):
    x = layers.Conv2D(num_filters, kernel_size=kernel_size, dilation_rate=dilation_rate, padding="same",
                      use_bias=use_bias, kernel_initializer=keras.initializers.HeNormal())(block_input)
    x = layers.BatchNormalization()(x)
    return keras.activations.relu(x)


def DilatedSpatialPyramidPooling(dspp_input):
    dims = dspp_input.shape
    x = layers.AveragePooling2D(pool_size=(dims[-3], dims[-2]))(dspp_input)
    x = convolution_block(x, kernel_size=1, use_bias=True)
    out_pool = layers.UpSampling2D(size=(dims[-3] // x.shape[1], dims[-2] // x.shape[2]), interpolation="bilinear")(x)
    out_1 = convolution_block(dspp_input, kernel_size=1, dilation_rate=1)
    out_6 = convolution_block(dspp_input, kernel_size=3, dilation_rate=2)
    out_12 = convolution_block(dspp_input, kernel_size=3, dilation_rate=4)
    x = layers.Concatenate(axis=-1)([out_pool, out_1, out_6, out_12])
    return convolution_block(x, kernel_size=1)


def stem(image_size):
    """A small backbone in place of ResNet50 (no downloads on the cluster)."""
    i = keras.Input((image_size, image_size, 3))
    x = convolution_block(i, 16)
    x = layers.MaxPooling2D()(x)
    x = convolution_block(x, 32)
    low = layers.MaxPooling2D(name="low")(x)
    x = convolution_block(low, 64)
    x = layers.MaxPooling2D()(x)
    x = convolution_block(x, 64)
    return keras.Model(i, x, name="stem")


def DeeplabV3Plus(image_size, num_classes):
    backbone = stem(image_size)
    x = DilatedSpatialPyramidPooling(backbone.output)
    input_a = layers.UpSampling2D(size=(2, 2), interpolation="bilinear")(x)
    input_b = backbone.get_layer("low").output
    input_b = convolution_block(input_b, num_filters=24, kernel_size=1)
    x = layers.Concatenate(axis=-1)([input_a, input_b])
    x = convolution_block(x)
    x = convolution_block(x)
    x = layers.UpSampling2D(size=(4, 4), interpolation="bilinear")(x)
    model_output = layers.Conv2D(num_classes, kernel_size=(1, 1), padding="same")(x)
    return keras.Model(inputs=backbone.input, outputs=model_output)


train_dataset = data_generator("train", True)
val_dataset = data_generator("val", False)
model = DeeplabV3Plus(image_size=IMAGE_SIZE, num_classes=NUM_CLASSES)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.001), loss=loss,
              metrics=[keras.metrics.MeanIoU(NUM_CLASSES, ignore_class=255, sparse_y_pred=False)])
history = model.fit(train_dataset, validation_data=val_dataset, epochs=25)
