"""Liver and tumour from neighbouring CT slices (2.5D). Attention U-Net, deep supervision.

usage: python liver_attention.py --epochs 20
"""
import argparse
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument('--data', type=Path, default=Path('livers'))
    parser.add_argument('--epochs', type=int, default=18)
    parser.add_argument('--batch-size', type=int, default=6)
    parser.add_argument('--lr', type=float, default=1e-3)
    parser.add_argument('--window', type=float, nargs=2, default=(-150.0, 250.0), help='Hounsfield units')
    parser.add_argument('--base', type=int, default=12)
    parser.add_argument('--val-patients', type=int, default=3)
    parser.add_argument('--aux-weight', type=float, default=0.3)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def load_patient(folder, window):
    volume = np.load(folder / 'volume.npz')
    low, high = window
    ct = (np.clip(volume['ct'].astype('float32'), low, high) - low) / (high - low)
    padded = np.pad(ct, ((1, 1), (0, 0), (0, 0)), mode='edge')
    stacks = np.stack([padded[:-2], padded[1:-1], padded[2:]], axis=-1)  # slice below, slice, slice above
    return stacks, volume['seg']


def load_patients(folders, window):
    parts = [load_patient(folder, window) for folder in folders]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def targets(seg):
    full = keras.utils.to_categorical(seg, 3)
    half = keras.utils.to_categorical(seg[:, ::2, ::2], 3)
    return {'main': full, 'aux': half}


def conv_gn(x, filters):
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding='same', kernel_initializer='he_normal')(x)
        x = layers.GroupNormalization(4)(x)
        x = layers.LeakyReLU(negative_slope=0.1)(x)
    return x


def attention_gate(skip, gating, filters):
    theta = layers.Conv2D(filters, 1)(skip)
    phi = layers.UpSampling2D()(layers.Conv2D(filters, 1)(gating))
    psi = layers.Conv2D(1, 1, activation='sigmoid')(layers.Activation('relu')(layers.add([theta, phi])))
    return layers.multiply([skip, psi])


def attention_unet(size, base):
    inp = keras.Input((size, size, 3))
    c1 = conv_gn(inp, base)
    c2 = conv_gn(layers.MaxPool2D()(c1), base * 2)
    c3 = conv_gn(layers.MaxPool2D()(c2), base * 4)
    x = layers.Dropout(0.2)(c3)
    a2 = attention_gate(c2, x, base)
    x = conv_gn(layers.concatenate([layers.UpSampling2D(interpolation='bilinear')(x), a2]), base * 2)
    aux = layers.Conv2D(3, 1, activation='softmax', name='aux')(x)
    a1 = attention_gate(c1, x, base)
    x = conv_gn(layers.concatenate([layers.UpSampling2D(interpolation='bilinear')(x), a1]), base)
    main = layers.Conv2D(3, 1, activation='softmax', name='main')(x)
    return keras.Model(inp, {'main': main, 'aux': aux})


def generalized_dice(y_true, y_pred):
    counts = ops.sum(y_true, axis=(0, 1, 2))
    w = 1.0 / (ops.sqrt(counts) + 10.0)
    inter = ops.sum(w * ops.sum(y_true * y_pred, axis=(0, 1, 2)))
    total = ops.sum(w * ops.sum(y_true + y_pred, axis=(0, 1, 2)))
    return 1.0 - 2.0 * inter / (total + 1e-6)


def combo(y_true, y_pred):
    ce = keras.losses.categorical_crossentropy(y_true, y_pred)
    return ops.mean(ce) + generalized_dice(y_true, y_pred)


def dice_of(index, name):
    def metric(y_true, y_pred):
        t = y_true[..., index]
        p = ops.one_hot(ops.argmax(y_pred, axis=-1), 3)[..., index]
        return (2.0 * ops.sum(t * p) + 1.0) / (ops.sum(t) + ops.sum(p) + 1.0)
    metric.__name__ = name
    return metric


def main():
    args = parse_args()
    keras.utils.set_random_seed(args.seed)
    patients = sorted(args.data.glob('patient_*'))
    x_train, s_train = load_patients(patients[args.val_patients:], args.window)
    x_val, s_val = load_patients(patients[:args.val_patients], args.window)
    print('train', x_train.shape, 'val', x_val.shape, 'pixels per class', np.bincount(s_train.ravel()))
    model = attention_unet(x_train.shape[1], args.base)
    steps = -(-len(x_train) // args.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(args.lr / 10, args.epochs * steps, warmup_target=args.lr,
                                                      warmup_steps=2 * steps)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0),
                  loss={'main': combo, 'aux': combo},
                  loss_weights={'main': 1.0, 'aux': args.aux_weight},
                  metrics={'main': [dice_of(1, 'liver'), dice_of(2, 'tumour')]})
    model.fit(x_train, targets(s_train), validation_data=(x_val, targets(s_val)),
              batch_size=args.batch_size, epochs=args.epochs, shuffle=True, verbose=2)


if __name__ == '__main__':
    main()
