# multi-band satellite image, five land cover classes, sigmoid per class
import numpy as np
import keras
from keras.models import Model
from keras.layers import Input, Conv2D, MaxPooling2D, UpSampling2D, concatenate, Conv2DTranspose, BatchNormalization, Dropout
from keras.optimizers import Adam
from keras.callbacks import CSVLogger

N_BANDS = 4
N_CLASSES = 5
CLASS_WEIGHTS = [0.2, 0.2, 0.2, 0.2, 0.2]
N_EPOCHS = 60
PATCH_SZ = 64
BATCH_SIZE = 16
TRAIN_SZ = 256
VAL_SZ = 64

img = np.load('satellite/scene.npy')          # H, W, bands, reflectance * 10000
labels = np.load('satellite/labels.npy')      # H, W


def normalize(img):
    min = img.min()
    max = img.max()
    x = 2.0 * (img - min) / (max - min) - 1.0
    return x.astype('float32')


img = normalize(img.astype('float32'))
mask = np.stack([labels == c for c in range(N_CLASSES)], axis=-1).astype('float32')
train_xsz = int(3 / 4 * img.shape[0])
X_DICT_TRAIN, Y_DICT_TRAIN = img[:train_xsz], mask[:train_xsz]
X_DICT_VALIDATION, Y_DICT_VALIDATION = img[train_xsz:], mask[train_xsz:]


def get_rand_patch(img, mask, sz):
    xc = np.random.randint(0, img.shape[0] - sz)
    yc = np.random.randint(0, img.shape[1] - sz)
    patch_img = img[xc:(xc + sz), yc:(yc + sz)]
    patch_mask = mask[xc:(xc + sz), yc:(yc + sz)]
    random_transformation = np.random.randint(1, 5)
    if random_transformation == 1:
        patch_img = patch_img[::-1, :, :]
        patch_mask = patch_mask[::-1, :, :]
    elif random_transformation == 2:
        patch_img = patch_img[:, ::-1, :]
        patch_mask = patch_mask[:, ::-1, :]
    elif random_transformation == 3:
        patch_img = patch_img.transpose([1, 0, 2])
        patch_mask = patch_mask.transpose([1, 0, 2])
    return patch_img, patch_mask


def get_patches(x_all, y_all, n_patches, sz=64):
    x, y = [], []
    for _ in range(n_patches):
        img_patch, mask_patch = get_rand_patch(x_all, y_all, sz)
        x.append(img_patch)
        y.append(mask_patch)
    return np.array(x), np.array(y)


def weighted_binary_crossentropy(y_true, y_pred):
    class_loglosses = keras.ops.mean(keras.ops.binary_crossentropy(y_true, y_pred), axis=[0, 1, 2])
    return keras.ops.sum(class_loglosses * keras.ops.convert_to_tensor(CLASS_WEIGHTS))


def unet_model(n_classes=5, im_sz=64, n_channels=4, n_filters_start=16, growth_factor=2):
    n_filters = n_filters_start
    inputs = Input((im_sz, im_sz, n_channels))
    conv1 = Conv2D(n_filters, (3, 3), activation='relu', padding='same')(inputs)
    conv1 = Conv2D(n_filters, (3, 3), activation='relu', padding='same')(conv1)
    pool1 = MaxPooling2D(pool_size=(2, 2))(conv1)
    n_filters *= growth_factor
    pool1 = BatchNormalization()(pool1)
    conv2 = Conv2D(n_filters, (3, 3), activation='relu', padding='same')(pool1)
    conv2 = Conv2D(n_filters, (3, 3), activation='relu', padding='same')(conv2)
    pool2 = MaxPooling2D(pool_size=(2, 2))(conv2)
    pool2 = Dropout(0.1)(pool2)
    n_filters *= growth_factor
    pool2 = BatchNormalization()(pool2)
    conv3 = Conv2D(n_filters, (3, 3), activation='relu', padding='same')(pool2)
    conv3 = Conv2D(n_filters, (3, 3), activation='relu', padding='same')(conv3)
    n_filters //= growth_factor
    up8 = concatenate([Conv2DTranspose(n_filters, (2, 2), strides=(2, 2), padding='same')(conv3), conv2])
    up8 = BatchNormalization()(up8)
    conv8 = Conv2D(n_filters, (3, 3), activation='relu', padding='same')(up8)
    n_filters //= growth_factor
    up9 = concatenate([Conv2DTranspose(n_filters, (2, 2), strides=(2, 2), padding='same')(conv8), conv1])
    conv9 = Conv2D(n_filters, (3, 3), activation='relu', padding='same')(up9)
    conv10 = Conv2D(n_classes, (1, 1), activation='sigmoid')(conv9)
    model = Model(inputs=inputs, outputs=conv10)
    model.compile(optimizer=Adam(learning_rate=0.001), loss=weighted_binary_crossentropy)
    return model


np.random.seed(0)
x_train, y_train = get_patches(X_DICT_TRAIN, Y_DICT_TRAIN, n_patches=TRAIN_SZ, sz=PATCH_SZ)
x_val, y_val = get_patches(X_DICT_VALIDATION, Y_DICT_VALIDATION, n_patches=VAL_SZ, sz=PATCH_SZ)
model = unet_model(N_CLASSES, PATCH_SZ, N_BANDS)
csv_logger = CSVLogger('log_unet.csv', append=True, separator=';')
model.fit(x_train, y_train, batch_size=BATCH_SIZE, epochs=N_EPOCHS, verbose=2, shuffle=True,
          callbacks=[csv_logger], validation_data=(x_val, y_val))
