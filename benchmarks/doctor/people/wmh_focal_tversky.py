"""White matter hyperintensities, 2D slices of FLAIR and T1.

Attention-gated U-Net with deep supervision and a focal Tversky loss at every scale but the last, which has the Tversky
loss plus a distance-weighted cross-entropy. Five-minute version on small slices for the reading group.
"""
from pathlib import Path

import keras
import nibabel as nib
import numpy as np
from keras import layers, ops
from scipy.ndimage import distance_transform_edt

DATA = Path("wmh")
SHAPE = (56, 64)
SLICES = slice(2, 11)
TEST_SUBJECTS = 3
ALPHA, BETA, GAMMA = 0.7, 0.3, 4 / 3
EPS = 1.0
BATCH = 12
EPOCHS = 14
LR = 4e-3

rng = np.random.default_rng(12)
keras.utils.set_random_seed(12)


def zscore(volume):
    brain = volume > np.percentile(volume, 50)
    return (volume - volume[brain].mean()) / (volume[brain].std() + 1e-6)


def read_volume(file):
    return np.moveaxis(np.asanyarray(nib.load(file).dataobj), -1, 0)


def read_subject(folder):
    flair = zscore(read_volume(folder / "pre" / "FLAIR.nii.gz"))
    t1 = zscore(read_volume(folder / "pre" / "T1.nii.gz"))
    seg = read_volume(folder / "wmh.nii.gz")
    lesion = (seg == 1).astype("float32")
    keep = (seg != 2).astype("float32")
    x = np.stack([flair, t1], -1)[SLICES]
    return x.astype("float32"), lesion[SLICES, ..., None], keep[SLICES]


def border_weight(lesion):
    """1 far away, up to 3 close to the outline of a lesion."""
    weights = np.ones(lesion.shape[:3], "float32")
    for k, one in enumerate(lesion[..., 0]):
        if one.any():
            away = distance_transform_edt(one == 0) + distance_transform_edt(one)
            weights[k] += 2 * np.exp(-((away / 2.0) ** 2))
    return weights


subjects = sorted((p for p in DATA.iterdir() if p.is_dir()), key=lambda p: int(p.name))
test_subjects, subjects = subjects[-TEST_SUBJECTS:], subjects[:-TEST_SUBJECTS]
val_subjects, train_subjects = subjects[:2], subjects[2:]


def gather(folders):
    parts = [read_subject(folder) for folder in folders]
    x, y, keep = (np.concatenate(part) for part in zip(*parts))
    return x, y, border_weight(y) * keep


x_train, y_train, w_train = gather(train_subjects)
x_val, y_val, w_val = gather(val_subjects)
print("train", x_train.shape, "lesion voxels %.2f %%" % (100 * y_train.mean()), "val", x_val.shape)


def tversky_index(y_true, y_pred):
    y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    tp = ops.sum(y_true * y_pred)
    fn = ops.sum(y_true * (1 - y_pred))
    fp = ops.sum((1 - y_true) * y_pred)
    return (tp + EPS) / (tp + ALPHA * fn + BETA * fp + EPS)


class FocalTversky(keras.losses.Loss):
    def __init__(self, gamma=GAMMA, **kwargs):
        super().__init__(**kwargs)
        self.gamma = gamma

    def call(self, y_true, y_pred):
        return ops.power(1 - tversky_index(y_true, y_pred), 1 / self.gamma)


class TverskyPlusCE(keras.losses.Loss):
    """The target carries the voxel weight as its second channel."""

    def call(self, y_true, y_pred):
        lesion, weight = y_true[..., :1], y_true[..., 1:]
        p = ops.clip(y_pred, 1e-6, 1 - 1e-6)
        ce = -(lesion * ops.log(p) + (1 - lesion) * ops.log(1 - p))
        ce = ops.sum(weight * ce) / ops.sum(weight)
        known = ops.cast(weight > 0, "float32")
        return ce + 1 - tversky_index(lesion * known, y_pred * known)


def hard_dice(y_true, y_pred):
    lesion = y_true[..., :1]
    found = ops.cast(y_pred > 0.5, "float32") * ops.cast(y_true[..., 1:] > 0, "float32")
    return (2 * ops.sum(lesion * found) + 1e-3) / (ops.sum(lesion) + ops.sum(found) + 1e-3)


def unit(x, n):
    for _ in range(2):
        x = layers.Conv2D(n, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.LeakyReLU(negative_slope=0.1)(x)
    return x


def attention_gate(skip, gate, n):
    a = layers.Conv2D(n, 1)(skip)
    b = layers.Conv2D(n, 1)(gate)
    a = layers.Activation("relu")(layers.Add()([a, b]))
    a = layers.Conv2D(1, 1, activation="sigmoid", bias_initializer="ones")(a)
    return layers.Multiply()([skip, a])


def attention_unet(widths=(10, 20, 30)):
    inputs = keras.Input((*SHAPE, 2))
    x, skips = inputs, []
    for n in widths[:-1]:
        x = unit(x, n)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = unit(x, widths[-1])
    heads = [layers.Conv2D(1, 1, activation="sigmoid", name="quarter")(x)]
    for n, skip, name in zip(widths[-2::-1], skips[::-1], ("half", "full")):
        x = layers.UpSampling2D(interpolation="bilinear")(x)
        x = unit(layers.Concatenate()([x, attention_gate(skip, x, n // 2)]), n)
        heads.append(layers.Conv2D(1, 1, activation="sigmoid", name=name)(x))
    return keras.Model(inputs, dict(zip(("quarter", "half", "full"), heads)))


def shrink(y, by):
    n, h, w, c = y.shape
    return y.reshape(n, h // by, by, w // by, by, c).max((2, 4))


def targets(y, w):
    return {"quarter": shrink(y, 4), "half": shrink(y, 2), "full": np.concatenate([y, w[..., None]], -1)}


def flipped(x, y, w):
    """Every slice once more, left and right exchanged."""
    return np.concatenate([x, x[:, ::-1]]), np.concatenate([y, y[:, ::-1]]), np.concatenate([w, w[:, ::-1]])


x_train, y_train, w_train = flipped(x_train, y_train, w_train)
shuffled = rng.permutation(len(x_train))
x_train, y_train, w_train = x_train[shuffled], y_train[shuffled], w_train[shuffled]

model = attention_unet()
model.compile(
    optimizer=keras.optimizers.SGD(LR * 10, momentum=0.9, nesterov=True),
    loss={"quarter": FocalTversky(), "half": FocalTversky(), "full": TverskyPlusCE()},
    loss_weights={"quarter": 0.25, "half": 0.5, "full": 1.0},
    metrics={"full": [hard_dice]},
)
history = model.fit(x_train, targets(y_train, w_train), validation_data=(x_val, targets(y_val, w_val)),
                    batch_size=BATCH, epochs=EPOCHS, verbose=2)

results = {}
for folder in test_subjects:
    x, y, keep = read_subject(folder)
    p = model.predict(x, batch_size=BATCH, verbose=0)["full"][..., 0]
    results[folder.name] = (p > 0.5) & (keep > 0)
    print(folder.name, "dice %.3f" % (2 * (results[folder.name] & (y[..., 0] > 0)).sum()
                                      / max(1, results[folder.name].sum() + y.sum())))
