"""The report and the diagnosis in a real browser: nothing fetched, nothing complained of, readable at every width."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.report.chromium import Browser, executable
from tests.report.conftest import CLASSES, NASTY

from segnosis.core import discovery
from segnosis.core.run_folder import RunFolder

pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.skipif(executable() is None, reason="no Chromium is installed (Debian: apt install chromium)"),
]
WIDTHS = (1280, 768, 390, 320)
OVERFLOWING = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, .hidden')
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + ' ' + e.textContent.slice(0, 40))"""
CONTRASTS = """(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = rgb => { const [r, g, b] = rgb.map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c.slice(0, 3); } return null; };
  return [...document.querySelectorAll('h1, h2, h3, p, a, li, th, figcaption, summary, code, b, strong, .soft, .badge')]
    .filter(e => e.textContent.trim() && e.offsetParent)
    .map(e => { const a = light(numbers(getComputedStyle(e).color).slice(0, 3)), b = light(behind(e));
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 90)]; })
    .filter(([contrast]) => contrast < 4.5); })()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(params=["report", "diagnosis"])
def page(request: pytest.FixtureRequest, run: RunFolder, why: Path) -> Path:
    return run.report if request.param == "report" else why


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OVERFLOWING) == []


def test_nothing_is_fetched_and_nothing_is_complained_of(browser: Browser, page: Path) -> None:
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(page)
    assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert browser.requests == []
    assert browser.complaints == []


def test_the_browser_itself_refuses_foreign_script_and_network(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.body.insertAdjacentHTML('beforeend', '<p id=p onclick=\"window.ran = 1\">x</p>')")
    browser.run("document.getElementById('p').click()")
    assert browser.run("window.ran === undefined")
    browser.requests.clear()
    assert browser.run("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))") is None
    browser.run("new Promise(done => setTimeout(done, 100))")
    assert browser.run("document.images[document.images.length - 1].naturalWidth") == 0
    browser.complaints.clear()


def test_names_are_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert NASTY in browser.run("document.body.textContent")
    assert browser.run("document.querySelectorAll('script, img[src=x], [onerror], b b').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_paper(browser: Browser, page: Path, scheme: str) -> None:
    browser.open(page, scheme=scheme)
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert browser.run(CONTRASTS) == []


def test_it_prints_on_white_whatever_the_screen(browser: Browser, page: Path) -> None:
    browser.open(page, media="print", scheme="dark")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run(CONTRASTS) == []
    assert browser.run("[...document.querySelectorAll('nav, input')].every(e => e.offsetParent === null)")


def test_the_report_says_what_the_run_holds(browser: Browser, run: RunFolder) -> None:
    browser.open(run.report)
    text = browser.run("document.body.innerText")
    titles = [module.TITLE for module in discovery.units("segnosis.report.sections").values()]
    for word in (*titles, "LAB001", "By object size", "At boundaries", "Invented", "95 %", CLASSES[1]):
        assert word in text, word
    assert browser.run("document.querySelectorAll('#curves + .charts svg').length") == 6
    assert browser.run("document.querySelectorAll('[aria-labelledby=samples] .four').length") == 6
    assert browser.run("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    assert browser.run("document.querySelectorAll('.strip img').length") == 4


def test_the_slider_moves_the_border_by_keyboard(browser: Browser, run: RunFolder) -> None:
    browser.open(run.report)
    slider, truth = "document.querySelector('.slide input')", "document.querySelector('.slide .truth')"
    browser.run(f"{slider}.focus()")
    before = browser.run(f"getComputedStyle({truth}).clipPath")
    for _ in range(10):
        browser.press("ArrowRight", 39)
    assert browser.run(f"{slider}.value") == "60"
    assert browser.run(f"getComputedStyle({truth}).clipPath") != before
    assert browser.run(f"getComputedStyle({slider}).outlineStyle") == "solid"
    assert browser.run(f"{slider}.getAttribute('aria-label')").startswith(browser.run(
        "document.querySelector('.slide img').alt.replace('Image of ', '')"
    ))  # fmt: skip


def test_headings_go_down_one_step_at_a_time(browser: Browser, page: Path) -> None:
    browser.open(page)
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert max(after - before for before, after in itertools.pairwise(levels)) <= 1
