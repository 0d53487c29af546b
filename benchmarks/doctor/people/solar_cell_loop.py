"""Defects in electroluminescence images of solar cells: spots (1), bright fingers (2), cut-off areas (3).

Own loop with train_on_batch, SGD with the "poly" rate.
"""
import json
import time
from collections import defaultdict

import keras
import numpy as np
from PIL import Image

ROOT = "solar_cells/"
N_CLASSES = 4
BATCH = 8
EPOCHS = 25
BASE_LR = 0.05
POWER = 0.9


def decode(segmentation):
    """COCO run lengths: background first, down the columns."""
    h, w = segmentation["size"]
    flat = np.zeros(h * w, bool)
    position, value = 0, False
    for run in segmentation["counts"]:
        flat[position:position + run] = value
        position, value = position + run, not value
    return flat.reshape((w, h)).T


def load():
    coco = json.load(open(ROOT + "instances.json"))
    by_image = defaultdict(list)
    for a in coco["annotations"]:
        by_image[a["image_id"]].append(a)
    xs, ys = [], []
    for entry in coco["images"]:
        xs.append(np.array(Image.open(ROOT + "images/" + entry["file_name"])))
        mask = np.zeros((entry["height"], entry["width"]), "int32")
        for a in by_image[entry["id"]]:
            mask[decode(a["segmentation"])] = a["category_id"]
        ys.append(mask)
    return np.array(xs)[..., None] / np.float32(255), np.array(ys)


def encoder_stage(filters, name):
    stage = keras.Sequential(name=name)
    for _ in range(2):
        stage.add(keras.layers.Conv2D(filters, 3, padding="same", use_bias=False))
        stage.add(keras.layers.BatchNormalization(momentum=0.9))
        stage.add(keras.layers.ReLU())
    return stage


def make_model(shape):
    image = keras.layers.Input(shape)
    a = encoder_stage(16, "enc1")(image)
    b = encoder_stage(32, "enc2")(keras.layers.MaxPool2D()(a))
    c = encoder_stage(64, "enc3")(keras.layers.MaxPool2D()(b))
    # FPN: 1x1 laterals that are summed on the way up
    p = keras.layers.Conv2D(32, 1, name="lateral3")(c)
    p = keras.layers.UpSampling2D()(p) + keras.layers.Conv2D(32, 1, name="lateral2")(b)
    p = keras.layers.UpSampling2D()(p) + keras.layers.Conv2D(32, 1, name="lateral1")(a)
    p = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="smooth")(p)
    logits = keras.layers.Conv2D(N_CLASSES, 3, padding="same", name="logits")(p)
    return keras.Model(image, keras.layers.Softmax(name="probabilities")(logits))


def dice_per_class(truth, guess):
    return [2 * ((truth == c) & (guess == c)).sum() / max(1, (truth == c).sum() + (guess == c).sum())
            for c in range(1, N_CLASSES)]


rng = np.random.default_rng(0)
keras.utils.set_random_seed(0)
X, Y = load()
order = rng.permutation(len(X))
train_ids, test_ids = order[:72], order[72:]
x_train, y_train = X[train_ids], Y[train_ids]
x_test, y_test = X[test_ids], Y[test_ids]

model = make_model(X.shape[1:])
optimizer = keras.optimizers.SGD(BASE_LR, momentum=0.9, nesterov=True)
model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy())

steps = len(x_train) // BATCH
total = EPOCHS * steps
iteration = 0
for epoch in range(EPOCHS):
    begin, losses = time.time(), []
    shuffled = rng.permutation(len(x_train))
    for k in range(steps):
        optimizer.learning_rate = BASE_LR * (1 - iteration / total) ** POWER
        take = shuffled[k * BATCH:(k + 1) * BATCH]
        x, y = x_train[take], y_train[take]
        if rng.random() < 0.5:
            x, y = x[:, ::-1], y[:, ::-1]
        losses.append(float(model.train_on_batch(x, y)))
        iteration += 1
    guess = model.predict_on_batch(x_test).argmax(-1)
    dices = " ".join(f"{d:.3f}" for d in dice_per_class(y_test, guess))
    print(f"epoch {epoch + 1:3d}  loss {np.mean(losses):.4f}  dice {dices}  ({time.time() - begin:.1f} s)")
