"""Which class ids are legal: how many classes there are, who says so, and what is ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.doctor.held_variables import class_lists

PRICE = "static"


@dataclass(frozen=True)
class LabelSpace:
    """The ids a target may hold.

    Attributes:
        num_classes: Number of classes, background included; `None` when nobody says.
        said_by: Who says so: `"num_classes"`, `"class_names"`, `"head"`, the name of a list in the program whose length
            the head has, or `"data set"`.
        channels: Channels of the model's output, when there is a model; 1 also when the user says `num_classes=1`.
        ignore: Ids that are no class and are kept out of the loss.
        names: Class names by id, as far as known.
        signed: Whether targets from −1 to 1 are meant: a tanh head or a hinge loss.
        independent: Whether several channels answer by a sigmoid each, so that targets are planes, not ids.
        soft: Whether the loss takes targets between the classes: soft labels of a binary head, say.
    """

    num_classes: int | None = None
    said_by: str = ""
    channels: int | None = None
    ignore: frozenset[float] = frozenset()
    names: tuple[str, ...] = ()
    signed: bool = False
    independent: bool = False
    soft: bool = False

    def name(self, class_id: int) -> str:
        """`3 (cat)`, or `3`."""
        return f"{class_id} ({self.names[class_id]})" if 0 <= class_id < len(self.names) else str(class_id)


def measure(
    spec: DatasetSpec | None = None,
    num_classes: int | None = None,
    ignore_class: int | None = None,
    class_names: Sequence[str] | None = None,
    heads: Sequence[Any] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> LabelSpace:
    """Gather what was declared; what the user says counts before what the head shows."""
    head = heads[0] if heads else None
    channels = head.shape[-1] if head is not None and head.shape and head.shape[-1] else None
    channels = 1 if channels is None and num_classes == 1 else channels
    ignore = {float(value) for value in (ignore_class,) if value is not None}
    lists = {name: listed for name, listed in class_lists(variables or {}).items() if len(listed) == channels}
    names = tuple(class_names or (spec.class_names if spec else ()) or next(filter(all, lists.values()), ()))
    if head is not None:
        stated = getattr(head.loss, "ignore_class", None)
        ignore |= {float(stated)} if stated is not None else set()
    elif spec is not None and spec.ignore_class is not None:
        ignore.add(float(spec.ignore_class))
    told = (
        ("num_classes", max(2, num_classes) if num_classes else None),
        ("class_names", len(class_names) if class_names else None),
        (next((f"`{name}`" for name in lists), ""), channels if lists else None),
        ("head", max(2, channels) if channels else None),
        ("data set", spec.num_classes if spec else None),
    )
    said_by, count = next(((who, number) for who, number in told if number), ("", None))
    loss_name = head.loss_name.lower() if head is not None and head.loss is not None else ""
    activations = [step.does for step in getattr(head, "activations", ())]
    return LabelSpace(
        num_classes=count,
        said_by=said_by,
        channels=channels,
        ignore=frozenset(ignore),
        names=names,
        signed="hinge" in loss_name or activations[-1:] == ["tanh"],
        independent=head is not None and head.independent,
        soft=channels == 1 or "sparse" not in loss_name,
    )
