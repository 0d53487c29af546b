"""The plan: everything that will happen in a run, as one YAML file a person can read and edit."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from segnosis.core.errors import ArgumentError, DataError, did_you_mean
from segnosis.core.run_folder import write_text

_MOST = 10_000_000
"""Epochs, and steps an epoch, that nobody means to exceed."""
_Side = Annotated[int, Field(ge=1)]
_Weight = Annotated[FiniteFloat, Field(ge=0)]


class Plan(BaseModel):
    """Everything that will happen, decided beforehand.

    `segnosis plan DATA -o plan.yaml` writes one, `segnosis train --plan plan.yaml` follows it, and
    `segnosis.train(plan)` does the same from Python. Every field may be edited; `reasons` says why each was chosen.

    Example:
        >>> plan = Plan(data="heart", model="unet", size=(192, 192))
        >>> plan.batch_size, plan.optimizer
        (8, 'adamw')
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    # Data
    data: str
    reader: str | None = None
    class_names: tuple[str, ...] | None = None
    ignore_class: int | None = None
    nan: float | None = Field(None, description="number that NaN and infinite pixels are read as; an error if null")
    seed: int = Field(0, ge=0)
    fold: tuple[int, int] | None = Field(None, description="number and count, as 2 of 5: that fold is held out")
    size: tuple[_Side, _Side] = Field((256, 256), description="height and width of a training image, pixels")
    fit_to_size: Literal["crop", "resize"] = "crop"
    augment: Literal["none", "light", "default", "strong"] = "default"
    batch_size: int = Field(8, ge=1)
    unreadable: Literal["stop", "skip"] = "stop"
    foreground_share: float = Field(0.0, ge=0.0, le=1.0, description="share of crops centred on a foreground pixel")

    # Model
    model: str = "unet"
    model_arguments: dict[str, Any] = Field(default_factory=dict)
    preprocessing: Literal["scale", "standardize", "backbone", "none"] = Field(
        "scale", description="first layer; `backbone`: what the backbone's published weights expect"
    )
    intensity: tuple[FiniteFloat, FiniteFloat] = Field(
        (0.0, 255.0), description="pixel values mapped to the ends of the range"
    )
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    normalization_momentum: float = Field(
        0.9, ge=0.0, lt=1.0, description="share of the old statistics BatchNormalization keeps at each step"
    )

    weights: str | None = Field(None, description="file of weights to start from, as `load_weights` reads them")
    weights_into: Literal["model", "backbone"] = "model"
    frozen: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="layers by name: for how many epochs they stay as they are"
    )
    thawed_rate: float = Field(0.1, gt=0.0, le=1.0, description="factor on the learning rate once frozen layers learn")

    # Training
    losses: dict[str, _Weight] = Field(
        default_factory=lambda: {"CrossEntropy": 1.0, "Dice": 1.0},
        min_length=1,
        description="losses by name, each with its weight",
    )
    class_weights: tuple[_Weight, ...] | None = None
    optimizer: Literal["adamw", "adam", "sgd", "adadelta"] = "adamw"
    learning_rate: FiniteFloat = Field(1e-3, gt=0)
    weight_decay: FiniteFloat = Field(1e-4, ge=0)
    schedule: Literal["cosine", "polynomial", "constant"] = "cosine"
    warmup_share: float = Field(0.05, ge=0.0, lt=1.0, description="share of all steps with a rising rate")
    clip_norm: float | None = Field(None, gt=0)
    accumulate: int = Field(1, ge=1, description="batches whose mean gradient makes one update")
    average: float | None = Field(
        None, gt=0.0, lt=1.0, description="momentum of the weights' running mean, which is then validated and kept"
    )
    recompute_statistics: bool = Field(
        True, description="BatchNormalization: means over many batches for the final weights, where they score no worse"
    )
    statistics_batches: int = Field(24, ge=1, description="batches for those means")
    epochs: int = Field(50, ge=1, le=_MOST)
    steps_per_epoch: int | None = Field(None, ge=1, le=_MOST)
    minutes: FiniteFloat | None = Field(None, gt=0, description="wall-clock budget of the whole command")
    patience: int | None = Field(None, ge=1, description="epochs without a better validation score before stopping")

    # Evaluation
    window: tuple[_Side, _Side] | None = Field(
        None, description="tile of whole-image prediction; the training size if null"
    )
    overlap: float = Field(0.25, ge=0.0, lt=1.0)
    mirror: bool = Field(False, description="average predictions over left-right and up-down mirror images")
    review: bool = Field(True, description="look for doubtful masks among the validation images, too")

    reasons: dict[str, str] = Field(default_factory=dict, exclude=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _explain(error) from error

    def with_(self, reasons: Mapping[str, str] | None = None, **changes: Any) -> Plan:
        """A copy with some fields changed, and why."""
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "reasons"}
        return Plan(**{**fields, **changes}, reasons={**self.reasons, **(reasons or {})})

    def to_yaml(self) -> str:
        """One line a decision; the reason stands above it as a comment."""
        lines = ["# What `segnosis train` will do. Edit any line, then: segnosis train --plan THIS_FILE"]
        for name, value in self.model_dump(mode="json").items():
            if reason := self.reasons.get(name):
                lines += [f"# {part}" for part in textwrap.wrap(reason, 110)]
            lines.append(f"{name}: {_inline(value)}")
        return "\n".join(lines) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write `to_yaml` whole or not at all."""
        return write_text(Path(path), self.to_yaml())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan; a wrong name or value is one clear error that names the file."""
        path = Path(path)
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise DataError(
                "A plan is a readable YAML file.",
                file=path,
                received={"problem": " ".join(str(error).split())},
                cure="Write a fresh one with `segnosis plan DATA -o plan.yaml`.",
            ) from error
        if not isinstance(values, dict):
            raise DataError(
                "A plan is a YAML mapping of `name: value` lines.",
                file=path,
                received={"content": values},
                cure="Write a fresh one with `segnosis plan DATA -o plan.yaml`.",
            )
        try:
            return cls(**values, reasons=_reasons(path.read_text(encoding="utf-8")))
        except ArgumentError as error:
            raise DataError(error.expected, file=path, received=error.received, cure=error.cure) from error

    def lines(self) -> list[tuple[str, str, str]]:
        """`(name, value, reason)` of every decision, for a table."""
        values = self.model_dump(mode="json")
        return [(name, _inline(value), self.reasons.get(name, "")) for name, value in values.items()]


def _reasons(text: str) -> dict[str, str]:
    """The comment lines right above each `name: value` line."""
    reasons: dict[str, str] = {}
    comment: list[str] = []
    for line in text.splitlines()[1:]:
        if line.startswith("# "):
            comment.append(line[2:])
            continue
        if comment and ":" in line:
            reasons[line.split(":", 1)[0]] = " ".join(comment)
        comment = []
    return reasons


def _inline(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).removesuffix("...\n").strip()
    )


def _explain(error: ValidationError) -> ArgumentError:
    """The first problem pydantic found, as expectation, received value and cure."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "plan"
    if first["type"] == "extra_forbidden":
        return ArgumentError(
            f"A plan has no field `{name}`.",
            received={name: first["input"]},
            cure=did_you_mean(name, [field for field in Plan.model_fields if field != "reasons"]),
        )
    if first["type"] == "missing":
        return ArgumentError(f"A plan needs the field `{name}`.", cure=f"Add a line `{name}: …`.")
    field = Plan.model_fields.get(str(first["loc"][0])) if first["loc"] else None
    meaning = f" ({field.description})" if field is not None and field.description else ""
    return ArgumentError(
        f"`{name}`{meaning} is wrong: {first['msg'][:1].lower()}{first['msg'][1:]}.",
        received={name: first["input"]},
        cure=f"Correct that value, or leave `{name}` out to have it chosen.",
    )
