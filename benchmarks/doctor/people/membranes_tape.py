"""Neuron membranes (ISBI 2012), patches from 20 slices, own loop with GradientTape."""
import glob
import os

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image

ROOT = "em_membrane"
PATCH = 64
BATCH = 8
STEPS, EVERY = 240, 60
RATE = 2e-3
WIDTH = 16
np.random.seed(1)
tf.random.set_seed(1)

# ---------------------------------------------------------------- data
image_files = sorted(glob.glob(os.path.join(ROOT, "image", "*.png")), key=lambda f: int(os.path.basename(f)[:-4]))
label_files = [f.replace("image", "label") for f in image_files]


def open_slice(k):
    # half resolution; in the labels 0 is membrane, and membrane is what we look for
    img = np.asarray(Image.open(image_files[k]).convert("L").resize((256, 256), Image.BILINEAR), np.float32)
    lab = np.asarray(Image.open(label_files[k]).convert("L").resize((256, 256), Image.NEAREST))
    return img, (lab < 128).astype(np.float32)


def standardise(img):
    return (img - 127.0) / 50.0


slices = [open_slice(k) for k in range(len(image_files))]
train_slices = slices[:15]
test_slices = slices[15:]


def border_weight(lab):
    """Three times the weight on membranes and beside them."""
    near = tf.nn.max_pool2d(lab[None, :, :, None], 3, 1, "SAME")[0, :, :, 0].numpy()
    return 1.0 + 2.0 * near


def draw_patch(pool):
    img, lab = pool[np.random.randint(len(pool))]
    r, c = np.random.randint(0, 256 - PATCH, 2)
    x, y = img[r:r + PATCH, c:c + PATCH], lab[r:r + PATCH, c:c + PATCH]
    if np.random.rand() < 0.5:
        x, y = x[:, ::-1], y[:, ::-1]
    k = np.random.randint(4)
    x, y = np.rot90(x, k), np.rot90(y, k)
    return standardise(x), y, border_weight(y)


def patches(pool):
    while True:
        x, y, w = zip(*[draw_patch(pool) for _ in range(BATCH)])
        yield [np.stack(a)[..., None].astype(np.float32) for a in (x, y, w)]


def tiles(pool):
    for img, lab in pool:
        for r in range(0, 256, PATCH):
            for c in range(0, 256, PATCH):
                yield standardise(img[r:r + PATCH, c:c + PATCH])[..., None], lab[r:r + PATCH, c:c + PATCH][..., None]


x_test, y_test = (np.stack(a) for a in zip(*tiles(test_slices)))


# ---------------------------------------------------------------- net
def convs(x, f, n=2):
    for _ in range(n):
        x = layers.Conv2D(f, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.95)(x)
        x = layers.Activation("swish")(x)
    return x


def make_net():
    inp = layers.Input((PATCH, PATCH, 1))
    a = convs(inp, WIDTH)
    b = convs(layers.AveragePooling2D(2)(a), WIDTH * 2)
    x = convs(layers.AveragePooling2D(2)(b), WIDTH * 2, 1)
    x = convs(layers.Concatenate()([layers.UpSampling2D()(x), b]), WIDTH * 2, 1)
    x = convs(layers.Concatenate()([layers.UpSampling2D()(x), a]), WIDTH, 1)
    return keras.Model(inp, layers.Conv2D(1, 1, name="membrane")(x))


net = make_net()
optimizer = keras.optimizers.Adam(RATE)


def weighted_loss(y, logits, w):
    ce = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits)
    p = tf.sigmoid(logits)
    dice = (2 * tf.reduce_sum(p * y) + 1) / (tf.reduce_sum(p * p) + tf.reduce_sum(y * y) + 1)
    return tf.reduce_sum(ce * w) / tf.reduce_sum(w) + 1 - dice


@tf.function
def train_step(x, y, w):
    with tf.GradientTape() as tape:
        logits = net(x, training=True)
        loss = weighted_loss(y, logits, w)
    grads = tape.gradient(loss, net.trainable_variables)
    optimizer.apply_gradients(zip(grads, net.trainable_variables))
    return loss


def test_dice():
    p = tf.sigmoid(net(x_test, training=False)).numpy() > 0.5
    return 2 * (p & (y_test > 0.5)).sum() / (p.sum() + (y_test > 0.5).sum())


def main():
    running = []
    for step, (x, y, w) in enumerate(patches(train_slices), 1):
        running.append(float(train_step(x, y, w)))
        if step % EVERY == 0:
            print(f"step {step}  loss {np.mean(running[-EVERY:]):.4f}  test dice {test_dice():.4f}")
        if step == STEPS:
            break
    net.save("membranes.keras")


if __name__ == "__main__":
    main()
