import os

import cv2
import keras
import numpy as np

DATA_DIR = './camvid/'
x_train_dir = os.path.join(DATA_DIR, 'train')
y_train_dir = os.path.join(DATA_DIR, 'trainannot')
x_valid_dir = os.path.join(DATA_DIR, 'val')
y_valid_dir = os.path.join(DATA_DIR, 'valannot')


class Dataset:
    """CamVid Dataset. Read images, apply augmentation and preprocessing transformations."""

    CLASSES = ['ground', 'road', 'roof', 'tree']

    def __init__(self, images_dir, masks_dir, classes=None, augmentation=None, preprocessing=None):
        self.ids = sorted(os.listdir(images_dir))
        self.images_fps = [os.path.join(images_dir, image_id) for image_id in self.ids]
        self.masks_fps = [os.path.join(masks_dir, image_id) for image_id in self.ids]
        self.class_values = [self.CLASSES.index(cls.lower()) for cls in classes]
        self.augmentation = augmentation
        self.preprocessing = preprocessing

    def __getitem__(self, i):
        image = cv2.imread(self.images_fps[i])
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        mask = cv2.imread(self.masks_fps[i], 0)
        masks = [(mask == v) for v in self.class_values]
        mask = np.stack(masks, axis=-1).astype('float')
        if mask.shape[-1] != 1:
            background = 1 - mask.sum(axis=-1, keepdims=True)
            mask = np.concatenate((mask, background), axis=-1)
        if self.augmentation:
            sample = self.augmentation(image=image, mask=mask)
            image, mask = sample['image'], sample['mask']
        if self.preprocessing:
            image = self.preprocessing(image)
        return image, mask

    def __len__(self):
        return len(self.ids)


class Dataloder(keras.utils.PyDataset):
    def __init__(self, dataset, batch_size=1, shuffle=False):
        super().__init__()
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.indexes = np.arange(len(dataset))
        self.on_epoch_end()

    def __getitem__(self, i):
        start = i * self.batch_size
        data = [self.dataset[j] for j in self.indexes[start:start + self.batch_size]]
        return tuple(np.stack(samples, axis=0) for samples in zip(*data))

    def __len__(self):
        return len(self.indexes) // self.batch_size

    def on_epoch_end(self):
        if self.shuffle:
            self.indexes = np.random.permutation(self.indexes)


def preprocess_input(x):
    return (x / 255. - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])


def get_training_augmentation():
    def transform(image, mask):
        if np.random.rand() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        h, w = mask.shape[:2]
        zoom = np.random.uniform(0.8, 1.2)
        M = np.array([[zoom, 0, w * (1 - zoom) / 2], [0, zoom, h * (1 - zoom) / 2]])
        M[:, 2] += np.random.uniform(-0.1, 0.1, 2) * (w, h)
        image = cv2.warpAffine(np.ascontiguousarray(image), M, (w, h), borderMode=cv2.BORDER_REFLECT)
        mask = cv2.warpAffine(np.ascontiguousarray(mask), M, (w, h), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
        image = np.clip(image * np.random.uniform(0.8, 1.2), 0, 255).astype('uint8')
        return {'image': image, 'mask': mask}
    return transform


BATCH_SIZE = 8
CLASSES = ['road', 'roof', 'tree']
LR = 0.001
EPOCHS = 40
n_classes = len(CLASSES) + 1


class DiceLoss(keras.losses.Loss):
    def __init__(self, class_weights=None, **kw):
        super().__init__(name='dice_loss', **kw)
        self.class_weights = class_weights if class_weights is not None else 1.

    def call(self, gt, pr):
        gt = keras.ops.cast(gt, pr.dtype)
        tp = keras.ops.sum(gt * pr, axis=[0, 1, 2])
        fp = keras.ops.sum(pr, axis=[0, 1, 2]) - tp
        fn = keras.ops.sum(gt, axis=[0, 1, 2]) - tp
        score = (2 * tp + 1e-5) / (2 * tp + fn + fp + 1e-5)
        return 1 - keras.ops.mean(score * self.class_weights)


class CategoricalFocalLoss(keras.losses.Loss):
    def __init__(self, alpha=0.25, gamma=2., **kw):
        super().__init__(name='focal_loss', **kw)
        self.alpha, self.gamma = alpha, gamma

    def call(self, gt, pr):
        pr = keras.ops.clip(pr, 1e-7, 1. - 1e-7)
        gt = keras.ops.cast(gt, pr.dtype)
        return keras.ops.mean(-gt * (self.alpha * keras.ops.power((1 - pr), self.gamma) * keras.ops.log(pr)))


def Unet(classes, activation):
    L = keras.layers
    i = x = L.Input((None, None, 3))
    skips = []
    for f in (16, 32, 64):
        x = L.Conv2D(f, 3, padding='same', use_bias=False)(x)
        x = L.BatchNormalization()(x)
        x = L.ReLU()(x)
        skips.append(x)
        x = L.Conv2D(f, 3, strides=2, padding='same', use_bias=False)(x)
        x = L.BatchNormalization()(x)
        x = L.ReLU()(x)
    for f, s in zip((64, 32, 16), skips[::-1]):
        x = L.UpSampling2D()(x)
        x = L.Concatenate()([x, s])
        x = L.Conv2D(f, 3, padding='same', use_bias=False)(x)
        x = L.BatchNormalization()(x)
        x = L.ReLU()(x)
    x = L.Conv2D(classes, 3, padding='same', name='final_conv')(x)
    x = L.Activation(activation, name=activation)(x)
    return keras.Model(i, x)


def total_loss(gt, pr, dice=DiceLoss(class_weights=np.array([1, 1, 1, 0.5], 'float32')), focal=CategoricalFocalLoss()):
    return dice(gt, pr) + (1 * focal(gt, pr))


def iou_score(gt, pr):
    gt = keras.ops.cast(gt, pr.dtype)
    pr = keras.ops.cast(pr > 0.5, pr.dtype)
    intersection = keras.ops.sum(gt * pr, axis=[0, 1, 2])
    union = keras.ops.sum(gt + pr, axis=[0, 1, 2]) - intersection
    return keras.ops.mean((intersection + 1e-5) / (union + 1e-5))


model = Unet(n_classes, 'softmax')
optim = keras.optimizers.Adam(LR)
model.compile(optim, total_loss, metrics=[iou_score])

train_dataset = Dataset(x_train_dir, y_train_dir, CLASSES, get_training_augmentation(), preprocess_input)
valid_dataset = Dataset(x_valid_dir, y_valid_dir, CLASSES, None, preprocess_input)
train_dataloader = Dataloder(train_dataset, batch_size=BATCH_SIZE, shuffle=True)
valid_dataloader = Dataloder(valid_dataset, batch_size=1, shuffle=False)
callbacks = [keras.callbacks.ModelCheckpoint('./best_model.weights.h5', save_weights_only=True, save_best_only=True),
             keras.callbacks.ReduceLROnPlateau()]
history = model.fit(train_dataloader, steps_per_epoch=len(train_dataloader), epochs=EPOCHS, callbacks=callbacks,
                    validation_data=valid_dataloader, validation_steps=len(valid_dataloader))
