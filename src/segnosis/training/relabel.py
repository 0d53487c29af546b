"""Masks of one data set in the classes of another: by name, whatever the order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import ArgumentError, did_you_mean

_NONE = -1
IGNORE_WORD = "ignore"
"""Instead of a class of the run: those pixels do not count."""
_GUESSED = re.compile(r"background|foreground|class \d+|#[0-9a-f]{6}")
"""Names that nobody gave: made up from stored values where no file tells names."""


@dataclass(frozen=True)
class Relabel:
    """Class id in a data set → class id of a run.

    Attributes:
        class_names: Name per class id of the run.
        theirs: Name per class id of the data set.
        ids: Id of the run per id of the data set, −1 for what does not count.
        ignore_class: Id in the data set's masks that is no class.
        by_order: Whether no name told which class is which, and their order was taken for it.
    """

    class_names: tuple[str, ...]
    theirs: tuple[str, ...]
    ids: tuple[int, ...]
    ignore_class: int | None = None
    by_order: bool = False

    @classmethod
    def same(cls, spec: DatasetSpec) -> Relabel:
        """Classes stay as they are."""
        return cls(spec.class_names, spec.class_names, tuple(range(spec.num_classes)), spec.ignore_class)

    @classmethod
    def by_name(
        cls, class_names: Sequence[str], spec: DatasetSpec, overrides: Mapping[str, str] | None = None
    ) -> Relabel:
        """The data set's classes in the run's, each by its name, upper or lower case.

        Names that were made up from stored values say nothing; as many of them as the run has classes are taken in
        their order.

        Args:
            class_names: Classes of the run, background first.
            spec: What the data set is.
            overrides: Class of the data set, by name or stored value, → class of the run, or `"ignore"`.

        Raises:
            ArgumentError: A class of the data set is none of the run, or an override names no class.

        Example:
            >>> spec = DatasetSpec("voc", "", ("background", "tumour", "liver"), 1, values={0: 0, 1: 1, 2: 2})
            >>> Relabel.by_name(("background", "liver", "tumour"), spec).ids
            (0, 2, 1)
        """
        given = {name.lower(): index for index, name in enumerate(class_names)}
        chosen: dict[int, int] = {}
        for theirs, ours in (overrides or {}).items():
            if ours.lower() not in given and ours != IGNORE_WORD:
                raise ArgumentError(
                    f"`--map` gives a class of the run to one of the data, or `{IGNORE_WORD}`.",
                    received={"class of the run": ours},
                    cure=did_you_mean(ours, [*class_names, IGNORE_WORD]),
                )
            chosen[_class_of(theirs, spec)] = given.get(ours.lower(), _NONE)
        by_order = spec.num_classes == len(class_names) and all(_GUESSED.fullmatch(name) for name in spec.class_names)
        if by_order:
            ids = [chosen.get(k, k) for k in range(spec.num_classes)]
        else:
            ids = [chosen.get(k, given.get(name.lower(), len(given))) for k, name in enumerate(spec.class_names)]
        strange = [name for name, own in zip(spec.class_names, ids, strict=True) if own == len(given)]
        if strange:
            raise ArgumentError(
                f"Every class of the data is one of the run's: {', '.join(class_names)}.",
                received={"other classes of the data": ", ".join(strange)},
                cure=f'Say which it is, `--map "{class_names[-1]}={strange[0]}"`, or leave it out, '
                f'`--map "{IGNORE_WORD}={strange[0]}"`.',
            )
        guess = by_order and len(class_names) > 2 and len(chosen) < len(class_names) - 1
        return cls(tuple(class_names), spec.class_names, tuple(ids), spec.ignore_class, guess)

    @property
    def says(self) -> str:
        """Which class became which, where one did not keep its name and place; else nothing.

        Example:
            >>> print(Relabel(("background", "cell"), ("background", "nucleus"), (0, 1)).says)
            the masks' background is background, nucleus is cell
        """
        own = [self.class_names[k] if k >= 0 else "ignored" for k in self.ids]
        if own == list(self.theirs) and self.ids == tuple(range(len(self.ids))) and not self.by_order:
            return ""
        pairs = ", ".join(f"{name} is {ours}" for name, ours in zip(self.theirs, own, strict=True))
        doubt = " – by their order, for no file names them; `--map` says otherwise" if self.by_order else ""
        return f"the masks' {pairs}{doubt}"

    def truth(self, mask: np.ndarray) -> np.ndarray:
        """`(height, width)` int32 class ids of the run; −1 where a pixel does not count."""
        table = np.full(max(256, int(mask.max(initial=0)) + 1), _NONE, np.int32)
        table[: len(self.ids)] = self.ids
        if self.ignore_class is not None:
            table[self.ignore_class] = _NONE
        return table[mask]


def _class_of(name: str, spec: DatasetSpec) -> int:
    """Class id of the data set that a user calls by its name or by the value stored in the masks."""
    names = [known.lower() for known in spec.class_names]
    if name.lower() in names:
        return names.index(name.lower())
    stored = {str(value): index for value, index in spec.values.items() if index < spec.num_classes}
    if name in stored:
        return stored[name]
    raise ArgumentError(
        "`--map` names a class of the data, or the value its masks store.",
        received={"class of the data": name},
        cure=did_you_mean(name, [*spec.class_names, *stored]),
    )
