'''
BraTS-like tumour segmentation, 2 modalities, labels {0, 1, 2, 4}.

Patches from whole volumes (two of three are centred on tumour voxels), plain training loop,
sliding-window prediction of the held-out cases at the end.
'''
import os
import random
import time
from glob import glob

import keras
import nibabel as nib
import numpy as np
from keras import layers, ops


class cfg:
    root = './brats'
    modalities = ['flair', 't1ce']
    patch = (32, 32, 16)
    batch_size = 2
    steps_per_epoch = 30
    epochs = 10
    base_lr = 3e-3
    fg_prob = 0.66
    n_val = 3
    num_classes = 4
    seed = 1234


def normalise(vol):
    brain = vol > 0
    out = np.zeros_like(vol)
    out[brain] = (vol[brain] - vol[brain].mean()) / (vol[brain].std() + 1e-8)
    return out


def load_case(folder):
    case = os.path.basename(folder)
    channels = []
    for m in cfg.modalities:
        vol = nib.load(os.path.join(folder, f'{case}_{m}.nii.gz')).get_fdata().astype(np.float32)
        channels.append(normalise(vol))
    seg = np.asarray(nib.load(os.path.join(folder, f'{case}_seg.nii.gz')).dataobj).astype(np.int32)
    seg[seg == 4] = 3  # label 3 is not used by the organisers
    return np.stack(channels, axis=-1), seg


class PatchSampler:
    def __init__(self, cases, fg_prob, augment):
        self.cases, self.fg_prob, self.augment = cases, fg_prob, augment

    def corner(self, seg):
        if random.random() < self.fg_prob:
            voxels = np.argwhere(seg > 0)
            centre = voxels[random.randrange(len(voxels))]
        else:
            centre = [random.randrange(n) for n in seg.shape]
        return [int(np.clip(c - p // 2, 0, n - p)) for c, p, n in zip(centre, cfg.patch, seg.shape)]

    def one(self):
        img, seg = random.choice(self.cases)
        x0, y0, z0 = self.corner(seg)
        dx, dy, dz = cfg.patch
        img = img[x0:x0 + dx, y0:y0 + dy, z0:z0 + dz]
        seg = seg[x0:x0 + dx, y0:y0 + dy, z0:z0 + dz]
        if self.augment:
            for axis in range(3):
                if random.random() < 0.5:
                    img, seg = np.flip(img, axis), np.flip(seg, axis)
            img = img * random.uniform(0.9, 1.1) + random.uniform(-0.1, 0.1)
        return img, seg

    def batch(self):
        imgs, segs = zip(*[self.one() for _ in range(cfg.batch_size)])
        return np.stack(imgs).astype(np.float32), np.stack(segs)[..., None]


def windows(shape):
    """All corners of a half-overlapping grid."""
    axes = [sorted({*range(0, n - p + 1, p // 2), n - p}) for n, p in zip(shape, cfg.patch)]
    return [(x, y, z) for x in axes[0] for y in axes[1] for z in axes[2]]


def conv_in(x, filters):
    for _ in range(2):
        x = layers.Conv3D(filters, 3, padding='same', use_bias=False)(x)
        x = layers.GroupNormalization(groups=-1)(x)
        x = layers.LeakyReLU(negative_slope=0.01)(x)
    return x


def unet3d():
    inputs = keras.Input(cfg.patch + (len(cfg.modalities),))
    d0 = conv_in(inputs, 8)
    d1 = conv_in(layers.Conv3D(16, 2, strides=2)(d0), 16)
    x = conv_in(layers.Conv3D(32, 2, strides=2)(d1), 32)
    x = layers.Conv3DTranspose(16, 2, strides=2)(x)
    x = conv_in(layers.concatenate([x, d1]), 16)
    x = layers.Conv3DTranspose(8, 2, strides=2)(x)
    x = conv_in(layers.concatenate([x, d0]), 8)
    return keras.Model(inputs, layers.Conv3D(cfg.num_classes, 1)(x), name='unet3d')


def dice_ce(y_true, logits):
    onehot = ops.one_hot(ops.cast(y_true[..., 0], 'int32'), cfg.num_classes)
    probs = ops.softmax(logits, axis=-1)
    ce = ops.mean(-ops.sum(onehot * ops.log(probs + 1e-7), axis=-1))
    inter = ops.sum(onehot * probs, axis=(0, 1, 2, 3))
    denom = ops.sum(onehot, axis=(0, 1, 2, 3)) + ops.sum(probs, axis=(0, 1, 2, 3))
    dice = (2.0 * inter + 1e-5) / (denom + 1e-5)
    return ce + 1.0 - ops.mean(dice[1:])


def whole_tumour(y_true, logits):
    t = ops.cast(y_true[..., 0] > 0, 'float32')
    p = ops.cast(ops.argmax(logits, axis=-1) > 0, 'float32')
    return (2 * ops.sum(t * p) + 1e-5) / (ops.sum(t) + ops.sum(p) + 1e-5)


def predict_case(net, img):
    votes = np.zeros(img.shape[:3] + (cfg.num_classes,), np.float32)
    dx, dy, dz = cfg.patch
    for x, y, z in windows(img.shape[:3]):
        crop = img[None, x:x + dx, y:y + dy, z:z + dz].astype(np.float32)
        votes[x:x + dx, y:y + dy, z:z + dz] += keras.activations.softmax(net.predict_on_batch(crop))[0]
    return votes.argmax(-1)


def main():
    random.seed(cfg.seed)
    keras.utils.set_random_seed(cfg.seed)
    folders = sorted(glob(os.path.join(cfg.root, 'BraTS_*')))
    cases = [load_case(f) for f in folders]
    train_cases, val_cases = cases[cfg.n_val:], cases[:cfg.n_val]
    train = PatchSampler(train_cases, cfg.fg_prob, augment=True)

    net = unet3d()
    lr = keras.optimizers.schedules.PolynomialDecay(cfg.base_lr, cfg.steps_per_epoch * cfg.epochs, 1e-5, power=0.9)
    net.compile(optimizer=keras.optimizers.Adam(lr), loss=dice_ce, metrics=[whole_tumour])

    for epoch in range(1, cfg.epochs + 1):
        start = time.time()
        net.reset_metrics()
        for _ in range(cfg.steps_per_epoch):
            x, y = train.batch()
            logs = net.train_on_batch(x, y, return_dict=True)
        print('epoch %02d  %.1fs  ' % (epoch, time.time() - start) + '  '.join(f'{k} {float(v):.4f}' for k, v in logs.items()))

    scores = []
    for (img, seg), folder in zip(val_cases, folders):
        pred = predict_case(net, img)
        for name, member in (('WT', (1, 2, 3)), ('TC', (1, 3)), ('ET', (3,))):
            a, b = np.isin(pred, member), np.isin(seg, member)
            scores.append(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
            print(os.path.basename(folder), name, round(float(scores[-1]), 3))
        pred[pred == 3] = 4
        np.save(os.path.basename(folder) + '_pred.npy', pred.astype(np.uint8))
    print('mean dice', np.mean(scores))
    net.save('brats_unet3d.keras')


if __name__ == '__main__':
    main()
