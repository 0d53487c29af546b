# Brain MRI segmentation, U-Net with image data generators
import keras
from keras import ops
from keras.layers import Activation, BatchNormalization, Concatenate, Conv2D, Conv2DTranspose, Input, MaxPooling2D
from keras.models import Model
from keras.src.legacy.preprocessing.image import ImageDataGenerator

im_width = 64
im_height = 64
EPOCHS = 30
BATCH_SIZE = 8
learning_rate = 1e-3
smooth = 1.

n_train, n_val = 56, 14


def adjust_data(img, mask):
    img = img / 255
    mask = mask / 255
    mask[mask > 0.5] = 1
    mask[mask <= 0.5] = 0
    return (img, mask)


def train_generator(folder, batch_size, aug_dict, target_size=(64, 64), seed=1):
    image_datagen = ImageDataGenerator(**aug_dict)
    mask_datagen = ImageDataGenerator(**aug_dict)
    image_generator = image_datagen.flow_from_directory(
        folder, classes=["image"], class_mode=None, color_mode="rgb", target_size=target_size,
        batch_size=batch_size, seed=seed)
    mask_generator = mask_datagen.flow_from_directory(
        folder, classes=["mask"], class_mode=None, color_mode="grayscale", target_size=target_size,
        batch_size=batch_size, seed=seed)
    for (img, mask) in zip(image_generator, mask_generator):
        img, mask = adjust_data(img, mask)
        yield (img, mask)


def dice_coef(y_true, y_pred):
    y_truef = ops.reshape(ops.cast(y_true, 'float32'), (-1,))
    y_predf = ops.reshape(y_pred, (-1,))
    And = ops.sum(y_truef * y_predf)
    return (2 * And + smooth) / (ops.sum(y_truef) + ops.sum(y_predf) + smooth)


def dice_coef_loss(y_true, y_pred):
    return 1 - dice_coef(y_true, y_pred)


def unet(input_size=(64, 64, 3)):
    inputs = Input(input_size)
    skips, x = [], inputs
    for f in (16, 32, 64):
        x = Conv2D(f, (3, 3), padding='same')(x)
        x = Activation('relu')(x)
        x = Conv2D(f, (3, 3), padding='same')(x)
        x = BatchNormalization(axis=3)(x)
        x = Activation('relu')(x)
        skips.append(x)
        x = MaxPooling2D(pool_size=(2, 2))(x)
    x = Conv2D(96, (3, 3), padding='same', activation='relu')(x)
    for f in (64, 32, 16):
        x = Concatenate(axis=3)([Conv2DTranspose(f, (2, 2), strides=(2, 2), padding='same')(x), skips.pop()])
        x = Conv2D(f, (3, 3), padding='same')(x)
        x = Activation('relu')(x)
        x = Conv2D(f, (3, 3), padding='same')(x)
        x = BatchNormalization(axis=3)(x)
        x = Activation('relu')(x)
    return Model(inputs=[inputs], outputs=[Conv2D(1, (1, 1), activation='sigmoid')(x)])


train_generator_args = dict(rotation_range=20, width_shift_range=0.05, height_shift_range=0.05, shear_range=0.05,
                            zoom_range=0.05, horizontal_flip=True, fill_mode='nearest')
train_gen = train_generator('lgg/train', BATCH_SIZE, train_generator_args, target_size=(im_height, im_width))
val_gen = train_generator('lgg/val', BATCH_SIZE, dict(), target_size=(im_height, im_width))

model = unet(input_size=(im_height, im_width, 3))
opt = keras.optimizers.Adam(learning_rate=learning_rate)
model.compile(optimizer=opt, loss=dice_coef_loss, metrics=["binary_accuracy", dice_coef])
model.fit(train_gen, steps_per_epoch=n_train // BATCH_SIZE, epochs=EPOCHS,
          validation_data=val_gen, validation_steps=max(1, n_val // BATCH_SIZE))
