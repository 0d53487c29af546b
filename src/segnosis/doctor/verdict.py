"""What a check can say. Frozen data: measuring, judging and rendering are three rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["proven", "confirmed", "suspected"]
Severity = Literal["error", "warning", "note"]
Measured = Mapping[str, object]
"""Plain numbers and strings by name, or lists and mappings of them: what JSON can say."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault, with the numbers that show it and the line that mends it.

    A check fills `says`, `measured`, `fix`, `where` and `level`; `code`, `name`, `severity` are stamped on by the
    engine from the check's module, and `explains` once all checks have spoken.

    Attributes:
        says: One sentence, what is seen, with numbers.
        measured: Plain numbers and strings by name; the same keys a healthy verdict of this check has.
        fix: What to do, with the literal line of code or command.
        where: Files, samples or layers, by name, the worst first.
        level: `"proven"` (a contradiction), `"confirmed"` (the fix won a matched training) or `"suspected"`.
        independent: Whether it follows from the configuration alone, whatever data and gradients are: no other finding
            explains it then.
        pictures: Names of pictures that `report` can draw for this finding, with what each needs (plain data).
    """

    says: str
    measured: Measured
    fix: str
    where: tuple[str, ...] = ()
    level: Level = "proven"
    severity: Severity = "error"
    code: str = ""
    name: str = ""
    explains: tuple[str, ...] = ()
    pictures: tuple[Mapping[str, object], ...] = ()
    independent: bool = False

    @property
    def certain(self) -> bool:
        """Whether this may be printed as *why*: proven or confirmed, and more than a note."""
        return self.level in ("proven", "confirmed") and self.severity != "note"


@dataclass(frozen=True, slots=True)
class Healthy:
    """The check looked and found nothing; `measured` says what it saw."""

    measured: Measured = field(default_factory=dict)
    code: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The check could not judge, and why: no model given, too few samples, dearer than the budget."""

    because: str
    code: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Crashed:
    """The check or its evidence raised; the others went on."""

    error: str
    traceback: str
    code: str = ""
    name: str = ""


Verdict = Finding | Healthy | NotApplicable
AnyVerdict = Finding | Healthy | NotApplicable | Crashed
