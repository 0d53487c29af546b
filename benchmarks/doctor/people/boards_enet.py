"""
Components on printed circuit boards, COCO polygons -> label maps -> ENet (small).

    python boards_enet.py --data boards --epochs 9

An auxiliary classifier on the encoder output adds its loss while training (labels are a second input of the training
graph only).
"""
import argparse
import json
import os

import cv2
import keras
import numpy as np
from keras import layers, ops

CATEGORY_TO_CLASS = {1: 1, 2: 2, 5: 3}
NAMES = ["board", "chip", "capacitor", "resistor"]


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("--data", default="boards")
    p.add_argument("--cache", default="label_maps")
    p.add_argument("--epochs", type=int, default=9)
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--weight-decay", type=float, default=1e-4)
    p.add_argument("--aux", type=float, default=0.3)
    p.add_argument("--seed", type=int, default=21)
    return p.parse_args()


# ------------------------------------------------------------------------------------------------ data
class Coco:
    def __init__(self, root, split, cache):
        self.root, self.split, self.cache = root, split, cache
        with open(os.path.join(root, "annotations", split + ".json")) as f:
            coco = json.load(f)
        self.images = coco["images"]
        self.annotations = {i["id"]: [] for i in self.images}
        for a in coco["annotations"]:
            self.annotations[a["image_id"]].append(a)
        os.makedirs(os.path.join(cache, split), exist_ok=True)

    def rasterize(self, image):
        label = np.zeros((image["height"], image["width"]), np.uint8)
        for a in self.annotations[image["id"]]:
            for polygon in a["segmentation"]:
                points = np.array(polygon).reshape(-1, 2)
                cv2.fillPoly(label, [np.round(points).astype(np.int32)], CATEGORY_TO_CLASS[a["category_id"]])
        return label

    def label_map(self, image):
        file = os.path.join(self.cache, self.split, image["file_name"].replace(".jpg", ".png"))
        if not os.path.exists(file):
            cv2.imwrite(file, self.rasterize(image))
        return cv2.imread(file, cv2.IMREAD_GRAYSCALE)

    def photo(self, image):
        bgr = cv2.imread(os.path.join(self.root, self.split, image["file_name"]))
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def arrays(self):
        x = np.stack([self.photo(i) for i in self.images])
        y = np.stack([self.label_map(i) for i in self.images])
        return preprocess(x), y.astype("int32")


MEAN, STD = np.array([0.30, 0.40, 0.33]), np.array([0.22, 0.20, 0.20])


def preprocess(x):
    return ((x / 255.0 - MEAN) / STD).astype("float32")


def mirrored(x, y):
    """A board may lie either way round: two copies of each."""
    xs = [x, x[:, ::-1]]
    ys = [y, y[:, ::-1]]
    return np.concatenate(xs), np.concatenate(ys)


# ------------------------------------------------------------------------------------------------ model
def act(x):
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x)


def bottleneck(x, n, dilation=1, down=False):
    y = act(layers.Conv2D(n // 2, 2 if down else 1, strides=2 if down else 1, padding="same", use_bias=False)(x))
    y = act(layers.Conv2D(n // 2, 3, dilation_rate=dilation, padding="same", use_bias=False)(y))
    y = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(n, 1, use_bias=False)(y))
    if down:
        x = layers.MaxPooling2D()(x)
    if x.shape[-1] != n:
        x = layers.Conv2D(n, 1, use_bias=False)(x)
    return layers.ReLU()(layers.Add()([x, y]))


class AuxiliaryLoss(layers.Layer):
    """Adds the cross-entropy of a coarse prediction against every fourth pixel; hands the fine prediction on."""

    def __init__(self, weight, stride, **kwargs):
        super().__init__(**kwargs)
        self.weight, self.stride = weight, stride

    def call(self, labels, coarse, logits):
        labels = labels[:, self.stride // 2::self.stride, self.stride // 2::self.stride]
        ce = keras.losses.sparse_categorical_crossentropy(labels, coarse, from_logits=True)
        self.add_loss(self.weight * ops.mean(ce))
        return logits


def enet(shape, n_classes, aux_weight):
    image = keras.Input(shape, name="image")
    labels = keras.Input(shape[:2], dtype="int32", name="labels")
    half = layers.Concatenate()([layers.Conv2D(21, 3, strides=2, padding="same")(image), layers.MaxPooling2D()(image)])
    half = act(half)
    x = bottleneck(half, 48, down=True)
    for dilation in (1, 2, 4):
        x = bottleneck(x, 48, dilation)
    aux = layers.Conv2D(n_classes, 1, name="aux_logits")(x)
    x = layers.Conv2DTranspose(24, 2, strides=2)(x)
    x = bottleneck(act(layers.Concatenate()([x, half])), 32)
    x = act(layers.Conv2DTranspose(16, 2, strides=2)(x))
    logits = layers.Conv2D(n_classes, 1, name="logits")(x)
    trained = AuxiliaryLoss(aux_weight, 4, name="auxiliary")(labels, aux, logits)
    return keras.Model([image, labels], trained), keras.Model(image, logits)


def ce_and_dice(y_true, logits):
    n = logits.shape[-1]
    ce = keras.losses.sparse_categorical_crossentropy(y_true, logits, from_logits=True)
    p = ops.softmax(logits, axis=-1)
    y = ops.one_hot(ops.cast(y_true, "int32"), n, dtype=p.dtype)
    both = ops.sum(y * p, axis=(0, 1, 2))
    sums = ops.sum(y + p, axis=(0, 1, 2))
    return ops.mean(ce) + 0.5 * (1 - ops.mean((2 * both + 1) / (sums + 1)))


def main():
    args = parse_args()
    keras.utils.set_random_seed(args.seed)
    x, y = Coco(args.data, "train", args.cache).arrays()
    xv, yv = Coco(args.data, "val", args.cache).arrays()
    x, y = mirrored(x, y)
    print("train", x.shape, "val", xv.shape, "share of classes", np.bincount(y.ravel(), minlength=4) / y.size)

    net, predictor = enet(x.shape[1:], len(NAMES), args.aux)
    steps = len(x) // args.batch_size * args.epochs
    net.compile(
        optimizer=keras.optimizers.AdamW(keras.optimizers.schedules.PolynomialDecay(args.lr, steps, 1e-5, power=0.9),
                                         weight_decay=args.weight_decay),
        loss=ce_and_dice,
        metrics=[keras.metrics.MeanIoU(len(NAMES), sparse_y_pred=False, name="miou")],
        jit_compile=False,
    )
    net.fit([x, y], y, batch_size=args.batch_size, epochs=args.epochs, validation_data=([xv, yv], yv), verbose=2)

    p = predictor.predict(xv, verbose=0).argmax(-1)
    iou = [((p == c) & (yv == c)).sum() / max(1, ((p == c) | (yv == c)).sum()) for c in range(len(NAMES))]
    print("  ".join(f"{n} {v:.3f}" for n, v in zip(NAMES, iou)))
    print(f"components, mean IoU {np.mean(iou[1:]):.4f}")
    predictor.save("enet_boards.keras")


if __name__ == "__main__":
    main()
