"""Lines that can be read and edges that agree, at every width."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.web.test_pages import visit

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
