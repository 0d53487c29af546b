# Street scenes, long list of label ids -> six train ids, dilated FCN, SGD with polynomial decay
import glob
import os
import re
from collections import namedtuple

import numpy as np
from keras import Sequential, callbacks, initializers, layers, losses, metrics, models, ops, optimizers, utils
from PIL import Image

utils.set_random_seed(3)
Label = namedtuple('Label', 'name id trainId')
IGNORE = 255
LABELS = [
    Label('unlabeled', 0, IGNORE),
    Label('road', 7, 0),
    Label('building', 11, 2),
    Label('vegetation', 21, 3),
    Label('sky', 23, 4),
    Label('person', 24, 5),
    Label('car', 26, 1),
]
NUM_CLASSES = len({l.trainId for l in LABELS if l.trainId != IGNORE})
ID_TO_TRAIN = np.full(256, IGNORE, 'int32')
for l in LABELS:
    ID_TO_TRAIN[l.id] = l.trainId

CROP = 64
BATCH = 8
EPOCHS = 30
BASE_LR = 0.02
MEAN = np.array([0.31, 0.31, 0.31], 'float32')
STD = np.array([0.15, 0.15, 0.15], 'float32')


def find(split):
    images = sorted(glob.glob(f'cityscapes/leftImg8bit/{split}/*/*_leftImg8bit.png'))
    labels = [re.sub('leftImg8bit', 'gtFine', i, count=1) for i in images]
    labels = [i.replace('_leftImg8bit.png', '_gtFine_labelIds.png') for i in labels]
    assert images and all(map(os.path.exists, labels))
    return list(zip(images, labels))


def read(image_file, label_file):
    image = np.array(Image.open(image_file).convert('RGB'), 'float32') / 255
    return (image - MEAN) / STD, ID_TO_TRAIN[np.array(Image.open(label_file))]


class CityBatches(utils.PyDataset):
    def __init__(self, pairs, training):
        super().__init__(workers=1)
        self.data = [read(*p) for p in pairs]
        self.training = training
        self.rng = np.random.default_rng(0)
        self.index = np.arange(len(pairs))

    def __len__(self):
        return len(self.index) // BATCH

    def one(self, i):
        image, label = self.data[i]
        if not self.training:
            return image, label
        # scale 0.75 - 1.5, then a crop, padded with "ignore" where the picture ends
        side = int(image.shape[0] * self.rng.uniform(0.75, 1.5))
        rows = (np.arange(side) * image.shape[0] / side).astype(int)
        image, label = image[rows][:, rows], label[rows][:, rows]
        pad = max(0, CROP - side)
        image = np.pad(image, ((0, pad), (0, pad), (0, 0)))
        label = np.pad(label, ((0, pad), (0, pad)), constant_values=IGNORE)
        top, left = self.rng.integers(0, image.shape[0] - CROP + 1, 2)
        image, label = image[top:top + CROP, left:left + CROP], label[top:top + CROP, left:left + CROP]
        if self.rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        return image, label

    def __getitem__(self, k):
        images, labels = zip(*(self.one(i) for i in self.index[k * BATCH:(k + 1) * BATCH]))
        return np.stack(images), np.stack(labels)

    def on_epoch_end(self):
        if self.training:
            self.rng.shuffle(self.index)


def cbr(filters, stride=1, rate=1):
    return Sequential([
        layers.Conv2D(filters, 3, strides=stride, dilation_rate=rate, padding='same', use_bias=False,
                      kernel_initializer=initializers.HeNormal()),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
    ])


def fcn(num_classes):
    image = layers.Input((None, None, 3))
    low = cbr(24)(image)
    x = cbr(32, stride=2)(low)
    mid = cbr(32)(x)
    x = cbr(48, stride=2)(mid)
    for rate in (1, 2, 4):
        x = layers.Add()([x, cbr(48, rate=rate)(x)])
    score4 = layers.Conv2D(num_classes, 1)(x)
    score2 = layers.Conv2D(num_classes, 1)(mid)
    score1 = layers.Conv2D(num_classes, 1)(low)
    up = layers.UpSampling2D(2, interpolation='bilinear')
    score = layers.Add()([up(score4), score2])
    score = layers.Add()([up(score), score1])
    return models.Model(image, score, name='fcn')


class Mean(metrics.MeanIoU):
    """Mean IoU of logits against train ids."""

    def __init__(self):
        super().__init__(NUM_CLASSES, name='miou', ignore_class=IGNORE, sparse_y_pred=False)


pairs = find('train')
train, val = CityBatches(pairs, True), CityBatches(find('val'), False)
model = fcn(NUM_CLASSES)
rate = optimizers.schedules.PolynomialDecay(BASE_LR, EPOCHS * len(train), 1e-4, power=0.9)
model.compile(
    optimizers.SGD(rate, momentum=0.9, nesterov=True),
    losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORE),
    metrics=[Mean()],
)
model.fit(train, validation_data=val, epochs=EPOCHS, verbose=2,
          callbacks=[callbacks.EarlyStopping('val_miou', mode='max', patience=15, restore_best_weights=True)])
