"""Polyps in endoscopy frames: network with side outputs (a small U^2-Net in spirit), half precision.

    python polyp_sides.py --file endoscopy/frames.h5
"""
import argparse
import math

import h5py
import numpy as np
import keras
from keras import layers, ops


class Frames(keras.utils.PyDataset):
    """Reads its batches from the HDF5 file; every side output has the same target."""

    def __init__(self, file, indices, batch_size, n_outputs, training=False, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.h5 = h5py.File(file, 'r')
        self.indices = np.array(indices)
        self.batch_size = batch_size
        self.n_outputs = n_outputs
        self.training = training
        self.rng = np.random.RandomState(seed)
        self.on_epoch_end()

    def __len__(self):
        return math.ceil(len(self.indices) / self.batch_size)

    def on_epoch_end(self):
        if self.training:
            self.rng.shuffle(self.indices)

    def __getitem__(self, i):
        # h5py wants its indices in rising order
        idx = np.sort(self.indices[i * self.batch_size:(i + 1) * self.batch_size])
        x = self.h5['image'][idx].astype('float32') / 255.
        y = self.h5['mask'][idx].astype('float32') / 255.
        if self.training:
            for k in range(len(x)):
                r = self.rng.randint(4)
                x[k], y[k] = np.rot90(x[k], r), np.rot90(y[k], r)
                if self.rng.rand() < 0.5:
                    x[k], y[k] = x[k][:, ::-1], y[k][:, ::-1]
                x[k] = np.clip(x[k] * self.rng.uniform(0.85, 1.15), 0, 1)
        return x, tuple([y] * self.n_outputs)


def rebnconv(x, filters, rate=1):
    x = layers.Conv2D(filters, 3, padding='same', dilation_rate=rate)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x)


def rsu(x, mid, out):
    """Residual block with a U inside."""
    x0 = rebnconv(x, out)
    x1 = rebnconv(x0, mid)
    x2 = rebnconv(layers.MaxPool2D()(x1), mid)
    x3 = rebnconv(x2, mid, rate=2)
    y = rebnconv(layers.Concatenate()([x3, x2]), mid)
    y = layers.UpSampling2D(interpolation='bilinear')(y)
    y = rebnconv(layers.Concatenate()([y, x1]), out)
    return layers.Add()([x0, y])


def build(size, base):
    inp = keras.Input((size, size, 3))
    e1 = rsu(inp, base // 2, base)
    e2 = rsu(layers.MaxPool2D()(e1), base // 2, base * 2)
    e3 = rsu(layers.MaxPool2D()(e2), base, base * 3)
    d2 = rsu(layers.Concatenate()([layers.UpSampling2D(interpolation='bilinear')(e3), e2]), base // 2, base * 2)
    d1 = rsu(layers.Concatenate()([layers.UpSampling2D(interpolation='bilinear')(d2), e1]), base // 2, base)
    sides = []
    for n, feature in enumerate((d1, d2, e3)):
        side = layers.Conv2D(1, 3, padding='same')(feature)
        if n:
            side = layers.UpSampling2D(2 ** n, interpolation='bilinear')(side)
        sides.append(side)
    fused = layers.Conv2D(1, 1)(layers.Concatenate()(sides))
    logits = [fused] + sides
    outputs = [layers.Activation('sigmoid', dtype='float32', name=name)(z)
               for name, z in zip(('fused', 'side1', 'side2', 'side3'), logits)]
    return keras.Model(inp, outputs)


def bce_iou(y_true, y_pred):
    bce = ops.mean(ops.binary_crossentropy(y_true, y_pred), axis=(1, 2, 3))
    inter = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    union = ops.sum(y_true + y_pred, axis=(1, 2, 3)) - inter
    return bce + 1.0 - (inter + 1.0) / (union + 1.0)


def mae(y_true, y_pred):
    return ops.mean(ops.abs(y_true - ops.cast(y_pred, 'float32')))


class HardIoU(keras.metrics.Metric):
    def __init__(self, name='iou', **kwargs):
        super().__init__(name=name, **kwargs)
        self.inter = self.add_weight(name='inter', initializer='zeros')
        self.union = self.add_weight(name='union', initializer='zeros')

    def update_state(self, y_true, y_pred, sample_weight=None):
        t, p = ops.cast(y_true > 0.5, 'float32'), ops.cast(y_pred > 0.5, 'float32')
        self.inter.assign_add(ops.sum(t * p))
        self.union.assign_add(ops.sum(ops.maximum(t, p)))

    def result(self):
        return self.inter / (self.union + 1e-7)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--file', default='endoscopy/frames.h5')
    ap.add_argument('--policy', default='mixed_bfloat16')
    ap.add_argument('--base', type=int, default=8)
    ap.add_argument('--batch', type=int, default=6)
    ap.add_argument('--epochs', type=int, default=12)
    ap.add_argument('--lr', type=float, default=1e-3)
    ap.add_argument('--held-out', type=int, nargs='+', default=[3, 8, 13])
    args = ap.parse_args()

    keras.utils.set_random_seed(3)
    keras.mixed_precision.set_dtype_policy(args.policy)

    with h5py.File(args.file) as f:
        sequence = f['sequence'][()]
        size = f['image'].shape[1]
    held_out = np.isin(sequence, args.held_out)
    train_idx, val_idx = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    print(len(train_idx), 'frames to train on,', len(val_idx), 'to validate')

    train = Frames(args.file, train_idx, args.batch, 4, training=True)
    val = Frames(args.file, val_idx, args.batch, 4)

    model = build(size, args.base)
    model.compile(optimizer=keras.optimizers.Adam(args.lr),
                  loss=[bce_iou] * 4, loss_weights=[1.0, 0.5, 0.3, 0.2],
                  metrics=[[HardIoU(), mae], [], [], []])
    model.fit(train, validation_data=val, epochs=args.epochs, verbose=2,
              callbacks=[keras.callbacks.TerminateOnNaN(),
                         keras.callbacks.LearningRateScheduler(lambda e, lr: lr if e < 9 else lr * 0.7)])

    fused = model.predict(val, verbose=0)[0]
    # test-time flip
    flipped = np.concatenate([model.predict_on_batch(val[i][0][:, :, ::-1])[0][:, :, ::-1] for i in range(len(val))])
    both = (fused + flipped) / 2
    truth = np.concatenate([val[i][1][0] for i in range(len(val))]) > 0.5
    print('IoU with flip: %.3f' % (((both > 0.5) & truth).sum() / ((both > 0.5) | truth).sum()))
    keras.Model(model.input, model.outputs[0]).save('polyp_fused.keras')


if __name__ == '__main__':
    main()
