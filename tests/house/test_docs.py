"""Documents are fresh, lead nowhere dead, and every command and snippet in them runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from docs.build import DOCS, build_site, dead_in_site, dead_links, pages
from tests.house.reader import ROOT, Reader, blocks

from segnosis.data import readers
from segnosis.doctor.evidence import rate_trials
from segnosis.training import planner
from segnosis.training.fit import Fitted
from segnosis.training.plan import Plan

REFERENCE = sorted((DOCS / "reference").rglob("*.md"))
BY_HAND = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted({*DOCS.rglob("*.md")} - {*REFERENCE})]
pytestmark = pytest.mark.one_backend


def test_generated_pages_are_fresh() -> None:
    made = pages()
    there = {file.relative_to(DOCS).as_posix() for file in (DOCS / "reference").rglob("*.md")}
    stale = [name for name in made if not (DOCS / name).exists() or (DOCS / name).read_text("utf-8") != made[name]]
    assert not stale and there == set(made), f"run `make docs`: {stale}, left over {sorted(there - set(made))}"


@pytest.mark.parametrize("page", [*BY_HAND, *REFERENCE], ids=lambda page: page.stem)
def test_no_link_is_dead(page: Path) -> None:
    assert list(dead_links(page)) == []


def test_the_built_site_has_no_dead_link_or_anchor(tmp_path: Path) -> None:
    assert build_site(tmp_path / "site") == []


def test_dead_links_and_anchors_of_a_site_are_found(tmp_path: Path) -> None:
    links = ("b.html#there", "b.html#not-there", "c.html", "#own", "sub/", "https://example.org/#x")
    text = "".join(f'<a href="{link}">' for link in links)
    (tmp_path / "a.html").write_text(f'<h1 id="own">{text}<img src="no.png">', encoding="utf-8")
    (tmp_path / "b.html").write_text('<h2 id="there">', encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text('<a href="../a.html#own">', encoding="utf-8")
    assert dead_in_site(tmp_path) == [f"a.html: {link}" for link in ("b.html#not-there", "c.html", "no.png")]


def test_every_picture_is_small() -> None:
    for picture in (DOCS / "pictures").glob("*"):
        assert picture.stat().st_size < 300_000, picture.name


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [page for page in BY_HAND if blocks(page)], ids=lambda page: page.stem)
def test_every_command_and_snippet_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(planner, "plan", partial(_small_plan, planner.plan))
    monkeypatch.setattr(readers, "__path__", list(readers.__path__))  # a page adds a reader of its own
    for limit in ("_PATIENCE", "_WALL"):  # a page shows what is found where the machine is not too busy to look
        monkeypatch.setattr(rate_trials, limit, float("inf"))
    monkeypatch.setattr(Fitted, "probes_fit", False)  # `tests/jobs` has the doctor look at a whole run
    Reader(tmp_path).read(page)


def _small_plan(make: Callable[..., Plan], *args: object, **kwargs: object) -> Plan:
    """The same decisions for a network that learns nothing, but soon.

    Its rate is of a usual size on average; where it is not, the doctor makes hundreds of steps to say so.
    """
    return make(*args, **kwargs).with_(
        model_arguments={"width": 4, "depth": 2},
        size=(32, 32),
        window=(32, 32),
        steps_per_epoch=2,
        learning_rate=3e-3,
        schedule="constant",
        warmup_share=0.0,
        precision="float32",
        mirror=False,
    )
