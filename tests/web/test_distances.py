"""Lines that can be read and edges that agree, at every width."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.web.test_pages import CHANGES, pages, visit

pytestmark = pytest.mark.browser

PAGES = ["papers/transformers/attention.html", "papers/diffusion/ddpm.html",
         "papers/transformers/llama.html", "site_builder/read/blocks.html"]  # fmt: skip
# All rows are laid out, seen or not.
DRAWN = "document.querySelectorAll('.row').forEach(row => row.style.contentVisibility = 'visible')"
# Letters in the full lines of each paragraph that is words alone.
LETTERS = """[...document.querySelectorAll('.rows .prose > p')].flatMap(p => {
  if (p.querySelector('.katex, code')) return []
  const range = document.createRange()
  range.selectNodeContents(p)
  const widths = new Map()
  for (const box of range.getClientRects()) {
    const top = Math.round(box.top)
    widths.set(top, (widths.get(top) ?? 0) + box.width)
  }
  const lines = [...widths.values()], all = lines.reduce((a, b) => a + b), last = lines.at(-1)
  return lines.length < 3 ? [] : [p.textContent.length * (1 - last / all) / (lines.length - 1)]
}).sort((a, b) => a - b)"""
EDGES = """['h1', '.rows .prose > p', '.record h2', '.record caption'].flatMap(name => {
  const found = document.querySelector(name)
  if (!found) return []
  const range = document.createRange()
  range.selectNodeContents(found)
  return [range.getClientRects()[0].left]
})"""
# Formulas in a line that stick out, and nothing around them scrolls.
CUT = """[...document.querySelectorAll('.katex .base')].filter(base =>
  !base.closest('.math, .table') && base.getBoundingClientRect().right > innerWidth
).map(base => base.closest('p, li, td, dd').textContent.slice(0, 80))"""

# Formulas of their own line that do not fit into it. On a phone they may be moved; here they are
# better written in two.
SCROLLED = """[...document.querySelectorAll('.rows .math')].filter(formula =>
  formula.scrollWidth > formula.clientWidth + 1
).map(formula => formula.querySelector('annotation').textContent.slice(0, 60))"""


@pytest.mark.parametrize("width", [768, 990, 1000, 1280, 1440, 1600, 1920])
def test_lines_are_of_a_readable_length_and_begin_at_one_edge(
    browser: Browser, address: str, width: int
) -> None:
    page = visit(browser, address, width)
    for name in PAGES:
        page.goto(address + name)
        page.evaluate(DRAWN)
        letters = page.evaluate(LETTERS)
        assert letters, name
        assert letters[len(letters) // 2] >= 45, (name, letters)
        assert letters[-1] <= 75, (name, letters)
        edges = page.evaluate(EDGES)
        assert len(edges) >= 2
        assert max(edges) - min(edges) < 2, (name, edges)
    page.context.close()


def test_formulas_fit_beside_the_code(browser: Browser, address: str, site: Path) -> None:
    page = visit(browser, address, 1280)
    formulas = [name for name in pages(site) if '<div class="math">' in (site / name).read_text()]
    assert len(formulas) > 30
    scrolled = {}
    for name in formulas:
        page.goto(address + name)
        page.evaluate(DRAWN)
        scrolled[name] = page.evaluate(SCROLLED)
    page.context.close()
    assert {name: told for name, told in scrolled.items() if told} == {}


def test_nothing_sticks_out_on_the_smallest_phone(
    browser: Browser, address: str, site: Path
) -> None:
    page = visit(browser, address, 320)
    for name in (
        pages(site)[::3]
        + PAGES
        + ["index.html", "all-pages.html", "years.html", "changes.html", CHANGES]
    ):
        page.goto(address + name)
        page.evaluate(DRAWN)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, name
        assert page.evaluate(CUT) == [], name
    page.context.close()


@pytest.mark.parametrize("width", [380, 1280, 1920])
def test_the_scroll_bar_hardly_jumps(browser: Browser, address: str, width: int) -> None:
    """What is not drawn yet is about as high as it will be."""
    for name in PAGES:
        page = visit(browser, address + name, width)
        height = "document.documentElement.scrollHeight"
        before = page.evaluate(height)
        page.evaluate(DRAWN)
        assert before == pytest.approx(page.evaluate(height), rel=0.2), name
        page.context.close()


def test_pictures_keep_their_pixels_square(browser: Browser, address: str, site: Path) -> None:
    page = visit(browser, address, 1280)
    seen = 0
    for name in pages(site):
        if 'class="picture' not in (site / name).read_text():
            continue
        page.goto(address + name)
        page.evaluate("document.querySelectorAll('img').forEach(i => { i.loading = 'eager' })")
        page.evaluate("Promise.all([...document.images].map(i => i.decode()))")
        sizes = page.evaluate(
            """[...document.querySelectorAll('.picture img')].map(
                 i => [i.getBoundingClientRect().width, i.naturalWidth, i.naturalHeight, i.alt,
                       i.classList.contains('vast'), i.closest('.gallery').clientWidth])"""
        )
        for width, natural, height, words, vast, room in sizes:
            if natural > room:
                assert vast, (name, words)
                assert width == room, (name, words)
                continue
            # Tall ones are smaller where one more pixel for each would be too high for a screen.
            assert width >= 400 or height * (width / natural + 1) > 640, (name, words)
            assert (width / natural) % 1 == 0, (name, words, width, natural)
        seen += len(sizes)
    page.context.close()
    assert seen
