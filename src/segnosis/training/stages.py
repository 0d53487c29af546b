"""Layers that stay as they are for the first epochs, and the smaller steps once they learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segnosis.training.plan import Plan

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Stage:
    """Epochs that train the same layers.

    Attributes:
        first: Epochs done before it.
        last: Epochs done when it ends.
        frozen: Names of the layers that stay as they are, BatchNormalization statistics too.
        rate: Factor on the learning rate.
    """

    first: int
    last: int
    frozen: tuple[str, ...]
    rate: float


def stages(plan: Plan) -> list[Stage]:
    """The stages of a plan, one after the other; a single one where nothing is frozen.

    Example:
        >>> plan = Plan(data="heart", epochs=20, frozen={"backbone": 3, "conv1": 8}, thawed_rate=0.1)
        >>> for stage in stages(plan):
        ...     print(stage.first, stage.last, stage.frozen, stage.rate)
        0 3 ('backbone', 'conv1') 1.0
        3 8 ('conv1',) 0.1
        8 20 () 0.1
    """
    ends = sorted({min(epochs, plan.epochs) for epochs in plan.frozen.values() if epochs > 0} | {plan.epochs})
    found, first = [], 0
    for last in ends:
        frozen = tuple(name for name, epochs in plan.frozen.items() if epochs > first)
        thawed = len(frozen) < len(plan.frozen)
        found.append(Stage(first, last, frozen, plan.thawed_rate if thawed else 1.0))
        first = last
    return found


def at(plan: Plan, done: int) -> Stage:
    """The stage of the epoch that follows `done` epochs."""
    return next(stage for stage in stages(plan) if stage.first <= done < stage.last)


def begin(stage: Stage, network: keras.Model) -> str:
    """Freeze what the stage names, let all else learn, and say what that comes to."""
    from segnosis.models import freeze
    from segnosis.models.freeze import leaves

    # Layer by layer: a model that already counts as trainable does not hand the word down.
    for _, layer in leaves(network):
        layer.trainable = True
    return str(freeze(network, *stage.frozen)) if stage.frozen else "All layers learn."
