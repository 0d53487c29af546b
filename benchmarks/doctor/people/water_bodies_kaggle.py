#!/usr/bin/env python
# coding: utf-8

# # Satellite images of water bodies: plain U-Net
# If you like this notebook please upvote :)

# In[1]:


import os
import numpy as np
import cv2

from tensorflow.keras.models import Model
from tensorflow.keras.layers import (Input, Conv2D, MaxPooling2D, Conv2DTranspose, concatenate, Dropout,
                                     ZeroPadding2D, Cropping2D)
from tensorflow.keras.optimizers import Adam
from tensorflow.keras.callbacks import ReduceLROnPlateau
from tensorflow.keras.metrics import BinaryIoU
import tensorflow as tf

tf.keras.utils.set_random_seed(42)

# In[2]:


IMAGE_PATH = 'water_bodies/Images/'
MASK_PATH = 'water_bodies/Masks/'
SIZE = 72
EPOCHS = 16

image_names = sorted(os.listdir(IMAGE_PATH))
mask_names = sorted(os.listdir(MASK_PATH))
print(len(image_names), len(mask_names))

# In[3]:


images = []
for name in image_names:
    img = cv2.imread(IMAGE_PATH + name, 1)
    img = cv2.cvtColor(img, cv2.COLOR_BGR2RGB)
    img = cv2.resize(img, (SIZE, SIZE))
    images.append(img)

masks = []
for name in mask_names:
    mask = cv2.imread(MASK_PATH + name, 0)
    mask = cv2.resize(mask, (SIZE, SIZE))
    masks.append(mask)

X = np.array(images, dtype='float32') / 255
Y = np.array(masks)
Y = (Y > 127).astype('float32')
Y = Y.reshape(-1, SIZE, SIZE, 1)
print(X.shape, X.max(), Y.shape, Y.mean())

# In[4]:


def train_test_split(X, Y, test_size, seed=0):
    order = np.random.RandomState(seed).permutation(len(X))
    n = int(len(X) * test_size)
    return X[order[n:]], X[order[:n]], Y[order[n:]], Y[order[:n]], order[:n]


x_train, x_test, y_train, y_test, test_ids = train_test_split(X, Y, test_size=0.2)
print(x_train.shape, x_test.shape)

# In[5]: 5 times pooling, so the input has to be a multiple of 32 -> 96


def block(x, n):
    x = Conv2D(n, (3, 3), activation='relu', kernel_initializer='he_normal', padding='same')(x)
    x = Dropout(0.1)(x)
    x = Conv2D(n, (3, 3), activation='relu', kernel_initializer='he_normal', padding='same')(x)
    return x


def unet():
    inputs = Input((SIZE, SIZE, 3))
    x = ZeroPadding2D(12)(inputs)
    skips = []
    for n in (8, 16, 24, 32, 32):
        x = block(x, n)
        skips.append(x)
        x = MaxPooling2D((2, 2))(x)
    x = block(x, 48)
    for n, skip in zip((32, 32, 24, 16, 8), reversed(skips)):
        x = Conv2DTranspose(n, (2, 2), strides=(2, 2), padding='same')(x)
        x = concatenate([x, skip])
        x = block(x, n)
    x = Cropping2D(12)(x)
    outputs = Conv2D(1, (1, 1), activation='sigmoid')(x)
    return Model(inputs=[inputs], outputs=[outputs])


model = unet()
model.compile(optimizer=Adam(2e-3), loss='binary_crossentropy', metrics=['accuracy', BinaryIoU(target_class_ids=[1], name='iou')])

# In[6]:


reduce_lr = ReduceLROnPlateau(monitor='val_loss', factor=0.3, patience=5, min_lr=1e-5)
history = model.fit(x_train, y_train, validation_data=(x_test, y_test), batch_size=8, epochs=EPOCHS,
                    callbacks=[reduce_lr], verbose=2)

# In[7]: Dice of the test images


p = model.predict(x_test, verbose=0)[..., 0] > 0.5
t = np.array([cv2.resize(cv2.imread(MASK_PATH + image_names[i], 0), (SIZE, SIZE)) for i in test_ids]) > 127
print('test dice: %.3f' % (2 * (p & t).sum() / (p.sum() + t.sum())))
