"""`make docs`: the reference written from the code, then the site, with every dead link an error.

What code says about itself is not said twice: check pages, losses, metrics, models, readers, transforms and the
command line are generated and committed, so that they can be read in the repository; a stale page is red
(`tests/house/test_docs.py`). The other pages are written by hand.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from segnosis.core import discovery
from segnosis.doctor.check import FAMILIES, Check, all_checks

DOCS = Path(__file__).parent
_MARK = "<!-- Written by docs/build.py from the code; edit the code, then `make docs`. -->\n\n"
_FAMILY_TITLES = dict(
    zip(
        FAMILIES,
        (
            "Data", "Labels", "Preprocessing and augmentation", "Head", "Loss", "Metric", "Normalization",
            "Optimization", "Outcome", "Evaluation",
        ),
        strict=True,
    )
)  # fmt: skip
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example|Reference|Yields):$")


def pages() -> dict[str, str]:
    """Every generated page: path below `docs/` → text."""
    made = {
        "reference/checks.md": _checks(),
        "reference/thresholds.md": _thresholds(),
        "reference/evidence.md": _evidence(),
        "reference/commands.md": _commands(),
        **{f"reference/checks/{check.code}.md": _check(check) for check in all_checks()},
    }
    for family, package, intro in (
        ("losses", "segnosis.losses", "Keras losses, usable in any `model.compile`: `segnosis.losses.Dice()`."),
        ("metrics", "segnosis.metrics", "Keras metrics, usable in any `model.compile`: `segnosis.metrics.MeanIoU()`."),
        ("models", "segnosis.models", "Functions that return a plain functional `keras.Model` emitting logits."),
        ("transforms", "segnosis.data.transforms", "Changes of an image and its mask, for `segnosis.data.feed`."),
    ):
        made[f"reference/{family}.md"] = _family(family, package, intro)
    made["reference/readers.md"] = _readers()
    made["reference/fault-table.md"] = _fault_table()
    made["reference/losses-metrics-measured.md"] = _losses_metrics()
    return {name: _MARK + text.rstrip("\n") + "\n" for name, text in made.items()}


def write() -> None:
    """Write the generated pages that changed, and remove those nothing makes any more."""
    made = pages()
    for name, text in made.items():
        file = DOCS / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    for file in (DOCS / "reference").rglob("*.md"):
        if file.relative_to(DOCS).as_posix() not in made:
            file.unlink()
            print(f"removed docs/{file.relative_to(DOCS)}")


def dead_links(page: Path) -> Iterator[str]:
    """Links of a Markdown page that lead to no file, or to no heading of it; those into the network are left alone."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            yield target


def build_site(site: Path) -> list[str]:
    """Build the site into a folder that is made anew; returns its dead links.

    What a theme or an extension makes of a heading, and the links that they add, only the built pages tell.
    """
    from mkdocs.commands import build
    from mkdocs.config import load_config

    build.build(load_config(str(DOCS.parent / "mkdocs.yml"), strict=True, site_dir=str(site)))
    return dead_in_site(site)


def dead_in_site(site: Path) -> list[str]:
    """Links of built pages that lead to no file, or to no anchor of it."""
    built = {file: _Links(file) for file in site.rglob("*.html")}
    return [
        f"{file.relative_to(site)}: {target}"
        for file, page in sorted(built.items())
        for target in page.targets
        if not _leads_somewhere(target, file, site, built)
    ]


def _leads_somewhere(target: str, file: Path, site: Path, built: dict[Path, _Links]) -> bool:
    url = urlsplit(target)
    if url.scheme or url.netloc:  # the network is left alone
        return True
    if file.name == "404.html" and url.path.startswith("/"):  # shown under any address, so its links start at the root
        there = site / unquote(url.path).lstrip("/")
    else:
        there = (file.parent / unquote(url.path)).resolve() if url.path else file
    there = there / "index.html" if there.is_dir() else there
    anchor = unquote(url.fragment)
    return there.is_file() and (anchor in ("", "top") or there not in built or anchor in built[there].anchors)


class _Links(HTMLParser):
    """What a page of the site links to, and the anchors it has."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect `href` and `src`, `id`, and the old `name` of a link."""
        given = dict(attrs)
        self.targets += [given[name] or "" for name in ("href", "src") if name in given]
        self.anchors |= {given[name] or "" for name in ("id", "name") if name in given}


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


# Checks


def _checks() -> str:
    text = "# Checks\n\nOne check is one fault. They stand in causal order: what is first can cause what follows.\n"
    for family, title in _FAMILY_TITLES.items():
        found = [check for check in all_checks() if check.code.startswith(family)]
        if found:
            rows = [(f"[{c.code}](checks/{c.code}.md)", c.name, c.severity, f"{c.title}.") for c in found]
            text += f"\n## {title}\n\n" + _table(("Code", "Name", "Severity", "What is wrong"), rows)
    return text


def _check(check: Check) -> str:
    title, _, page = check.page.partition("\n")
    facts = [f"**Severity:** {check.severity}."]
    facts.append(f"**Evidence it needs:** {_names(check.needs)}.")
    if check.wants:
        facts.append(f"**Evidence it uses when there is some:** {_names(check.wants)}.")
    if check.explained_by:
        facts.append(f"**Folded under:** {_names(check.explained_by)}, when one of them is certain.")
    text = f"# {check.code} {check.name}\n\n{title}\n\n" + "\n".join(f"- {fact}" for fact in facts) + f"\n{page}\n"
    if check.thresholds:
        rows = [(f"`{name}`", f"`{value!r}`") for name, value in check.thresholds.items()]
        text += "\n## Thresholds\n\n" + _table(("Name", "Default"), rows)
    return text


def _thresholds() -> str:
    rows = [
        (f"[{check.code}](checks/{check.code}.md)", check.name, f"`{name}`", f"`{value!r}`")
        for check in all_checks()
        for name, value in check.thresholds.items()
    ]
    intro = "Keyword thresholds of the checks and their defaults; what each decides stands on the check's page.\n\n"
    return "# Thresholds\n\n" + intro + _table(("Check", "Name", "Threshold", "Default"), rows)


def _evidence() -> str:
    rows = [
        (f"`{name}`", module.PRICE, _first_line(module))
        for name, module in discovery.units("segnosis.doctor.evidence").items()
    ]
    intro = (
        "What the doctor measures, each once for all checks that ask for it. What a price means stands in\n"
        "[How the doctor decides](../how-the-doctor-decides.md#what-evidence-costs).\n\n"
    )
    return "# Evidence\n\n" + intro + _table(("Name", "Price", "What it measures"), rows)


# The command line


_FIGURES = (
    ("top_1", "planted", "planted faults whose cause was named first"),
    ("detected", "planted", "planted faults among the findings"),
    ("both_named", "compound", "programs with two faults, both named"),
    ("false_alarms", "healthy", "healthy programs with a proven or confirmed finding"),
    ("suspected_on_healthy", "healthy", "healthy programs with a suspected finding"),
)


def _fault_table() -> str:
    """What `python -m benchmarks.doctor` stored, failures included."""
    page = ast.get_docstring(ast.parse((DOCS.parent / "benchmarks/doctor/__init__.py").read_text("utf-8"))) or ""
    text = "# The doctor's fault table\n\n" + page.split("\n\n", 1)[1] + "\n"
    for file in sorted((DOCS.parent / "benchmarks" / "results").glob("doctor[-.]*json")):
        stored = json.loads(file.read_text("utf-8"))
        if file.stem == "doctor-truth":
            text += _truth(stored)
            continue
        rows = [(what, str(stored[name]), str(stored[of])) for name, of, what in _FIGURES if stored[of]]
        seconds = f"{stored['median_seconds']} s median, {stored['slowest_seconds']} s slowest"
        text += f"\n## {stored['title']}\n\n`{stored['command']}`, {stored['backend']}, Keras {stored['keras']}; "
        if stored["left_out_for_time"]:
            seconds += f"; cut short by the clock, {stored['left_out_for_time']} programs were not begun"
        text += f"{seconds}, on a shared, busy machine.\n\n" + _table(("Figure", "Found", "Of"), rows) + "\n"
        per_fault = [
            (f"[{code}](checks/{code}.md)", *(str(row[name]) for name in ("programs", "top_1", "detected", "seconds")))
            for code, row in stored["per_fault"].items()
        ]
        text += _table(("Fault", "Programs", "Cause right", "Detected", "Seconds, median"), per_fault)
        failed = [
            (f"`{one['program']}`", ", ".join(one["codes"]) or "healthy", ", ".join(_said(one)) or "nothing")
            for one in stored["failures"]
        ]
        text += "\nWhat went wrong, in full (suspected findings in brackets):\n\n" if failed else ""
        text += _table(("Program", "Deserved", "Said"), failed) if failed else ""
    return text


def _losses_metrics() -> str:
    """What `python -m benchmarks losses_metrics` stored."""
    benchmarks = DOCS.parent / "benchmarks"
    page = ast.get_docstring(ast.parse((benchmarks / "losses_metrics.py").read_text("utf-8"))) or ""
    stored = json.loads((benchmarks / "results" / "losses_metrics.json").read_text("utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in stored["versions"].items())
    text = "# Losses and metrics, measured\n\n" + page.split("\n\n", 2)[2]
    text += f"\n\n`{stored['command']}`, {stored['rounds']} rounds on {stored['machine']}: {versions}.\n"
    for title, contenders in stored["tables"].items():
        rows = [
            (name, f"{row['seconds']:.3f}", f"{row['faster_than_best_peer']:.2f} ×", f"{row['megabytes']:.0f}")
            for name, row in contenders.items()
        ]
        text += f"\n## {title}\n\n" + _table(("", "Seconds", "The best peer's time over this", "Peak MB"), rows)
    return text


def _said(one: dict[str, Any]) -> list[str]:
    failed = [one["failed"]] if one["failed"] else []
    return [*one["certain"], *(f"({code})" for code in one["suspected"]), *one["crashed"], *failed]


def _truth(stored: list[dict[str, Any]]) -> str:
    """Which planted faults do harm, by training them beside their twins."""
    rows = [
        (f"`{one['fault']}`", one["code"], str(one.get("planted", "")), str(one.get("twin", "")),
         {True: "yes", False: "none here, not scored"}.get(one["harm"], one.get("why", "")))
        for one in stored
    ]  # fmt: skip
    text = "\n## Do the planted faults do harm?\n\n`python -m benchmarks.doctor --prove-truth`: foreground Dice on "
    text += "held-out images after a short training, of the planted program and of its healthy twin, by seed.\n\n"
    return text + _table(("Planted", "Fault", "Dice planted", "Dice of the twin", "Harm"), rows)


def _commands() -> str:
    from typer.testing import CliRunner

    from segnosis.cli.main import application

    app, runner = application(), CliRunner()
    text = "# The command line\n\nExit codes as linters have them: 0 healthy, 1 findings, 2 failed or used wrongly.\n"
    for words in ([], *([name.rstrip("_").replace("_", "-")] for name in discovery.names("segnosis.cli"))):
        shown = runner.invoke(app, [*words, "--help"], env={"COLUMNS": "100"}).stdout.strip()
        text += f"\n## {' '.join(['segnosis', *words])}\n\n```text\n{shown}\n```\n"
    return text


# Losses, metrics, models, transforms, readers


def _family(family: str, package: str, intro: str) -> str:
    text = f"# {family.capitalize()}\n\n{intro}\n"
    for unit, module in discovery.units(package).items():
        public = [
            (name, value)
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__ and name.lower() == unit.replace("_", "")
        ] or [(unit, getattr(module, unit, None))]
        for name, value in public:
            if value is not None:
                text += f"\n## {name}\n\n```python\n{package}.{name}{_signature(value)}\n```\n\n{_markdown(value)}\n"
    return text


def _readers() -> str:
    text = "# Readers\n\n`segnosis.data.open(path)` recognises the layout; `reader=` forces one.\n"
    for name in discovery.names("segnosis.data.readers"):
        module = importlib.import_module(f"segnosis.data.readers.{name}")
        text += f"\n## {name}\n\n{inspect.getdoc(module)}\n\nIt looks for {module.LOOKS_FOR}.\n"
    return text


def _signature(value: Any) -> str:
    parameters = inspect.signature(value).parameters.values()
    parts, starred = [], False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts, starred = [*parts, "*"], True
        parts.append(parameter.name + ("" if parameter.default is parameter.empty else f"={parameter.default!r}"))
    line = f"({', '.join(parts)})"
    return line if len(line) < 80 else "(\n    " + ",\n    ".join(parts) + ",\n)"


def _markdown(value: Any) -> str:
    """A Google-style docstring as Markdown."""
    out: list[str] = []
    section, prompt = "", False
    for line in (inspect.getdoc(value) or "").splitlines():
        match = _SECTION.match(line)
        text = line.removeprefix("    ") if section else line
        if prompt and (match or not text):
            out.append("```")
            prompt = False
        elif text.startswith(">>>") and not prompt:
            out.append("```pycon")
            prompt = True
        if match:
            section = match[1]
            out += ["", f"**{section}**", ""]
        elif section in ("Args", "Attributes", "Raises"):
            item = re.match(r"(\w[\w, *]*): (.*)", text)
            out.append(f"- `{item[1]}`: {item[2]}" if item else f"  {text.strip()}".rstrip())
        else:
            out.append(text)
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*out, "```"] if prompt else out)).strip()


def _first_line(module: Any) -> str:
    page = ast.get_docstring(ast.parse(inspect.getsource(module))) or ""
    return page.split("\n", 1)[0]


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main() -> int:
    """Write the reference, then the site into `site/`."""
    write()
    dead = [
        f"{page.relative_to(DOCS.parent)}: {link}" for page in sorted(DOCS.rglob("*.md")) for link in dead_links(page)
    ]
    if dead:
        print("dead links:\n" + "\n".join(dead), file=sys.stderr)
        return 1
    site = DOCS.parent / "site"
    if dead := build_site(site):
        print("dead links of the site:\n" + "\n".join(dead), file=sys.stderr)
        return 1
    print(f"site/index.html ({len(list(site.rglob('*.html')))} pages)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
