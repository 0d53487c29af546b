"""What a data set is, apart from its pixels: classes, ignored value, channels and how masks are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from segnosis.core.errors import DataError
from segnosis.core.run_folder import read_json


@dataclass(frozen=True)
class DatasetSpec:
    """The facts a model and a loss need about a data set.

    Attributes:
        reader: Name of the reader that opened it.
        saw: One sentence: the layout that was recognised and by what.
        class_names: Name per class id; index 0 is the background.
        channels: Number of image channels.
        ignore_class: Class id in `Sample.mask` that is no class and must not be learned (Keras' term), or `None`.
        values: Stored mask value → class id in `Sample.mask`, for every value that has a meaning.
        dtype: `"uint8"` or `"float32"`: dtype of `Sample.image`.
        group_by: What a group is (`"patient"`, `"slide"`, …), or `None` when samples are independent.
    """

    reader: str
    saw: str
    class_names: tuple[str, ...]
    channels: int
    ignore_class: int | None = None
    values: Mapping[int, int] = field(default_factory=dict)
    dtype: str = "uint8"
    group_by: str | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.class_names)

    def to_json(self) -> dict[str, object]:
        """Plain JSON form, inverse of `from_json`."""
        out = asdict(self)
        out["values"] = {str(stored): class_id for stored, class_id in self.values.items()}
        out["class_names"] = list(self.class_names)
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> DatasetSpec:
        """Rebuild from `to_json`."""
        fields = dict(data)
        fields["class_names"] = tuple(fields["class_names"])  # type: ignore[arg-type]
        fields["values"] = {int(k): int(v) for k, v in dict(fields.get("values", {})).items()}  # type: ignore[call-overload]
        return cls(**fields)  # type: ignore[arg-type]

    @classmethod
    def stored(cls, fingerprint: Path) -> DatasetSpec:
        """What the data set was that a run was trained on.

        Args:
            fingerprint: `fingerprint.json` of the run.

        Raises:
            DataError: The file is missing or damaged.
        """
        told = read_json(fingerprint, holds="spec")["spec"]
        try:
            return cls.from_json(told)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                "The fingerprint of a run says what its data set was.",
                file=fingerprint,
                received={"spec": told},
                cure="Copy the run folder again from where it was trained, or train again.",
            ) from error
