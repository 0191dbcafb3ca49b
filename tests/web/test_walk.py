"""All pages, each opened once: what they ask for, and what does not fit on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.web.test_distances import DRAWN
from tests.web.test_pages import pages

pytestmark = pytest.mark.browser

PARTS = 4
# Letters of the longest line, in each cell of code that does not fit into its column.
LONGEST = """[...document.querySelectorAll('.code pre')]
  .filter(cell => cell.scrollWidth > cell.clientWidth + 1)
  .map(cell => [...cell.querySelectorAll('.l')].map(line => line.textContent.length))
  .map(lengths => Math.max(...lengths))"""
# Formulas of their own line that do not fit into it. On a phone they may be moved; here they are
# better written in two.
SCROLLED = """[...document.querySelectorAll('.rows .math')].filter(formula =>
  formula.scrollWidth > formula.clientWidth + 1
).map(formula => formula.querySelector('annotation').textContent.slice(0, 60))"""
# Formulas in a line that stick out, and nothing around them scrolls.
CUT = """[...document.querySelectorAll('.katex .base')].filter(base =>
  !base.closest('.math, .table') && base.getBoundingClientRect().right > innerWidth
).map(base => base.closest('p, li, td, dd').textContent.slice(0, 80))"""
WIDTH = "document.documentElement.scrollWidth"
LOADED = """(document.querySelectorAll('img').forEach(i => { i.loading = 'eager' }),
  Promise.all([...document.images].map(i => i.decode())))"""
PICTURES = """[...document.querySelectorAll('.picture img')].map(
  i => [i.getBoundingClientRect().width, i.naturalWidth, i.naturalHeight, i.alt,
        i.classList.contains('vast'), i.closest('.gallery').clientWidth])"""


@dataclass(frozen=True)
class Seen:
    """By page: what is too long, and how wide it is on phones."""

    longest: dict[str, list[int]]
    scrolled: dict[str, list[str]]
    pictures: dict[str, list[list[Any]]]
    phone: dict[str, int]
    small_phone: dict[str, int]
    cut: dict[str, list[str]]
    asked: list[str]
    said: list[str]


def look(page: Page, name: str, seen: Seen) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(name)
    seen.longest[name] = page.evaluate(LONGEST)
    page.evaluate(DRAWN)
    seen.scrolled[name] = page.evaluate(SCROLLED)
    if page.query_selector(".picture img"):
        page.evaluate(LOADED)
        seen.pictures[name] = page.evaluate(PICTURES)
    for width, found in ((380, seen.phone), (320, seen.small_phone)):
        page.set_viewport_size({"width": width, "height": 900})
        found[name] = page.evaluate(WIDTH)
    seen.cut[name] = page.evaluate(CUT)


@pytest.fixture(scope="session", params=range(PARTS))
def seen(browser: Browser, address: str, site: Path, request: pytest.FixtureRequest) -> Seen:
    context = browser.new_context(reduced_motion="reduce")
    page, found = context.new_page(), Seen({}, {}, {}, {}, {}, {}, [], [])
    page.on("request", lambda request: found.asked.append(request.url))
    page.on("console", lambda message: found.said.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: found.said.append(f"{page.url}: {error}"))
    for name in pages(site)[request.param :: PARTS]:
        look(page, address + name, found)
    context.close()
    return found


def told(found: dict[str, Any]) -> dict[str, Any]:
    return {name: what for name, what in found.items() if what}


def test_nothing_is_asked_of_others_and_nothing_fails(seen: Seen, address: str) -> None:
    assert len(seen.asked) > 50
    assert [url for url in seen.asked if not url.startswith((address, "data:"))] == []
    assert seen.said == []


def test_code_fits_its_column(seen: Seen) -> None:
    """At 1280 px a line of the house length is seen whole."""
    short = {n: [long for long in each if long <= 100] for n, each in seen.longest.items()}
    assert told(short) == {}


def test_formulas_fit_beside_the_code(seen: Seen) -> None:
    assert told(seen.scrolled) == {}


def test_no_page_scrolls_sideways_on_a_phone(seen: Seen) -> None:
    assert {name: width for name, width in seen.phone.items() if width > 380} == {}
    assert {name: width for name, width in seen.small_phone.items() if width > 320} == {}
    assert told(seen.cut) == {}


def test_pictures_keep_their_pixels_square(seen: Seen) -> None:
    assert seen.pictures
    for name, sizes in seen.pictures.items():
        for width, natural, height, words, vast, room in sizes:
            if natural > room:
                assert vast, (name, words)
                assert width == room, (name, words)
                continue
            # Tall ones are smaller where one more pixel for each would be too high for a screen.
            assert width >= 400 or height * (width / natural + 1) > 640, (name, words)
            assert (width / natural) % 1 == 0, (name, words, width, natural)
