"""A diagnosis for a terminal: the cause first, then evidence, the line to change, and what was ruled out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.verdict import Crashed, Finding

_WIDTH, _PLACES = 100, 5


def render(diagnosis: Diagnosis) -> str:
    """Plain text; the first line is the answer.

    Example:
        >>> print(render(Diagnosis(())))
        Nothing found: no check could judge.
    """
    folded = diagnosis.folded
    findings = [finding for finding in diagnosis.findings if finding.code not in folded]
    certain = [finding for finding in findings if finding.certain]
    suspected = [finding for finding in findings if not finding.certain and finding.severity != "note"]
    notes = [finding for finding in findings if finding.severity == "note"]
    parts = [_headline(diagnosis, certain, suspected)]
    by_code = {finding.code: finding for finding in diagnosis.findings}
    for number, finding in enumerate(certain, start=1):
        # The headline has said the first one's sentence already.
        said = finding is diagnosis.cause
        parts.append(_finding(finding, f"{number}. " if len(certain) > 1 else "", by_code, said=said))
    if suspected:
        parts.append("Suspected, not certain enough to be called the cause:")
        parts += [_finding(finding, "", by_code) for finding in suspected]
    if notes:
        parts.append("Worth knowing:")
        parts += [_finding(finding, "", by_code) for finding in notes]
    if diagnosis.ruled_out:
        names = ", ".join(f"{verdict.code} {verdict.name}" for verdict in diagnosis.ruled_out)
        parts.append(_wrapped(f"Checked and found healthy: {names}."))
    if diagnosis.not_judged:
        parts.append(_not_judged(diagnosis))
    return "\n\n".join(parts)


def _headline(diagnosis: Diagnosis, certain: list[Finding], suspected: list[Finding]) -> str:
    cause = diagnosis.cause
    if cause is not None:
        place = _place(diagnosis)
        return _wrapped(f"{place}{cause.says}")
    if certain or suspected:
        return "Nothing is proven; see what is suspected below."
    if diagnosis.subject.get("stops"):
        return _wrapped(f"{_place(diagnosis)}fit() will stop: {diagnosis.subject['stops']}")
    if not diagnosis.ruled_out:
        return "Nothing found: no check could judge."
    count = len(diagnosis.ruled_out)
    return f"Nothing found; {count} {'fault was' if count == 1 else 'faults were'} looked for and ruled out."


def _place(diagnosis: Diagnosis) -> str:
    script, line = diagnosis.subject.get("script"), diagnosis.subject.get("fit_line")
    return f"{script}:{line}: " if script else ""


def _finding(finding: Finding, number: str, by_code: dict[str, Finding], *, said: bool = False) -> str:
    lines = [_wrapped(f"{number}{finding.code} {finding.name} ({finding.level} {finding.severity})")]
    if not said:
        lines.append(_wrapped(finding.says, "   "))
    measured = [_pair(name, value) for name, value in finding.measured.items() if value is not None]
    if measured:
        lines.append(_wrapped("measured: " + ", ".join(measured), "   "))
    if finding.where:
        lines += _where(finding.where)
    lines.append(_wrapped(f"fix: {finding.fix}", "   "))
    for code in finding.explains:
        symptom = by_code.get(code)
        lines.append(_wrapped(f"explains {code} {symptom.name if symptom else ''}".rstrip(), "   "))
    return "\n".join(lines)


def _where(places: tuple[str, ...]) -> list[str]:
    """Places on one line, or each on its own where they are many or long: a path is to be copied."""
    more = [f"… and {len(places) - _PLACES} more"] if len(places) > _PLACES else []
    line = "   where: " + ", ".join([*places[:_PLACES], *more])
    if len(line) <= _WIDTH:
        return [line]
    return ["   where:", *(f"     {place}" for place in [*places[:_PLACES], *more])]


def _not_judged(diagnosis: Diagnosis) -> str:
    reasons: dict[str, list[str]] = {}
    for verdict in diagnosis.not_judged:
        reason = f"the check crashed ({verdict.error})" if isinstance(verdict, Crashed) else verdict.because
        reasons.setdefault(reason, []).append(verdict.code)
    lines = [f"{_codes(codes)}: {reason}" for reason, codes in reasons.items()]
    return "Could not be judged:\n" + "\n".join(_wrapped(line, "   ") for line in lines)


def _codes(codes: Iterable[str]) -> str:
    return " ".join(codes)


def _pair(name: str, value: object) -> str:
    label = name.replace("_", " ")
    if isinstance(value, float):
        return f"{label} {value:.4g}"
    if isinstance(value, dict):
        return f"{label} " + " ".join(f"{key}={_plain(entry)}" for key, entry in list(value.items())[:8])
    if isinstance(value, list | tuple):
        return f"{label} " + " ".join(_plain(entry) for entry in value[:8])
    return f"{label} {value}"


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
