"""U-Net for the kidney in B-mode ultrasound (master thesis, baseline of chapter 4).

Frames of one patient look alike, so the split of frames.csv is by patient.
"""
import csv
import os

import keras
import numpy as np
from keras import backend as K
from keras.callbacks import EarlyStopping, ReduceLROnPlateau
from keras.layers import (Activation, BatchNormalization, Conv2D, Conv2DTranspose, Dropout, Input, MaxPooling2D,
                          concatenate)
from keras.models import Model
from keras.optimizers import Adam
from PIL import Image

DATA_PATH = "kidney_us"
IMG_SIZE = 64
BATCH_SIZE = 8
NUM_EPOCHS = 8
LEARNING_RATE = 8e-3
SEED = 1

keras.utils.set_random_seed(SEED)

with open(os.path.join(DATA_PATH, "frames.csv")) as f:
    table = list(csv.DictReader(f))
train_names = [row["file"] for row in table if row["split"] == "train"]
val_names = [row["file"] for row in table if row["split"] == "val"]
test_names = [row["file"] for row in table if row["split"] == "test"]
mask_names = {name: name.replace(".png", "_mask.png") for name in os.listdir(os.path.join(DATA_PATH, "images"))}
print(len(train_names), "frames to train,", len(val_names), "to validate,", len(test_names), "to test")


def load_gray(folder, name, resample):
    img = Image.open(os.path.join(DATA_PATH, folder, name)).convert("L")
    img = img.resize((IMG_SIZE, IMG_SIZE), resample)
    return np.array(img, dtype="float32")[..., np.newaxis]


def random_transform(img, rng, aug_dict):
    if aug_dict.get("horizontal_flip") and rng.rand() < 0.5:
        img = np.fliplr(img)
    shift = aug_dict.get("shift_range", 0)
    if shift:
        dy, dx = rng.randint(-shift, shift + 1, 2)
        img = np.roll(img, (dy, dx), axis=(0, 1))
    return img


def flow_from_list(folder, names, resample, aug_dict, seed):
    rng = np.random.RandomState(seed)
    while True:
        order = rng.permutation(len(names))
        for i in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            batch = [load_gray(folder, names[k], resample) for k in order[i:i + BATCH_SIZE]]
            yield np.stack([random_transform(img, rng, aug_dict) for img in batch])


def adjust_data(img, mask):
    img = img / 255
    mask = mask / 255
    mask[mask > 0.5] = 1
    mask[mask <= 0.5] = 0
    return img, mask


def train_generator(names, aug_dict, seed=SEED):
    image_generator = flow_from_list("images", names, Image.BILINEAR, aug_dict, seed)
    mask_generator = flow_from_list("masks", [mask_names[n] for n in names], Image.NEAREST, aug_dict, seed)
    for img, mask in zip(image_generator, mask_generator):
        img, mask = adjust_data(img, mask)
        yield img, mask


data_gen_args = dict(horizontal_flip=True, shift_range=4)
train_gen = train_generator(train_names, data_gen_args)
val_gen = train_generator(val_names, {})

smooth = 1.0


def dice_coef(y_true, y_pred):
    y_true_f = keras.ops.reshape(y_true, (-1,))
    y_pred_f = keras.ops.reshape(y_pred, (-1,))
    intersection = keras.ops.sum(y_true_f * y_pred_f)
    return (2.0 * intersection + smooth) / (keras.ops.sum(y_true_f) + keras.ops.sum(y_pred_f) + smooth)


def bce_dice_loss(y_true, y_pred):
    bce = keras.ops.mean(keras.losses.binary_crossentropy(y_true, y_pred))
    return bce + 1 - dice_coef(y_true, y_pred)


def conv_block(x, filters):
    for _ in range(2):
        x = Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
        x = BatchNormalization(momentum=0.9)(x)
        x = Activation("relu")(x)
    return x


def unet(input_size=(IMG_SIZE, IMG_SIZE, 1), start=8):
    inputs = Input(input_size)
    conv1 = conv_block(inputs, start)
    pool1 = MaxPooling2D(2)(conv1)
    conv2 = conv_block(pool1, start * 2)
    pool2 = MaxPooling2D(2)(conv2)
    conv3 = conv_block(pool2, start * 4)
    pool3 = MaxPooling2D(2)(conv3)
    conv4 = conv_block(pool3, start * 8)
    drop4 = Dropout(0.2)(conv4)

    up5 = Conv2DTranspose(start * 4, 2, strides=2, padding="same")(drop4)
    conv5 = conv_block(concatenate([up5, conv3]), start * 4)
    up6 = Conv2DTranspose(start * 2, 2, strides=2, padding="same")(conv5)
    conv6 = conv_block(concatenate([up6, conv2]), start * 2)
    up7 = Conv2DTranspose(start, 2, strides=2, padding="same")(conv6)
    conv7 = conv_block(concatenate([up7, conv1]), start)
    outputs = Conv2D(1, 1, activation="sigmoid")(conv7)
    return Model(inputs, outputs)


model = unet()
model.compile(optimizer=Adam(learning_rate=LEARNING_RATE), loss=bce_dice_loss, metrics=[dice_coef, "accuracy"])

callbacks = [
    ReduceLROnPlateau(monitor="val_loss", factor=0.3, patience=3),
    EarlyStopping(monitor="val_loss", patience=6, restore_best_weights=True),
]
history = model.fit(
    train_gen,
    steps_per_epoch=len(train_names) // BATCH_SIZE,
    epochs=NUM_EPOCHS,
    validation_data=val_gen,
    validation_steps=len(val_names) // BATCH_SIZE,
    callbacks=callbacks,
    verbose=2,
)

test_images = np.stack([load_gray("images", name, Image.BILINEAR) for name in test_names]) / 255
results = model.predict(test_images, verbose=0)
os.makedirs("kidney_results", exist_ok=True)
for name, result in zip(test_names, results):
    Image.fromarray((255 * result[..., 0].clip(0, 1)).astype("uint8")).save(os.path.join("kidney_results", name))
print("best val dice", max(history.history["val_dice_coef"]))
K.clear_session()
