import os
import random
from keras.applications.vgg16 import VGG16, preprocess_input
from keras.layers import Conv2D, Conv2DTranspose, Add, Activation, Dropout
from keras.models import Model
from keras.optimizers import SGD
from keras.utils import PyDataset
import numpy as np
from PIL import Image

random.seed(1)
N_CLASSES = 6
SIZE = 96
SPLITS = 'voc/ImageSets/Segmentation/%s.txt'


class VOC(PyDataset):
    def __init__(self, split, batch_size):
        super().__init__()
        self.names = open(SPLITS % split).read().split()
        self.batch_size = batch_size

    def __len__(self):
        return len(self.names) // self.batch_size

    def on_epoch_end(self):
        random.shuffle(self.names)

    def __getitem__(self, k):
        X, Y, W = [], [], []
        for name in self.names[k * self.batch_size:(k + 1) * self.batch_size]:
            img = Image.open('voc/JPEGImages/%s.jpg' % name).resize((SIZE, SIZE), Image.BILINEAR)
            seg = Image.open('voc/SegmentationClassRaw/%s.png' % name).resize((SIZE, SIZE), Image.NEAREST)
            seg = np.array(seg)
            void = seg == 255
            seg[void] = 0
            X.append(np.array(img, dtype='float32'))
            Y.append(seg)
            W.append(1.0 - void)
        return preprocess_input(np.array(X)), np.array(Y), np.array(W, dtype='float32')


base = VGG16(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
pool3 = base.get_layer('block3_pool').output
pool4 = base.get_layer('block4_pool').output
x = Conv2D(64, (3, 3), activation='relu', padding='same')(base.get_layer('block5_pool').output)
x = Dropout(0.3)(x)
score = Conv2D(N_CLASSES, (1, 1))(x)
up2 = Conv2DTranspose(N_CLASSES, 4, strides=2, padding='same')(score)
fuse4 = Add()([up2, Conv2D(N_CLASSES, 1)(pool4)])
up4 = Conv2DTranspose(N_CLASSES, 4, strides=2, padding='same')(fuse4)
fuse3 = Add()([up4, Conv2D(N_CLASSES, 1)(pool3)])
up8 = Conv2DTranspose(N_CLASSES, 16, strides=8, padding='same')(fuse3)
model = Model(base.input, Activation('softmax')(up8))
model.compile(loss='sparse_categorical_crossentropy', optimizer=SGD(learning_rate=1e-3, momentum=0.9, clipnorm=1.0),
              weighted_metrics=['accuracy'])
model.fit(VOC('train', 4), validation_data=VOC('val', 4), epochs=80)
