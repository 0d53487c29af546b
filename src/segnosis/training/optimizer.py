"""The plan's optimizer: its learning rate follows how much of the training is done, whatever the steps are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from segnosis.training import kernels
from segnosis.training.plan import Plan

if TYPE_CHECKING:
    import keras

_AVERAGED_OVER = 10
"""Steps over which the gradient's norm is smoothed."""


def optimizer(plan: Plan, *, steps: int, progress: float = 0.0, rate: float = 1.0) -> keras.optimizers.Optimizer:
    """The plan's optimizer, annealing over the next `steps` batches.

    Beyond Keras' own it holds `gradient_norm`, smoothed at no extra pass, and how far the schedule is (`pace`), all in
    its variables: a checkpoint of them is all that a resumed run needs.

    Args:
        plan: What to build.
        steps: Batches from here to the end of the training.
        progress: Share of the schedule that is done.
        rate: Factor on the learning rate.

    Example:
        >>> type(optimizer(Plan(data="heart", optimizer="sgd"), steps=100)).__name__
        'SGD'
    """
    import keras

    arguments: dict[str, Any] = {"learning_rate": schedule(plan, steps=steps, progress=progress, rate=rate)}
    if plan.clip_norm is not None:
        arguments["global_clipnorm"] = plan.clip_norm
    if plan.optimizer == "sgd":
        arguments |= {"momentum": 0.9, "nesterov": True}
    if plan.optimizer in ("sgd", "adamw") and plan.weight_decay:
        arguments["weight_decay"] = plan.weight_decay
    if plan.accumulate > 1:
        arguments["gradient_accumulation_steps"] = plan.accumulate
    if plan.average is not None:
        arguments |= {"use_ema": True, "ema_momentum": plan.average}
    base = {
        "adamw": keras.optimizers.AdamW,
        "adam": keras.optimizers.Adam,
        "sgd": keras.optimizers.SGD,
        "adadelta": keras.optimizers.Adadelta,
    }[plan.optimizer]
    made = _paced(base)(**arguments)
    # Decaying biases and normalization scales costs accuracy and regularizes nothing.
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


def schedule(plan: Plan, *, steps: int, progress: float = 0.0, rate: float = 1.0) -> Any:
    """Learning rate by step over the next `steps` batches; a plain number where the plan keeps it constant.

    A linear warm-up over the first `warmup_share` of the training, then the decay to 1 % of the rate along a cosine;
    `polynomial` falls to 0 from the start. Both are functions of the share of the training that is done, not of the
    step: a training that must become shorter on the way still ends with its small steps.

    Args:
        plan: What to build.
        steps: Batches from here to the end of the training.
        progress: Share of the schedule that is done.
        rate: Factor on the learning rate.

    Example:
        >>> falling = schedule(Plan(data="heart", learning_rate=0.1), steps=100)
        >>> [round(float(falling(step)), 4) for step in (0, 5, 50, 100)]
        [0.005, 0.1, 0.0546, 0.001]
    """
    import keras
    from keras import ops

    highest = rate * plan.learning_rate
    if plan.schedule == "constant":
        return highest
    warmup = plan.warmup_share if plan.schedule == "cosine" else 0.0

    class Annealing(keras.optimizers.schedules.LearningRateSchedule):
        """The learning rate `at` a share of the training, or at a step of those planned here."""

        def at(self, progress: Any) -> Any:
            progress = ops.clip(ops.cast(progress, "float32"), 0.0, 1.0)
            if plan.schedule == "polynomial":
                return highest * ops.power(1.0 - progress, 0.9)
            decayed = ops.clip((progress - warmup) / (1.0 - warmup), 0.0, 1.0)
            share = 0.01 + 0.99 * 0.5 * (1.0 + ops.cos(math.pi * decayed))
            if not warmup:
                return highest * share
            return highest * ops.where(progress < warmup, 0.05 + 0.95 * progress / warmup, share)

        def __call__(self, step: Any) -> Any:
            return self.at(self.begun + ops.cast(step, "float32") * self.per_step)

        def get_config(self) -> dict[str, Any]:
            return {"plan": plan.model_dump(), "steps": steps, "progress": progress, "rate": rate}

    annealing = Annealing()
    annealing.begun, annealing.per_step = progress, (1.0 - progress) / max(steps, 1)
    return annealing


def share_done(optimizer: keras.optimizers.Optimizer) -> float:
    """Share of the schedule that is done."""
    from keras import ops

    own = _own(optimizer)
    begun, per_step, taken = (float(ops.convert_to_numpy(variable)) for variable in (*own.pace, own._iterations))
    return min(begun + taken * per_step, 1.0)


def end_in(optimizer: keras.optimizers.Optimizer, steps: int, *, progress: float | None = None) -> None:
    """Let the schedule, from where it is or from `progress`, end in so many batches."""
    from keras import ops

    own = _own(optimizer)
    done = share_done(own) if progress is None else progress
    per_step = (1.0 - done) / max(steps, 1)
    begun = done - float(ops.convert_to_numpy(own._iterations)) * per_step
    for variable, value in zip(own.pace, (begun, per_step), strict=True):
        variable.assign(value)


def gradient_norm(optimizer: keras.optimizers.Optimizer) -> float:
    """The smoothed norm of the gradient."""
    from keras import ops

    return float(ops.convert_to_numpy(_own(optimizer).gradient_norm))


@contextmanager
def averaged(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Within, the weights are the running means of their values, where the plan averages; then what they were."""
    from keras import ops

    own = _own(optimizer)
    pairs = list(zip(own._trainable_variables, own._model_variables_moving_average, strict=True)) if own.use_ema else []
    kept = [ops.convert_to_numpy(variable) for variable, _ in pairs]
    for variable, average in pairs:
        variable.assign(ops.convert_to_numpy(average))  # a copy: on JAX the next step takes the weights' memory
    try:
        yield
    finally:
        for (variable, _), value in zip(pairs, kept, strict=True):
            variable.assign(value)


def _own(optimizer: Any) -> Any:
    """Our optimizer inside the one that Keras wraps around it to scale a float16 loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _paced(base: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    import keras
    from keras import ops

    adam = issubclass(base, keras.optimizers.Adam) and kernels.available()

    class Paced(base):
        """`base`, knowing how far its schedule is and how large its gradients are (mean over about ten steps)."""

        def build(self, variables: Any) -> None:
            if self.built:
                return
            super().build(variables)
            scalar = {"shape": (), "initializer": "zeros", "dtype": "float32"}
            self.gradient_norm = self.add_variable(name="gradient_norm", **scalar)
            self.pace = [self.add_variable(name=name, **scalar) for name in ("progress_begun", "progress_per_step")]
            for variable, name in zip(self.pace, ("begun", "per_step"), strict=True):
                variable.assign(getattr(self._learning_rate, name, 0.0))

        def _get_current_learning_rate(self) -> Any:
            if self.built and hasattr(self._learning_rate, "per_step"):
                begun, per_step = self.pace
                return self._learning_rate.at(begun + ops.cast(self._iterations, "float32") * per_step)
            return super()._get_current_learning_rate()

        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            result = super().apply(grads, trainable_variables)
            squares = [ops.sum(ops.square(ops.cast(grad, "float32"))) for grad in grads if grad is not None]
            norm = ops.sqrt(sum(squares[1:], squares[0]))
            kept = 1.0 - 1.0 / _AVERAGED_OVER
            self.gradient_norm.assign(kept * self.gradient_norm + (1.0 - kept) * norm)
            return result

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            """Keras' own, in one pass over memory where there is an operation for it."""
            if not adam:
                super().update_step(gradient, variable, learning_rate)
                return
            betas, taken = (self.beta_1, self.beta_2), ops.cast(self.iterations + 1, "float32")
            index = self._get_variable_index(variable)
            kernels.adam(
                variable,
                self._momentums[index],
                self._velocities[index],
                gradient,
                rate=learning_rate,
                betas=betas,
                powers=[ops.power(ops.cast(beta, "float32"), taken) for beta in betas],
                epsilon=self.epsilon,
            )

        def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
            """Keras' own counts every batch, also those that only accumulate and leave the weights as they are."""
            every = self.gradient_accumulation_steps or 1
            taken = self._iterations + 1
            old = ops.where(taken % every == 0, ops.where(taken == every, 0.0, self.ema_momentum), 1.0)
            for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
                share = ops.cast(old, average.dtype)
                average.assign(share * average + (1.0 - share) * variable)

        def finalize_variable_values(self, var_list: Any) -> None:
            """Keras would put the averages in the weights' place after every `fit`; here training goes on from them."""

    Paced.__name__ = base.__name__
    return Paced
