# malaria parasites in blood films. HRNet in small, trained with train_on_batch on random windows
import json
import random

import cv2
import numpy as np
import tensorflow as tf
import keras
from keras import layers as kl

WINDOW = 32
BATCH = 6
STEPS = 240
CHECK_EVERY = 60
POS_WEIGHT = 4.0      # parasites are ~1 % of the pixels
LR = 3e-3

keras.utils.set_random_seed(42)

entries = json.load(open('malaria/index.json'))


def load(entry):
    photo = cv2.cvtColor(cv2.imread('malaria/photos/' + entry['photo']), cv2.COLOR_BGR2RGB)
    mask = cv2.imread('malaria/parasites/' + entry['parasites'], cv2.IMREAD_UNCHANGED)
    return photo.astype('float32') / 255., mask.astype('float32')[..., None]      # the files hold 0 and 1


# all photos of a slide stay together
slides = sorted({e['slide'] for e in entries})
test_slides = slides[-5:]
train_entries = [e for e in entries if e['slide'] not in test_slides]
test_entries = [e for e in entries if e['slide'] in test_slides]
train = [load(e) for e in train_entries]
test = [load(e) for e in test_entries]
test_x = np.stack([p for p, _ in test])
test_y = np.stack([m for _, m in test])
print(len(train), 'photos for training,', len(test), 'for testing')


def window(photo, mask, around_parasite):
    h, w = mask.shape[:2]
    if around_parasite and mask.any():
        y, x = random.choice(np.argwhere(mask[..., 0] > 0))
        top = int(np.clip(y - random.randrange(WINDOW), 0, h - WINDOW))
        left = int(np.clip(x - random.randrange(WINDOW), 0, w - WINDOW))
    else:
        top, left = random.randrange(h - WINDOW), random.randrange(w - WINDOW)
    return photo[top:top + WINDOW, left:left + WINDOW], mask[top:top + WINDOW, left:left + WINDOW]


def batches(data):
    while True:
        xs, ys = [], []
        for k in range(BATCH):
            x, y = window(*random.choice(data), around_parasite=k % 2 == 0)
            turns = random.randrange(4)
            xs.append(np.rot90(x, turns))
            ys.append(np.rot90(y, turns))
        yield np.stack(xs), np.stack(ys)


def unit(x, n, stride=1):
    x = kl.Conv2D(n, 3, strides=stride, padding='same')(x)
    x = kl.GroupNormalization(groups=4)(x)
    return kl.Activation('relu')(x)


def hrnet(high=12, low=20):
    inp = kl.Input((None, None, 3))
    a = unit(inp, high)
    b = unit(a, low, stride=2)
    for _ in range(2):
        # both resolutions go on side by side and tell each other what they see
        a1, b1 = unit(a, high), unit(b, low)
        down = kl.Conv2D(low, 3, strides=2, padding='same')(a1)
        up = kl.UpSampling2D(interpolation='bilinear')(kl.Conv2D(high, 1)(b1))
        a, b = kl.Add()([a1, up]), kl.Add()([b1, down])
    both = kl.Concatenate()([a, kl.UpSampling2D(interpolation='bilinear')(b)])
    return keras.Model(inp, kl.Conv2D(1, 1, name='logit')(kl.Activation('relu')(both)))


def weighted_bce(y_true, logits):
    loss = tf.nn.weighted_cross_entropy_with_logits(y_true, logits, pos_weight=POS_WEIGHT)
    return tf.reduce_mean(loss)


def f1(model):
    """Dice over all pixels of the test photos, whole photos and no windows."""
    found = model.predict(test_x, verbose=0, batch_size=8) > 0
    real = test_y > 0
    return 2 * (found & real).sum() / (found.sum() + real.sum() + 1e-9)


net = hrnet()
net.compile(optimizer=keras.optimizers.Adam(LR), loss=weighted_bce,
            metrics=[keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.0, name='iou')])

source = batches(train)
for step in range(1, STEPS + 1):
    x, y = next(source)
    logs = net.train_on_batch(x, y, return_dict=True)
    if step % CHECK_EVERY == 0:
        print(step, {k: round(float(v), 4) for k, v in logs.items()}, 'test f1 %.3f' % f1(net), flush=True)

net.save('parasites.keras')
print('final f1 on whole photos: %.4f' % f1(net))
