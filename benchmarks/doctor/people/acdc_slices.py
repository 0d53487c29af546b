"""2D residual U-Net on ACDC short-axis slices, split by patient."""
import pathlib

import keras
import nibabel as nib
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(99)
root = pathlib.Path("acdc/training")
NAMES = {1: "RV", 2: "MYO", 3: "LV"}
N_CLASSES = 4
EPOCHS = 12


def load_volume(path):
    return np.moveaxis(nib.load(path).get_fdata().astype(np.float32), -1, 0)  # slices first


def normalise(volume):
    low, high = np.percentile(volume, (1, 99))
    volume = np.clip(volume, low, high)
    return (volume - volume.mean()) / (volume.std() + 1e-8)


def load_patients(patients):
    slices, segs = [], []
    for patient in patients:
        for gt in sorted(patient.glob("*_gt.nii.gz")):
            volume = normalise(load_volume(str(gt).replace("_gt", "")))
            seg = load_volume(gt)
            slices.extend(volume)
            segs.extend(seg)
    x = np.asarray(slices, "float32")[..., np.newaxis]
    y = np.asarray(segs).astype("uint8")
    return x, y


patients = sorted(p for p in root.iterdir() if p.is_dir())
train_patients, val_patients = patients[:-3], patients[-3:]
x_train, seg_train = load_patients(train_patients)
x_val, seg_val = load_patients(val_patients)

# weights from the share of each class, mean 1
share = np.bincount(seg_train.ravel(), minlength=N_CLASSES) / seg_train.size
weights = 1.0 / np.sqrt(share)
weights = (weights / weights.mean()).astype("float32")
print("share", share.round(4), "weights", weights.round(2))

y_train = keras.utils.to_categorical(seg_train, N_CLASSES)
y_val = keras.utils.to_categorical(seg_val, N_CLASSES)


def residual(x, filters):
    short = layers.Conv2D(filters, 1, padding="same")(x)
    y = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
    y = layers.GroupNormalization(4)(y)
    y = layers.LeakyReLU(0.1)(y)
    y = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(y)
    y = layers.GroupNormalization(4)(y)
    return layers.LeakyReLU(0.1)(layers.add([short, y]))


def build():
    inp = layers.Input((64, 64, 1))
    a = residual(inp, 8)
    b = residual(layers.MaxPooling2D()(a), 16)
    c = residual(layers.MaxPooling2D()(b), 32)
    d = residual(layers.MaxPooling2D()(c), 48)
    for skip, filters in ((c, 32), (b, 16), (a, 8)):
        d = layers.Conv2DTranspose(filters, 2, strides=2)(d)
        d = residual(layers.concatenate([skip, d]), filters)
    return keras.Model(inp, layers.Conv2D(N_CLASSES, 1, activation="softmax")(d))


def weighted_ce(y_true, y_pred):
    y_pred = ops.clip(y_pred, 1e-7, 1.0)
    return -ops.mean(ops.sum(weights * y_true * ops.log(y_pred), axis=-1))


def soft_dice(y_true, y_pred, smooth=1.0):
    inter = ops.sum(y_true * y_pred, axis=(0, 1, 2))
    total = ops.sum(y_true, axis=(0, 1, 2)) + ops.sum(y_pred, axis=(0, 1, 2))
    return 1.0 - ops.mean((2.0 * inter[1:] + smooth) / (total[1:] + smooth))


def loss(y_true, y_pred):
    return weighted_ce(y_true, y_pred) + soft_dice(y_true, y_pred)


def dice_of(label):
    def score(y_true, y_pred):
        t = y_true[..., label]
        p = ops.cast(ops.argmax(y_pred, axis=-1) == label, "float32")
        return (2.0 * ops.sum(t * p) + 1.0) / (ops.sum(t) + ops.sum(p) + 1.0)

    score.__name__ = "dice_" + NAMES[label]
    return score


model = build()
steps = EPOCHS * int(np.ceil(len(x_train) / 8))
rate = keras.optimizers.schedules.CosineDecay(1e-5, steps, warmup_target=2e-3, warmup_steps=steps // 10)
model.compile(keras.optimizers.Adam(rate), loss=loss, metrics=[dice_of(k) for k in NAMES])
model.fit(x_train, y_train, batch_size=8, epochs=EPOCHS, shuffle=True, validation_data=(x_val, y_val), verbose=2)
