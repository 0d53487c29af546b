# Optic disc and cup in fundus photographs (needed for the cup to disc ratio), Keras 3 with JAX.
# Masks of the challenge: white = ground, grey = disc, black = cup.
import os
os.environ["KERAS_BACKEND"] = "jax"

import glob
import math

import keras
import numpy as np
from keras import layers as L
from keras import ops
from PIL import Image

keras.utils.set_random_seed(99)


class Config:
    root = "fundus"
    side = 48
    batch = 8
    epochs = 24
    rate = 4e-3
    hole = 6          # side of the square that is cut out of a photograph while training
    num_classes = 3   # ground, disc, cup


class FundusData(keras.utils.PyDataset):
    """Reads a split once and hands out batches of photographs and one-hot masks."""

    def __init__(self, split, augment=False, **kwargs):
        super().__init__(**kwargs)
        self.augment = augment
        self.rng = np.random.default_rng(0)
        self.photos, self.masks = [], []
        for file in sorted(glob.glob(f"{Config.root}/{split}/images/*.jpg")):
            photo = Image.open(file).convert("RGB").resize((Config.side,) * 2, Image.BICUBIC)
            file = file.replace("images", "gts").replace(".jpg", ".bmp")
            mask = Image.open(file).resize((Config.side,) * 2, Image.NEAREST)
            self.photos.append(np.asarray(photo, "float32"))
            self.masks.append(self.encode(np.asarray(mask)))
        self.order = np.arange(len(self.photos))

    @staticmethod
    def encode(mask):
        ids = 2 - mask // 127      # 255 -> 0, 128 -> 1, 0 -> 2
        return np.eye(Config.num_classes, dtype="float32")[ids]

    def __len__(self):
        return math.ceil(len(self.photos) / Config.batch)

    def __getitem__(self, index):
        chosen = self.order[index * Config.batch:(index + 1) * Config.batch]
        x = np.stack([self.photos[i] for i in chosen])
        x = x / 127.5 - 1
        y = np.stack([self.masks[i] for i in chosen])
        if self.augment:
            x, y = self.transform(x, y)
        return x, y

    def transform(self, x, y):
        for i in range(len(x)):
            if self.rng.random() < 0.5:
                x[i], y[i] = x[i, :, ::-1].copy(), y[i, :, ::-1].copy()
            if self.rng.random() < 0.5:
                x[i], y[i] = x[i, ::-1].copy(), y[i, ::-1].copy()
            top, left = self.rng.integers(0, Config.side - Config.hole, 2)
            x[i, top:top + Config.hole, left:left + Config.hole] = 0
        return x, y

    def on_epoch_end(self):
        if self.augment:
            self.rng.shuffle(self.order)


def conv(x, filters):
    x = L.Conv2D(filters, 3, padding="same", kernel_initializer="he_uniform")(x)
    x = L.LeakyReLU(negative_slope=0.1)(x)
    return x


def build():
    image = L.Input((Config.side, Config.side, 3))
    levels, x = [], image
    for filters in (8, 16, 24):
        x = conv(conv(x, filters), filters)
        levels.append(x)
        x = L.AveragePooling2D(2)(x)
    x = conv(x, 32)
    for filters, skip in zip((24, 16, 8), reversed(levels)):
        x = L.UpSampling2D(2)(x)
        x = conv(L.Concatenate()([x, skip]), filters)
    return keras.Model(image, L.Conv2D(Config.num_classes, 1, activation="softmax")(x))


def soft_dice(y_true, y_pred):
    # mean over classes, each over the whole batch
    both = ops.sum(y_true * y_pred, axis=(0, 1, 2))
    total = ops.sum(y_true, axis=(0, 1, 2)) + ops.sum(y_pred, axis=(0, 1, 2))
    return ops.mean((2 * both + 1) / (total + 1))


def loss(y_true, y_pred):
    entropy = -ops.sum(y_true * ops.log(ops.clip(y_pred, 1e-8, 1.0)), axis=-1)
    return ops.mean(entropy) + (1 - soft_dice(y_true, y_pred))


train, val = FundusData("train", augment=True), FundusData("val")
model = build()
model.compile(
    optimizer=keras.optimizers.Adam(Config.rate),
    loss=loss,
    metrics=[keras.metrics.OneHotMeanIoU(Config.num_classes, name="mean_iou")],
)
model.fit(
    train,
    validation_data=val,
    epochs=Config.epochs,
    verbose=2,
    callbacks=[keras.callbacks.ModelCheckpoint("fundus.weights.h5", monitor="val_loss", save_best_only=True,
                                               save_weights_only=True)],
)

# -- the test photographs, measured against the masks as they are in the files
model.load_weights("fundus.weights.h5")
test = FundusData("test")
answer = np.argmax(model.predict(test, verbose=0), -1)
files = sorted(glob.glob(f"{Config.root}/test/gts/*.bmp"))
truth = np.stack([np.asarray(Image.open(f).resize((Config.side,) * 2, Image.NEAREST)) for f in files])
for name, mine, right in (("disc", answer == 1, truth == 128), ("cup", answer == 2, truth == 0)):
    print(f"dice {name} {2 * (mine & right).sum() / (mine.sum() + right.sum()):.3f}", end="  ")
print()
