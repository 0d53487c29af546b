"""Train a small ResUNet that finds teeth and fillings on panoramic dental x-rays.

usage: python dental_resunet.py --data dental --epochs 8
"""
import argparse
import csv
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image

CLASSES = ("background", "tooth", "filling")
SIZE = (72, 48)  # width, height


def parse_args():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", default="dental", type=Path)
    p.add_argument("--epochs", default=8, type=int)
    p.add_argument("--batch-size", default=6, type=int)
    p.add_argument("--lr", default=5e-3, type=float)
    p.add_argument("--width", default=6, type=int, help="filters of the first stage")
    p.add_argument("--seed", default=1, type=int)
    return p.parse_args()


def load_split(root, split):
    """All films of one split as arrays: (n, h, w, 1) float32 in 0..1 and (n, h, w) int labels."""
    with open(root / "list.csv") as f:
        names = [row["file"] for row in csv.DictReader(f) if row["split"] == split]
    films, labels = [], []
    for name in names:
        film = np.asarray(Image.open(root / "films" / name).convert("L").resize(SIZE, Image.BILINEAR), dtype="float32")
        label = np.asarray(Image.open(root / "labels" / name).resize(SIZE, Image.NEAREST))
        films.append(film[..., None] / 255.0)
        labels.append(label.astype("int32"))
    return np.stack(films), np.stack(labels), names


def mirror(x, y):
    """Left and right of a jaw look the same, so a mirrored film is a new film for free."""
    return np.concatenate([x, x[:, :, ::-1]]), np.concatenate([y, y[:, :, ::-1]])


def res_block(x, filters):
    shortcut = layers.Conv2D(filters, 1)(x)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Activation("relu")(x)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation("relu")(layers.Add()([x, shortcut]))


def build_resunet(shape, width, num_classes):
    inputs = layers.Input(shape)
    e1 = res_block(inputs, width)
    e2 = res_block(layers.MaxPooling2D()(e1), width * 2)
    x = res_block(layers.MaxPooling2D()(e2), width * 4)
    for skip, filters in ((e2, width * 2), (e1, width)):
        x = layers.UpSampling2D(2)(x)
        x = layers.Concatenate()([x, skip])
        x = res_block(x, filters)
    outputs = layers.Conv2D(num_classes, 1)(x)
    return keras.Model(inputs, outputs, name="resunet")


def compile_model(model, lr):
    model.compile(
        optimizer=keras.optimizers.Adam(lr),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.MeanIoU(len(CLASSES), sparse_y_pred=False, name="miou")],
    )


def report(model, root, names, films):
    """Dice of every class over the films of the test patients, against the files."""
    truth = np.stack([np.asarray(Image.open(root / "labels" / n).resize(SIZE, Image.NEAREST)) for n in names])
    found = np.argmax(model.predict(films, verbose=0), axis=-1)
    scores = []
    for k, name in enumerate(CLASSES):
        both = np.sum((truth == k) & (found == k))
        scores.append(f"{name} {2 * both / (np.sum(truth == k) + np.sum(found == k)):.3f}")
    print("test dice:", ", ".join(scores))


def main():
    args = parse_args()
    keras.utils.set_random_seed(args.seed)
    x_train, y_train, _ = load_split(args.data, "train")
    x_test, y_test, test_names = load_split(args.data, "test")
    x_train, y_train = mirror(x_train, y_train)
    print("train", x_train.shape, "test", x_test.shape)

    model = build_resunet(x_train.shape[1:], args.width, len(CLASSES))
    compile_model(model, args.lr)
    model.fit(
        x_train,
        y_train,
        batch_size=args.batch_size,
        epochs=args.epochs,
        validation_data=(x_test, y_test),
        callbacks=[keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=3)],
        verbose=2,
    )
    report(model, args.data, test_names, x_test)


if __name__ == "__main__":
    main()
