import cv2
import numpy as np
import os
from glob import glob
from PIL import Image
from keras.callbacks import EarlyStopping, ReduceLROnPlateau
from keras.layers import *
from keras.losses import binary_crossentropy
from keras.models import Model
from keras.optimizers import RMSprop
from keras import ops as K

input_size = 64
epochs = 40
batch_size = 8

ids = sorted(os.path.basename(p).split('.')[0] for p in glob('carvana/train/*.jpg'))
ids_train_split, ids_valid_split = ids[16:], ids[:16]


def randomHueSaturationValue(image, hue_shift_limit=(-50, 50), sat_shift_limit=(-5, 5), val_shift_limit=(-15, 15), u=0.5):
    if np.random.random() < u:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        h, s, v = cv2.split(image)
        h = cv2.add(h, np.random.uniform(hue_shift_limit[0], hue_shift_limit[1]))
        s = cv2.add(s, np.random.uniform(sat_shift_limit[0], sat_shift_limit[1]))
        v = cv2.add(v, np.random.uniform(val_shift_limit[0], val_shift_limit[1]))
        image = cv2.cvtColor(cv2.merge((h, s, v)).astype(np.uint8), cv2.COLOR_HSV2BGR)
    return image


def randomShiftScaleRotate(image, mask, u=0.5):
    if np.random.random() < u:
        height, width = image.shape[:2]
        angle = np.random.uniform(-10, 10)
        scale = np.random.uniform(0.9, 1.1)
        M = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
        M[:, 2] += np.random.uniform(-4, 4, 2)
        image = cv2.warpAffine(image, M, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        mask = cv2.warpAffine(mask, M, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    return image, mask


def randomHorizontalFlip(image, mask, u=0.5):
    if np.random.random() < u:
        image = cv2.flip(image, 1)
        mask = cv2.flip(mask, 1)
    return image, mask


def load(id):
    img = cv2.imread('carvana/train/{}.jpg'.format(id))
    img = cv2.resize(img, (input_size, input_size))
    mask = np.array(Image.open('carvana/train_masks/{}_mask.gif'.format(id)).convert('L'))
    mask = cv2.resize(mask, (input_size, input_size), interpolation=cv2.INTER_NEAREST)
    return img, mask


def train_generator():
    while True:
        np.random.shuffle(ids_train_split)
        for start in range(0, len(ids_train_split), batch_size):
            x_batch = []
            y_batch = []
            end = min(start + batch_size, len(ids_train_split))
            for id in ids_train_split[start:end]:
                img, mask = load(id)
                img = randomHueSaturationValue(img)
                img, mask = randomShiftScaleRotate(img, mask)
                img, mask = randomHorizontalFlip(img, mask)
                mask = np.expand_dims(mask, axis=2)
                x_batch.append(img)
                y_batch.append(mask)
            x_batch = np.array(x_batch, np.float32) / 255
            y_batch = np.array(y_batch, np.float32) / 255
            yield x_batch, y_batch


def valid_generator():
    while True:
        for start in range(0, len(ids_valid_split), batch_size):
            x_batch = []
            y_batch = []
            for id in ids_valid_split[start:start + batch_size]:
                img, mask = load(id)
                x_batch.append(img)
                y_batch.append(np.expand_dims(mask, axis=2))
            yield np.array(x_batch, np.float32) / 255, np.array(y_batch, np.float32) / 255


def dice_coeff(y_true, y_pred):
    smooth = 1.
    y_true_f = K.reshape(y_true, (-1,))
    y_pred_f = K.reshape(y_pred, (-1,))
    intersection = K.sum(y_true_f * y_pred_f)
    return (2. * intersection + smooth) / (K.sum(y_true_f) + K.sum(y_pred_f) + smooth)


def bce_dice_loss(y_true, y_pred):
    return K.mean(binary_crossentropy(y_true, y_pred)) + (1 - dice_coeff(y_true, y_pred))


def get_unet(input_shape=(64, 64, 3), num_classes=1):
    inputs = Input(shape=input_shape)
    x, skips = inputs, []
    for f in (16, 32, 64):
        for _ in range(2):
            x = Conv2D(f, (3, 3), padding='same')(x)
            x = BatchNormalization()(x)
            x = Activation('relu')(x)
        skips.append(x)
        x = MaxPooling2D((2, 2), strides=(2, 2))(x)
    x = Conv2D(96, (3, 3), padding='same')(x)
    x = BatchNormalization()(x)
    x = Activation('relu')(x)
    for f in (64, 32, 16):
        x = UpSampling2D((2, 2))(x)
        x = concatenate([skips.pop(), x], axis=3)
        for _ in range(2):
            x = Conv2D(f, (3, 3), padding='same')(x)
            x = BatchNormalization()(x)
            x = Activation('relu')(x)
    classify = Conv2D(num_classes, (1, 1), activation='sigmoid')(x)
    model = Model(inputs=inputs, outputs=classify)
    model.compile(optimizer=RMSprop(learning_rate=0.0005), loss=bce_dice_loss, metrics=[dice_coeff])
    return model


model = get_unet()
callbacks = [EarlyStopping(monitor='val_loss', patience=8, verbose=1, min_delta=1e-4),
             ReduceLROnPlateau(monitor='val_loss', factor=0.1, patience=4, verbose=1, min_delta=1e-4)]
model.fit(x=train_generator(),
          steps_per_epoch=int(np.ceil(float(len(ids_train_split)) / float(batch_size))),
          epochs=epochs, verbose=2, callbacks=callbacks, validation_data=valid_generator(),
          validation_steps=int(np.ceil(float(len(ids_valid_split)) / float(batch_size))))
