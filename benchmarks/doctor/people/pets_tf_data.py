import os

import tensorflow as tf

IMG_SIZE = 64
OUTPUT_CLASSES = 3
BATCH_SIZE = 8
BUFFER_SIZE = 100

names = sorted(f[:-4] for f in os.listdir("pets/images") if f.endswith(".jpg"))
train_names, test_names = names[:-20], names[-20:]


def load_image(name):
    image = tf.image.decode_jpeg(tf.io.read_file("pets/images/" + name + ".jpg"), channels=3)
    mask = tf.image.decode_png(tf.io.read_file("pets/annotations/trimaps/" + name + ".png"), channels=1)
    input_image = tf.image.resize(image, (IMG_SIZE, IMG_SIZE))
    input_mask = tf.image.resize(mask, (IMG_SIZE, IMG_SIZE), method=tf.image.ResizeMethod.NEAREST_NEIGHBOR)
    return normalize(input_image, input_mask)


def normalize(input_image, input_mask):
    input_image = tf.cast(input_image, tf.float32) / 127.5 - 1
    input_mask = tf.cast(input_mask, tf.int32) - 1
    return input_image, input_mask


class Augment(tf.keras.layers.Layer):
    def __init__(self, seed=42):
        super().__init__()
        self.augment_inputs = tf.keras.layers.RandomFlip(mode="horizontal", seed=seed)
        self.augment_labels = tf.keras.layers.RandomFlip(mode="horizontal", seed=seed)

    def call(self, inputs, labels):
        both = tf.concat([inputs, tf.cast(labels, tf.float32)], -1)
        both = self.augment_inputs(both, training=True)
        return both[..., :3], tf.cast(both[..., 3:], tf.int32)


train_images = tf.data.Dataset.from_tensor_slices(train_names).map(load_image, num_parallel_calls=tf.data.AUTOTUNE)
test_images = tf.data.Dataset.from_tensor_slices(test_names).map(load_image)
STEPS_PER_EPOCH = len(train_names) // BATCH_SIZE

train_batches = (
    train_images.cache().shuffle(BUFFER_SIZE).batch(BATCH_SIZE).repeat().map(Augment()).prefetch(tf.data.AUTOTUNE)
)
test_batches = test_images.batch(BATCH_SIZE)


def downsample(filters, size, apply_norm=True):
    result = tf.keras.Sequential()
    result.add(tf.keras.layers.Conv2D(filters, size, strides=2, padding="same", use_bias=False,
                                      kernel_initializer=tf.random_normal_initializer(0.0, 0.05)))
    if apply_norm:
        result.add(tf.keras.layers.BatchNormalization())
    result.add(tf.keras.layers.LeakyReLU())
    return result


def upsample(filters, size):
    result = tf.keras.Sequential()
    result.add(tf.keras.layers.Conv2DTranspose(filters, size, strides=2, padding="same", use_bias=False,
                                               kernel_initializer=tf.random_normal_initializer(0.0, 0.05)))
    result.add(tf.keras.layers.BatchNormalization())
    result.add(tf.keras.layers.ReLU())
    return result


down_stack = [downsample(16, 3, False), downsample(32, 3), downsample(64, 3), downsample(64, 3)]
up_stack = [upsample(64, 3), upsample(32, 3), upsample(16, 3)]


def unet_model(output_channels: int):
    inputs = tf.keras.layers.Input(shape=[IMG_SIZE, IMG_SIZE, 3])
    x = inputs
    skips = []
    for down in down_stack:
        x = down(x)
        skips.append(x)
    skips = reversed(skips[:-1])
    for up, skip in zip(up_stack, skips):
        x = up(x)
        x = tf.keras.layers.Concatenate()([x, skip])
    last = tf.keras.layers.Conv2DTranspose(filters=output_channels, kernel_size=3, strides=2, padding="same")
    return tf.keras.Model(inputs=inputs, outputs=last(x))


model = unet_model(output_channels=OUTPUT_CLASSES)
model.compile(
    optimizer="adam",
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
EPOCHS = 20
model_history = model.fit(train_batches, epochs=EPOCHS, steps_per_epoch=STEPS_PER_EPOCH, validation_data=test_batches)
