"""A trained model looked at from every side: scores, depths, doubtful masks, pictures, feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segnosis.core.run_folder import RunFolder
from segnosis.training import depths, features, showcase
from segnosis.training.evaluate import evaluate
from segnosis.training.listener import Listener
from segnosis.training.measures import doubts
from segnosis.training.plan import Plan
from segnosis.training.predict import Predictor

if TYPE_CHECKING:
    import keras

    from segnosis.data.dataset import Dataset

_REVIEWED = 100
"""Validation samples whose masks are reviewed, spread over all of them."""


def reviewed(validation: Dataset, held_out: Dataset) -> Dataset:
    """The validation samples that `assess` predicts besides the held-out ones; none where these are the same ones."""
    scored = set(held_out.ids)
    others = [place for place, name in enumerate(validation.ids) if name not in scored]
    return validation.subset(others[:: max(1, -(-len(others) // _REVIEWED))])


def assess(
    folder: RunFolder,
    plan: Plan,
    networks: Sequence[keras.Model],
    parts: Sequence[Dataset],
    *,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Score a trained model on held-out samples and write the pictures that its report shows.

    Args:
        folder: Run folder; `pictures/` is written.
        plan: The plan as it was followed.
        networks: After deep supervision the networks of all depths, shallowest first; else the one network.
        parts: Samples trained on, those that chose the epoch, and those that neither has seen. The last are scored;
            masks of the second are reviewed too, for the weights have not learnt them.
        listener: Who is told of the progress.

    Returns:
        What `evaluate` returns, with `doubts` of validation samples as well, `sheet`, `shown` and `features` (what
        the pictures are), and `depths` where there are several.
    """
    listener = listener or Listener()
    training, validation, held_out = parts
    predictor = Predictor.planned(plan, networks[-1])
    scores = evaluate(
        predictor, held_out, progress=lambda done, total: listener.step("scoring whole held-out images", done, total)
    )
    if len(networks) > 1:
        scores["depths"] = depths.table(
            networks,
            plan,
            held_out,
            deepest=scores,
            progress=lambda done, total: listener.step("scoring every depth", done, total),
        )
    looked = {"held-out": scores["doubts"]}
    if plan.review:
        looked["validation"] = evaluate(
            predictor,
            reviewed(validation, held_out),
            measures=("doubts",),
            progress=lambda done, total: listener.step("reviewing masks of validation images", done, total),
        )["doubts"]
    scores["doubts"] = doubts.merged(looked)
    scores["sheet"] = showcase.sheet(folder, training)
    scores["shown"] = showcase.save(folder, predictor, held_out, scores["samples"])
    showcase.review(folder, predictor, {"held-out": held_out, "validation": validation}, scores["doubts"])
    scores["features"] = features.save(folder, networks[-1], held_out, scores["samples"], plan)
    return scores
