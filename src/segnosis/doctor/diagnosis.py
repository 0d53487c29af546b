"""The doctor's whole answer: one frozen object that terminal, HTML and JSON all read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from segnosis.core.errors import ArgumentError
from segnosis.doctor.verdict import AnyVerdict, Crashed, Finding, Healthy, NotApplicable

_KINDS = {"finding": Finding, "healthy": Healthy, "not_applicable": NotApplicable, "crashed": Crashed}


@dataclass(frozen=True)
class Diagnosis:
    """Findings in causal order, and everything that was looked at besides.

    Attributes:
        verdicts: One per check, in causal order.
        subject: What was examined: numbers of samples, the head, the loss, the script's line; plain values by name.
        seconds: Wall time of the examination.
    """

    verdicts: tuple[AnyVerdict, ...]
    subject: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, causes first: certain ones, then suspected, then those folded under a cause, then notes."""
        found = [verdict for verdict in self.verdicts if isinstance(verdict, Finding)]
        folded = self.folded

        def rank(finding: Finding) -> tuple[bool, bool, bool]:
            return (finding.severity == "note", not finding.certain, finding.code in folded)

        return tuple(sorted(found, key=rank))

    @property
    def folded(self) -> frozenset[str]:
        """Codes of findings that another finding explains."""
        return frozenset(code for verdict in self.verdicts if isinstance(verdict, Finding) for code in verdict.explains)

    @property
    def cause(self) -> Finding | None:
        """The first proven or confirmed finding that nothing else explains, or `None`."""
        certain = [finding for finding in self.findings if finding.certain]
        return next((finding for finding in certain if finding.code not in self.folded), None)

    @property
    def healthy(self) -> bool:
        """True when nothing is proven or confirmed."""
        return not any(finding.certain for finding in self.findings)

    @property
    def ruled_out(self) -> tuple[Healthy, ...]:
        """Checks that looked and found nothing."""
        return tuple(verdict for verdict in self.verdicts if isinstance(verdict, Healthy))

    @property
    def not_judged(self) -> tuple[NotApplicable | Crashed, ...]:
        """Checks that could not judge, with the reason."""
        return tuple(verdict for verdict in self.verdicts if isinstance(verdict, NotApplicable | Crashed))

    def to_json(self) -> dict[str, object]:
        """Plain JSON form, inverse of `from_json`."""
        kind = {cls: name for name, cls in _KINDS.items()}
        return {
            "healthy": self.healthy,
            "cause": self.cause.code if self.cause else None,
            "subject": dict(self.subject),
            "seconds": self.seconds,
            "verdicts": [{"kind": kind[type(verdict)], **asdict(verdict)} for verdict in self.verdicts],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Diagnosis:
        """Rebuild from `to_json`, for a diagnosis made yesterday on another machine."""
        verdicts = []
        for entry in data["verdicts"]:  # type: ignore[attr-defined]
            fields = {
                key: tuple(value) if isinstance(value, list) and key != "measured" else value
                for key, value in entry.items()
                if key != "kind"
            }
            verdicts.append(_KINDS[entry["kind"]](**fields))
        return cls(tuple(verdicts), dict(data["subject"]), float(data["seconds"]))  # type: ignore[arg-type, call-overload]

    def save(self, path: str | Path) -> Path:
        """Write `path`, `.html` or `.json` by its suffix, whole or not at all."""
        from segnosis.core.run_folder import write_text

        path = Path(path)
        if path.suffix == ".json":
            return write_text(path, json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n")
        if path.suffix in (".html", ".htm"):
            return write_text(path, _renderer("html").render(self))
        raise ArgumentError(
            "A diagnosis is saved as `.html` or `.json`.", received={"path": str(path)}, cure="Name it `why.html`."
        )

    def __str__(self) -> str:
        return str(_renderer("text").render(self))


def _renderer(name: str):  # type: ignore[no-untyped-def]
    """The report floor lies above this one, so it is asked for by name and only when a person wants to read."""
    import importlib

    return importlib.import_module(f"segnosis.report.diagnosis_{name}")
