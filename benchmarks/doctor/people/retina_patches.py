# Retina vessel segmentation on patches; output (N, pixels, 2)
import glob

import numpy as np
from keras.callbacks import ModelCheckpoint
from keras.layers import Conv2D, Dropout, Input, MaxPooling2D, Permute, Reshape, UpSampling2D, concatenate
from keras.layers import Activation
from keras.models import Model
from keras.optimizers import SGD
from PIL import Image

PATCH = 48
N_SUBIMGS = 600


def load(pattern):
    return np.stack([np.asarray(Image.open(f).convert('L')) for f in sorted(glob.glob(pattern))]).astype('float32')


def dataset_normalized(imgs):
    imgs_std = np.std(imgs)
    imgs_mean = np.mean(imgs)
    imgs_normalized = (imgs - imgs_mean) / imgs_std
    for i in range(imgs.shape[0]):
        low, high = np.min(imgs_normalized[i]), np.max(imgs_normalized[i])
        imgs_normalized[i] = (imgs_normalized[i] - low) / (high - low)
    return imgs_normalized


def extract_random(imgs, masks, n, rng):
    patches = np.empty((n, PATCH, PATCH, 1), 'float32')
    patches_masks = np.empty((n, PATCH, PATCH), 'float32')
    for k in range(n):
        i = rng.randint(len(imgs))
        y = rng.randint(0, imgs.shape[1] - PATCH)
        x = rng.randint(0, imgs.shape[2] - PATCH)
        patches[k, ..., 0] = imgs[i, y:y + PATCH, x:x + PATCH]
        patches_masks[k] = masks[i, y:y + PATCH, x:x + PATCH]
    return patches, patches_masks


def masks_Unet(masks):
    im = masks.reshape(len(masks), PATCH * PATCH).astype(int)
    new_masks = np.empty((len(masks), PATCH * PATCH, 2))
    new_masks[:, :, 0] = im == 0
    new_masks[:, :, 1] = im == 1
    return new_masks


def get_unet(patch_height, patch_width, n_ch):
    inputs = Input(shape=(patch_height, patch_width, n_ch))
    conv1 = Conv2D(16, (3, 3), activation='relu', padding='same')(inputs)
    conv1 = Dropout(0.2)(conv1)
    conv1 = Conv2D(16, (3, 3), activation='relu', padding='same')(conv1)
    pool1 = MaxPooling2D((2, 2))(conv1)
    conv2 = Conv2D(32, (3, 3), activation='relu', padding='same')(pool1)
    conv2 = Dropout(0.2)(conv2)
    conv2 = Conv2D(32, (3, 3), activation='relu', padding='same')(conv2)
    pool2 = MaxPooling2D((2, 2))(conv2)
    conv3 = Conv2D(64, (3, 3), activation='relu', padding='same')(pool2)
    conv3 = Conv2D(64, (3, 3), activation='relu', padding='same')(conv3)
    up1 = concatenate([conv2, UpSampling2D(size=(2, 2))(conv3)])
    conv4 = Conv2D(32, (3, 3), activation='relu', padding='same')(up1)
    conv4 = Conv2D(32, (3, 3), activation='relu', padding='same')(conv4)
    up2 = concatenate([conv1, UpSampling2D(size=(2, 2))(conv4)])
    conv5 = Conv2D(16, (3, 3), activation='relu', padding='same')(up2)
    conv5 = Conv2D(16, (3, 3), activation='relu', padding='same')(conv5)
    conv6 = Conv2D(2, (1, 1), padding='same')(conv5)
    conv6 = Reshape((patch_height * patch_width, 2))(conv6)
    conv7 = Activation('softmax')(conv6)
    model = Model(inputs=inputs, outputs=conv7)
    model.compile(optimizer=SGD(learning_rate=0.05, momentum=0.9), loss='categorical_crossentropy',
                  metrics=['accuracy'])
    return model


rng = np.random.RandomState(3)
imgs = dataset_normalized(load('retina/images/*.png'))
masks = load('retina/1st_manual/*.png') / 255.
patches_imgs_train, patches_masks_train = extract_random(imgs, masks, N_SUBIMGS, rng)
model = get_unet(PATCH, PATCH, 1)
patches_masks_train = masks_Unet(patches_masks_train)
model.fit(patches_imgs_train, patches_masks_train, epochs=60, batch_size=32, verbose=2, shuffle=True,
          validation_split=0.1, callbacks=[ModelCheckpoint('best.weights.h5', save_weights_only=True)])
