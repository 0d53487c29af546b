# %% [markdown]
# # Leaf disease segmentation - U-Net baseline (everything fits in RAM)

# %%
import os
import random

import cv2
import numpy as np
import tensorflow as tf
from tensorflow.keras import backend as K
from tensorflow.keras import layers, models
from tensorflow.keras.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

SEED = 42
os.environ['PYTHONHASHSEED'] = str(SEED)
random.seed(SEED)
np.random.seed(SEED)
tf.random.set_seed(SEED)

IMG_HEIGHT = 64
IMG_WIDTH = 64
IMG_CHANNELS = 3
PATH = 'leaf_disease/'

# %%
image_ids = sorted(os.listdir(PATH + 'images'))
print(len(image_ids), 'images')

X = np.zeros((len(image_ids), IMG_HEIGHT, IMG_WIDTH, IMG_CHANNELS), dtype=np.float32)
Y = np.zeros((len(image_ids), IMG_HEIGHT, IMG_WIDTH, 1), dtype=np.float32)

for n, id_ in enumerate(image_ids):
    img = cv2.imread(PATH + 'images/' + id_)
    img = cv2.cvtColor(img, cv2.COLOR_BGR2RGB)
    img = cv2.resize(img, (IMG_WIDTH, IMG_HEIGHT))
    X[n] = img / 255.0
    mask = cv2.imread(PATH + 'masks/' + id_.replace('.jpg', '_mask.png'), cv2.IMREAD_GRAYSCALE)
    mask = cv2.resize(mask, (IMG_WIDTH, IMG_HEIGHT), interpolation=cv2.INTER_NEAREST)
    Y[n] = np.expand_dims(mask, axis=-1) / 255.0

print('X', X.shape, X.min(), X.max(), ' Y', Y.shape, np.unique(Y)[:5], 'diseased area: %.3f' % Y.mean())


# %%
def dice_coef(y_true, y_pred, smooth=1.0):
    y_true_f = K.flatten(y_true)
    y_pred_f = K.flatten(y_pred)
    intersection = K.sum(y_true_f * y_pred_f)
    return (2. * intersection + smooth) / (K.sum(y_true_f) + K.sum(y_pred_f) + smooth)


def dice_loss(y_true, y_pred):
    return 1 - dice_coef(y_true, y_pred)


def bce_dice_loss(y_true, y_pred):
    bce = tf.keras.losses.binary_crossentropy(y_true, y_pred)
    return tf.reduce_mean(bce) + dice_loss(y_true, y_pred)


# %%
def conv_block(t, filters, drop):
    t = layers.Conv2D(filters, (3, 3), activation='relu', kernel_initializer='he_normal', padding='same')(t)
    t = layers.Dropout(drop)(t)
    t = layers.Conv2D(filters, (3, 3), activation='relu', kernel_initializer='he_normal', padding='same')(t)
    return t


inputs = layers.Input((IMG_HEIGHT, IMG_WIDTH, IMG_CHANNELS))
c1 = conv_block(inputs, 8, 0.1)
p1 = layers.MaxPooling2D((2, 2))(c1)
c2 = conv_block(p1, 16, 0.1)
p2 = layers.MaxPooling2D((2, 2))(c2)
c3 = conv_block(p2, 32, 0.2)
u4 = layers.Conv2DTranspose(16, (2, 2), strides=(2, 2), padding='same')(c3)
u4 = layers.concatenate([u4, c2])
c4 = conv_block(u4, 16, 0.1)
u5 = layers.Conv2DTranspose(8, (2, 2), strides=(2, 2), padding='same')(c4)
u5 = layers.concatenate([u5, c1], axis=3)
c5 = conv_block(u5, 8, 0.1)
outputs = layers.Conv2D(1, (1, 1), activation='sigmoid')(c5)

model = models.Model(inputs=[inputs], outputs=[outputs])
model.compile(optimizer=tf.keras.optimizers.Adam(2e-3), loss=bce_dice_loss, metrics=['accuracy', dice_coef])
model.summary()

# %%
callbacks = [
    EarlyStopping(monitor='val_loss', patience=8, verbose=1),
    ReduceLROnPlateau(monitor='val_loss', factor=0.5, patience=4, verbose=1),
    ModelCheckpoint('model-leaf.keras', monitor='val_dice_coef', mode='max', save_best_only=True, verbose=0),
]
results = model.fit(X, Y, validation_split=0.2, batch_size=8, epochs=25, callbacks=callbacks, verbose=2)

# %%
preds_val = model.predict(X[int(X.shape[0] * 0.8):], verbose=0)
preds_val_t = (preds_val > 0.5).astype(np.uint8)
print('predicted area on the hold-out: %.3f' % preds_val_t.mean())
