# %% [markdown]
# # Foot ulcers: self-made encoder + focal Tversky
# 1. a small encoder learns to denoise the photographs (no labels), saved as encoder.keras
# 2. encoder frozen, only the decoder learns
# 3. everything but batch norm learns, smaller rate

# %%
import glob, os
import numpy as np
import cv2
import tensorflow as tf
import keras
from keras import layers
from keras import backend as K
from keras.callbacks import EarlyStopping, ModelCheckpoint
from keras.utils import load_img, img_to_array

IMG = 64
SEED = 7
keras.utils.set_random_seed(SEED)

# %%
def preprocess(images):
    return images.astype('float32') / 127.5 - 1.0

def read_split(split):
    x, y = [], []
    for path in sorted(glob.glob(f'foot_ulcers/{split}/images/*.png')):
        x.append(img_to_array(load_img(path, target_size=(IMG, IMG))))
        mask = load_img(path.replace('images', 'labels'), color_mode='grayscale', target_size=(IMG, IMG),
                        interpolation='nearest')
        y.append(img_to_array(mask) / 255.)
    return np.array(x), np.array(y)

X_train, y_train = read_split('train')
X_val, y_val = read_split('validation')
print(X_train.shape, y_train.shape, 'wound pixels: %.1f %%' % (100 * y_train.mean()))

X_train = preprocess(X_train)
X_val = preprocess(X_val)

# mirrored copies, then shuffle once
X_train = np.concatenate([X_train, X_train[:, :, ::-1]])
y_train = np.concatenate([y_train, y_train[:, :, ::-1]])
order = np.random.permutation(len(X_train))
X_train, y_train = X_train[order], y_train[order]

# %%
def build_encoder():
    inp = keras.Input((IMG, IMG, 3))
    x = layers.Conv2D(16, 3, padding='same', use_bias=False)(inp)
    x = layers.BatchNormalization(momentum=0.9)(x)
    s1 = layers.Activation('relu', name='s1')(x)
    x = layers.Conv2D(32, 3, strides=2, padding='same', use_bias=False)(s1)
    x = layers.BatchNormalization(momentum=0.9)(x)
    s2 = layers.Activation('relu', name='s2')(x)
    x = layers.Conv2D(48, 3, strides=2, padding='same', use_bias=False)(s2)
    x = layers.BatchNormalization(momentum=0.9)(x)
    s3 = layers.Activation('relu', name='s3')(x)
    return keras.Model(inp, [s1, s2, s3], name='encoder')

def pretrain(images, steps=120, batch=8):
    encoder = build_encoder()
    back = keras.Sequential([layers.Conv2DTranspose(24, 2, strides=2, activation='relu'),
                             layers.Conv2DTranspose(16, 2, strides=2, activation='relu'),
                             layers.Conv2D(3, 3, padding='same')])
    opt = keras.optimizers.Adam(2e-3)

    @tf.function
    def step(clean):
        noisy = clean + tf.random.normal(tf.shape(clean), stddev=0.3)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(back(encoder(noisy, training=True)[-1], training=True) - clean))
        weights = encoder.trainable_variables + back.trainable_variables
        opt.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    back.build((None, IMG // 4, IMG // 4, 48))
    opt.build(encoder.trainable_variables + back.trainable_variables)
    for i in range(steps):
        pick = np.random.choice(len(images), batch, replace=False)
        loss = step(tf.constant(images[pick]))
        if i % 40 == 0:
            print('pretraining', i, float(loss))
    encoder.save('encoder.keras')

if not os.path.exists('encoder.keras'):
    pretrain(X_train)

# %%
encoder = keras.models.load_model('encoder.keras')
encoder.trainable = False

def up(x, skip, filters):
    x = layers.UpSampling2D(interpolation='bilinear')(x)
    x = layers.Concatenate()([x, skip])
    x = layers.Conv2D(filters, 3, padding='same', activation='relu', kernel_initializer='he_normal')(x)
    return layers.Conv2D(filters, 3, padding='same', activation='relu', kernel_initializer='he_normal')(x)

inputs = keras.Input((IMG, IMG, 3))
s1, s2, s3 = encoder(inputs, training=False)
x = layers.Conv2D(64, 3, padding='same', activation='relu', kernel_initializer='he_normal')(s3)
x = layers.Dropout(0.2)(x)
x = up(x, s2, 32)
x = up(x, s1, 16)
outputs = layers.Conv2D(1, 1, activation='sigmoid')(x)
model = keras.Model(inputs, outputs)

# %%
ALPHA, GAMMA = 0.7, 0.75

def tversky(y_true, y_pred, smooth=1.0):
    y_true_pos = keras.ops.ravel(y_true)
    y_pred_pos = keras.ops.ravel(y_pred)
    true_pos = keras.ops.sum(y_true_pos * y_pred_pos)
    false_neg = keras.ops.sum(y_true_pos * (1 - y_pred_pos))
    false_pos = keras.ops.sum((1 - y_true_pos) * y_pred_pos)
    return (true_pos + smooth) / (true_pos + ALPHA * false_neg + (1 - ALPHA) * false_pos + smooth)

def focal_tversky(y_true, y_pred):
    return keras.ops.power(1 - tversky(y_true, y_pred) + K.epsilon(), GAMMA)

def dice(y_true, y_pred):
    y_pred = keras.ops.cast(y_pred > 0.5, 'float32')
    inter = keras.ops.sum(y_true * y_pred)
    return (2 * inter + 1) / (keras.ops.sum(y_true) + keras.ops.sum(y_pred) + 1)

# %% decoder only
callbacks = [EarlyStopping(monitor='val_dice', mode='max', patience=6, restore_best_weights=True),
             ModelCheckpoint('ulcers.keras', monitor='val_dice', mode='max', save_best_only=True)]
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=focal_tversky, metrics=[dice])
h1 = model.fit(X_train, y_train, validation_data=(X_val, y_val), batch_size=8, epochs=8, callbacks=callbacks, verbose=2)

# %% all
encoder.trainable = True
for layer in encoder.layers:
    if isinstance(layer, layers.BatchNormalization):
        layer.trainable = False
model.compile(optimizer=keras.optimizers.Adam(1e-4), loss=focal_tversky, metrics=[dice])
h2 = model.fit(X_train, y_train, validation_data=(X_val, y_val), batch_size=8, epochs=6, callbacks=callbacks, verbose=2)

# %% drop specks, score picture by picture
os.makedirs('ulcer_out', exist_ok=True)
found = model.predict(X_val, verbose=0) > 0.5
ious = []
for i, (p, t) in enumerate(zip(found[..., 0], y_val[..., 0] > 0.5)):
    n, parts, stats, _ = cv2.connectedComponentsWithStats(p.astype('uint8'))
    for k in range(1, n):
        if stats[k, cv2.CC_STAT_AREA] < 10:
            p[parts == k] = False
    ious.append((p & t).sum() / max(1, (p | t).sum()))
    cv2.imwrite(f'ulcer_out/{i:03d}.png', 255 * p.astype('uint8'))
print('IoU of the pictures: mean %.3f, worst %.3f' % (np.mean(ious), np.min(ious)))
