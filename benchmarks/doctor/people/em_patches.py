# Membrane detection in serial-section EM, random patches from two tif stacks.
import argparse
import math

import keras
import numpy as np
from keras import layers, ops
from PIL import Image, ImageSequence

parser = argparse.ArgumentParser()
parser.add_argument("--patch", type=int, default=64)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--steps", type=int, default=16, help="batches per epoch")
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--workers", type=int, default=2)
args = parser.parse_args()


def read_stack(path):
    return np.stack([np.array(page) for page in ImageSequence.Iterator(Image.open(path))])


class Patches(keras.utils.PyDataset):
    """Random patches, different in every epoch. With `fixed` the patches come back the same."""

    def __init__(self, volume, labels, steps, jitter=False, fixed=False, **kwargs):
        super().__init__(**kwargs)
        self.volume = volume
        self.labels = labels
        self.steps = steps
        self.jitter = jitter
        self.fixed = fixed
        self.epoch = 0

    def __len__(self):
        return self.steps

    def on_epoch_end(self):
        self.epoch += not self.fixed

    def one(self, rng):
        z = rng.integers(len(self.volume))
        y, x = rng.integers(0, self.volume.shape[1] - args.patch, 2)
        window = np.s_[z, y:y + args.patch, x:x + args.patch]
        image = self.volume[window] / 255.0
        target = self.labels[window] == 0        # 0 is membrane
        if self.jitter:
            k = int(rng.integers(4))
            image, target = np.rot90(image, k), np.rot90(target, k)
            if rng.random() < 0.5:
                image, target = image[:, ::-1], target[:, ::-1]
            image = (image - 0.5) * rng.uniform(0.9, 1.1) + 0.5
        return image.astype("float32"), target.astype("float32")

    def __getitem__(self, index):
        rng = np.random.default_rng((self.epoch, index))
        pairs = [self.one(rng) for _ in range(args.batch)]
        images, targets = zip(*pairs)
        return np.stack(images)[..., None], np.stack(targets)[..., None]


def residual(x, filters):
    skip = layers.Conv2D(filters, 1, padding="same")(x)
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("elu")(x)
    return layers.Add()([x, skip])


def network():
    inputs = keras.Input((args.patch, args.patch, 1))
    down1 = residual(inputs, 12)
    down2 = residual(layers.MaxPooling2D()(down1), 24)
    bottom = residual(layers.MaxPooling2D()(down2), 48)
    up2 = layers.Conv2DTranspose(24, 2, strides=2)(bottom)
    up2 = residual(layers.Concatenate()([up2, down2]), 24)
    up1 = layers.Conv2DTranspose(12, 2, strides=2)(up2)
    up1 = residual(layers.Concatenate()([up1, down1]), 12)
    outputs = layers.Conv2D(1, 1, activation="sigmoid")(up1)
    return keras.Model(inputs, outputs, name="resunet")


def foreground_restored(y_true, y_pred):
    """F1 of the membrane at 0.5."""
    guess = ops.cast(y_pred > 0.5, "float32")
    hits = ops.sum(guess * y_true)
    return 2 * hits / (ops.sum(guess) + ops.sum(y_true) + 1e-6)


volume = read_stack("isbi_em/train-volume.tif")
labels = read_stack("isbi_em/train-labels.tif")
assert volume.shape == labels.shape, (volume.shape, labels.shape)
hold = math.ceil(0.2 * len(volume))
train = Patches(volume[:-hold], labels[:-hold], args.steps, jitter=True, workers=args.workers, max_queue_size=8)
valid = Patches(volume[-hold:], labels[-hold:], 4, fixed=True)

model = network()
model.compile(keras.optimizers.Adam(args.lr), "binary_crossentropy", metrics=[foreground_restored])
model.fit(
    train,
    validation_data=valid,
    epochs=args.epochs,
    verbose=2,
    callbacks=[keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=3)],
)
