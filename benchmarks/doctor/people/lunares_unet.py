# Segmentacion de lunares con una U-Net (practica 4). Los datos se simulan: fotos de piel con un lunar.
import numpy as np
import tensorflow as tf
import keras
from keras.layers import (Input, Conv2D, MaxPooling2D, UpSampling2D, BatchNormalization, Activation, concatenate,
                          Dropout)
from keras.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from keras.regularizers import l2

semilla = 4
np.random.seed(semilla)
keras.utils.set_random_seed(semilla)
lado = 64
n_fotos = 150
tam_lote = 10
epocas = 5


def simular_foto(clara):
    """Una foto de piel de 0 a 255 y la mascara de su lunar (0 o 255), como en un PNG."""
    yy, xx = np.mgrid[:lado, :lado].astype('float32')
    piel = np.array([226, 182, 158] if clara else [141, 96, 72], 'float32')
    foto = piel + np.random.normal(0, 6, (lado, lado, 3))
    foto += 14 * np.sin(xx / np.random.uniform(6, 14) + np.random.uniform(0, 6))[..., None]
    cy, cx = np.random.uniform(16, lado - 16, 2)
    radio = np.random.uniform(6, 15)
    angulo = np.arctan2(yy - cy, xx - cx)
    borde = radio * (1 + 0.18 * np.sin(3 * angulo + np.random.uniform(0, 6)) + 0.1 * np.sin(5 * angulo))
    dentro = np.hypot(yy - cy, xx - cx) < borde
    foto[dentro] = foto[dentro] * np.random.uniform(0.35, 0.6) + np.random.normal(0, 8, (dentro.sum(), 3))
    for _ in range(np.random.randint(0, 6)):  # pelos
        a, b = np.random.uniform(0, lado), np.random.uniform(-1, 1)
        foto[np.abs(yy - a - b * xx) < 0.7] = [45, 32, 28]
    return np.clip(foto, 0, 255).astype('uint8'), (dentro * 255).astype('uint8')


def normalizar(fotos):
    return fotos.astype('float32') / 255.0


pares = [simular_foto(clara=i < n_fotos * 0.7) for i in range(n_fotos)]
imagenes = normalizar(np.array([p[0] for p in pares]))
mascaras = np.array([p[1] for p in pares])[..., np.newaxis] / 255.0
mascaras = mascaras.astype('float32')

# barajar antes de separar: validation_split toma el final
orden = np.random.permutation(n_fotos)
imagenes = imagenes[orden]
mascaras = mascaras[orden]
print('imagenes', imagenes.shape, imagenes.min(), imagenes.max(), 'mascaras', mascaras.shape, np.unique(mascaras))


def bloque(x, filtros):
    for _ in range(2):
        x = Conv2D(filtros, 3, padding='same', use_bias=False, kernel_initializer='he_normal',
                   kernel_regularizer=l2(1e-5))(x)
        x = BatchNormalization(momentum=0.9)(x)
        x = Activation('relu')(x)
    return x


def crear_unet(filtros=12):
    entrada = Input((lado, lado, 3))
    c1 = bloque(entrada, filtros)
    c2 = bloque(MaxPooling2D()(c1), filtros * 2)
    c3 = bloque(MaxPooling2D()(c2), filtros * 4)
    c3 = Dropout(0.2)(c3)
    d2 = bloque(concatenate([UpSampling2D()(c3), c2]), filtros * 2)
    d1 = bloque(concatenate([UpSampling2D()(d2), c1]), filtros)
    salida = Conv2D(1, 1, activation='sigmoid')(d1)
    return keras.Model(entrada, salida, name='unet_lunares')


def coef_dice(y_real, y_pred, suave=1.0):
    y_real = tf.reshape(y_real, [-1])
    y_pred = tf.reshape(y_pred, [-1])
    interseccion = tf.reduce_sum(y_real * y_pred)
    return (2.0 * interseccion + suave) / (tf.reduce_sum(y_real) + tf.reduce_sum(y_pred) + suave)


def perdida(y_real, y_pred):
    entropia = keras.losses.binary_crossentropy(y_real, y_pred)
    return tf.reduce_mean(entropia) + 1.0 - coef_dice(y_real, y_pred)


def dice_duro(y_real, y_pred):
    return coef_dice(y_real, tf.cast(y_pred > 0.5, tf.float32))


modelo = crear_unet()
modelo.compile(optimizer=keras.optimizers.Adam(2e-3), loss=perdida, metrics=[dice_duro])
retrollamadas = [
    ModelCheckpoint('mejor.keras', monitor='val_dice_duro', mode='max', save_best_only=True),
    EarlyStopping(monitor='val_loss', patience=6, restore_best_weights=True),
    ReduceLROnPlateau(monitor='val_loss', factor=0.5, patience=3, min_lr=1e-5),
]
historia = modelo.fit(imagenes, mascaras, validation_split=0.2, batch_size=tam_lote, epochs=epocas, shuffle=True,
                      callbacks=retrollamadas, verbose=2)
print('mejor dice de validacion: %.3f' % max(historia.history['val_dice_duro']))
