# Lung segmentation from chest X-rays with tf.data
import csv
import os

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
import tensorflow as tf

tf.keras.utils.set_random_seed(7)

AUTOTUNE = tf.data.AUTOTUNE
IMG_SIZE = 64
BATCH_SIZE = 8
EPOCHS = 16
DATA_DIR = 'montgomery'

with open(os.path.join(DATA_DIR, 'ClinicalReadings.csv')) as f:
    names = [row['filename'] for row in csv.DictReader(f)]
images = [os.path.join(DATA_DIR, 'CXR_png', n) for n in names]
masks = [os.path.join(DATA_DIR, 'masks', n.replace('.png', '_mask.png')) for n in names]

n_val = int(0.2 * len(names))
train_x, train_y = images[n_val:], masks[n_val:]
val_x, val_y = images[:n_val], masks[:n_val]


def read_image(path):
    image = tf.io.read_file(path)
    image = tf.image.decode_png(image, channels=1)
    image = tf.image.resize(image, (IMG_SIZE, IMG_SIZE))
    return tf.cast(image, tf.float32) / 255.0


def read_mask(path):
    mask = tf.io.read_file(path)
    mask = tf.image.decode_png(mask, channels=1)
    mask = tf.image.resize(mask, (IMG_SIZE, IMG_SIZE), method='nearest')
    return tf.cast(mask, tf.float32) / 255.0


def load(image_path, mask_path):
    return read_image(image_path), read_mask(mask_path)


def augment(image, mask):
    if tf.random.uniform(()) > 0.5:
        image = tf.image.flip_left_right(image)
        mask = tf.image.flip_left_right(mask)
    image = tf.image.random_brightness(image, 0.1)
    image = tf.image.random_contrast(image, 0.8, 1.2)
    return image, mask


train_ds = (
    tf.data.Dataset.from_tensor_slices((train_x, train_y))
    .shuffle(len(train_x), seed=7)
    .map(load, num_parallel_calls=AUTOTUNE)
    .map(augment, num_parallel_calls=AUTOTUNE)
    .batch(BATCH_SIZE)
    .prefetch(AUTOTUNE)
)
val_ds = (
    tf.data.Dataset.from_tensor_slices((val_x, val_y))
    .map(load, num_parallel_calls=AUTOTUNE)
    .batch(BATCH_SIZE)
    .prefetch(AUTOTUNE)
)


def vgg_block(x, filters, convs):
    for _ in range(convs):
        x = tf.keras.layers.Conv2D(filters, 3, padding='same', activation='relu', kernel_initializer='he_normal')(x)
    return x


def build_vgg_unet():
    inp = tf.keras.Input((IMG_SIZE, IMG_SIZE, 1))
    s1 = vgg_block(inp, 8, 2)
    s2 = vgg_block(tf.keras.layers.MaxPool2D()(s1), 16, 2)
    s3 = vgg_block(tf.keras.layers.MaxPool2D()(s2), 32, 3)
    x = vgg_block(tf.keras.layers.MaxPool2D()(s3), 48, 3)
    for skip, filters in ((s3, 32), (s2, 16), (s1, 8)):
        x = tf.keras.layers.UpSampling2D(interpolation='bilinear')(x)
        x = tf.keras.layers.Concatenate()([x, skip])
        x = vgg_block(x, filters, 2)
    out = tf.keras.layers.Conv2D(1, 1, name='logits')(x)
    return tf.keras.Model(inp, out)


model = build_vgg_unet()
model.compile(
    optimizer=tf.keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=1e-4),
    loss=tf.keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[tf.keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.0, name='iou')],
)
model.fit(
    train_ds,
    validation_data=val_ds,
    epochs=EPOCHS,
    verbose=2,
    callbacks=[
        tf.keras.callbacks.EarlyStopping(monitor='val_iou', mode='max', patience=10, restore_best_weights=True),
        tf.keras.callbacks.CSVLogger('log.csv'),
    ],
)
