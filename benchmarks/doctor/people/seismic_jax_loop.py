"""Seismic facies, 2.5D, pure JAX training loop on a stateless Keras model.

The net sees three neighbouring inlines as channels and says the facies of the one in the middle.
Two resolutions run side by side all the way (as in HRNet, but tiny).

The northern third of the cube is the test area, a gap of four inlines lies in between.
"""
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import layers

SEED = 8
N_FACIES = 5
WINDOW = 48
BATCH = 6
STEPS = 180
PEAK_RATE = 6e-3
keras.utils.set_random_seed(SEED)
rng = np.random.default_rng(SEED)

# -- data -------------------------------------------------------------------------------------------------------------
amplitude = np.load("seismic/amplitude.npy")  # inline, crossline, sample
facies = np.load("seismic/facies.npy").astype("int32")
order = np.arange(len(amplitude))
train_lines, test_lines = order[:62], order[66:]

center, spread = amplitude[train_lines].mean(), amplitude[train_lines].std()


def section(line):
    """Inline with its two neighbours, samples down, crosslines across."""
    near = np.clip([line - 1, line, line + 1], 0, len(amplitude) - 1)
    x = amplitude[near].transpose(2, 1, 0)
    x = (x - center) / spread
    return x.astype("float32"), facies[line].T


def draw_batch(lines):
    xs, ys = [], []
    for line in rng.choice(lines, BATCH):
        x, y = section(line)
        down = rng.integers(0, x.shape[0] - WINDOW + 1)
        left = rng.integers(0, x.shape[1] - WINDOW + 1)
        x, y = x[down:down + WINDOW, left:left + WINDOW], y[down:down + WINDOW, left:left + WINDOW]
        if rng.random() < 0.5:  # crosslines may run the other way, time may not
            x, y = x[:, ::-1], y[:, ::-1]
        x = x * rng.uniform(0.85, 1.15) + rng.normal(0, 0.1, x.shape)
        xs.append(x)
        ys.append(y)
    return np.stack(xs).astype("float32"), np.stack(ys)


# -- model ------------------------------------------------------------------------------------------------------------
def conv(x, n, stride=1):
    x = layers.Conv2D(n, 3, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation("silu")(x)


def exchange(fine, coarse):
    down = conv(fine, coarse.shape[-1], 2)
    up = layers.UpSampling2D(interpolation="bilinear")(layers.Conv2D(fine.shape[-1], 1)(coarse))
    return layers.Add()([fine, up]), layers.Add()([coarse, down])


def build():
    inputs = keras.Input((None, None, 3))
    fine = conv(inputs, 8)
    coarse = conv(fine, 16, 2)
    for _ in range(3):
        fine, coarse = conv(fine, 8), conv(conv(coarse, 16), 16)
        fine, coarse = exchange(fine, coarse)
    x = layers.Concatenate()([fine, layers.UpSampling2D(interpolation="bilinear")(coarse)])
    x = conv(x, 16)
    return keras.Model(inputs, layers.Conv2D(N_FACIES, 1, name="logits")(x))


model = build()
schedule = keras.optimizers.schedules.CosineDecay(1e-4, STEPS - 30, warmup_target=PEAK_RATE, warmup_steps=30)
optimizer = keras.optimizers.Adam(schedule, clipnorm=1.0)
optimizer.build(model.trainable_variables)
weights = jnp.array([1.0, 1.0, 1.0, 1.0, 1.0])


# -- steps ------------------------------------------------------------------------------------------------------------
def compute_loss(trainable, untrainable, x, y):
    logits, untrainable = model.stateless_call(trainable, untrainable, x, training=True)
    target = jax.nn.one_hot(y, N_FACIES)
    ce = -jnp.sum(target * weights * jax.nn.log_softmax(logits), axis=-1)
    return ce.mean(), untrainable


@jax.jit
def train_step(state, x, y):
    trainable, untrainable, slots = state
    gradient = jax.value_and_grad(compute_loss, has_aux=True)
    (loss, untrainable), grads = gradient(trainable, untrainable, x, y)
    trainable, slots = optimizer.stateless_apply(slots, grads, trainable)
    return loss, (trainable, untrainable, slots)


@jax.jit
def predict_step(state, x):
    logits, _ = model.stateless_call(state[0], state[1], x, training=False)
    return logits.argmax(-1)


def evaluate(state, lines):
    matrix = np.zeros((N_FACIES, N_FACIES), int)
    for line in lines:
        x, y = section(line)
        found = np.asarray(predict_step(state, x[None]))[0]
        np.add.at(matrix, (y, found), 1)
    hit = np.diag(matrix)
    return hit / np.maximum(1, matrix.sum(0) + matrix.sum(1) - hit)


# -- training ---------------------------------------------------------------------------------------------------------
state = tuple([v.value for v in part]
              for part in (model.trainable_variables, model.non_trainable_variables, optimizer.variables))
running = None
for step in range(1, STEPS + 1):
    loss, state = train_step(state, *draw_batch(train_lines))
    running = float(loss) if running is None else 0.95 * running + 0.05 * float(loss)
    if step % 60 == 0:
        print(f"step {step:4d}  loss {running:.4f}  mIoU of the test area {evaluate(state, test_lines).mean():.4f}")

for variables, values in zip((model.trainable_variables, model.non_trainable_variables), state):
    for variable, value in zip(variables, values):
        variable.assign(value)
model.save("facies.keras")
print("IoU per facies", np.round(evaluate(state, test_lines), 3), "mean %.4f" % evaluate(state, test_lines).mean())
