"""The figure beside an abstract and the imports below it, as readers meet them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.web.test_pages import PAPER, visit

pytestmark = pytest.mark.browser


def test_a_figure_is_level_with_the_abstract(browser: Browser, address: str) -> None:
    wide, narrow = (visit(browser, address + PAPER, width) for width in (1280, 380))
    tops = "[...document.querySelectorAll('.rows .prose, .drawing')].slice(0, 2)"
    tops += ".map(e => e.getBoundingClientRect()).map(r => [r.top, r.bottom, r.width])"
    prose, figure = wide.evaluate(tops)
    assert abs(prose[0] - figure[0]) < 40
    prose, figure = narrow.evaluate(tops)
    assert 0 < figure[0] - prose[1] < 60
    assert 330 < figure[2] <= 340
    wide.context.close()
    narrow.context.close()


def test_a_part_leads_to_its_section_by_keyboard(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER)
    link = page.locator(".drawing a", has_text="softmax")
    link.focus()
    assert link.evaluate("e => getComputedStyle(e.querySelector('.face')).strokeWidth") == "2px"
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#from-scores-to-weights:target')")
    page.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_what_they_are_on(browser: Browser, address: str, theme: str) -> None:
    """Whichever the theme, a figure is in the page's inks and not in black."""
    page = visit(browser, address + PAPER, theme=theme)
    ink = page.evaluate("getComputedStyle(document.body).color")
    inks = page.evaluate(
        "[...document.querySelectorAll('.drawing .name')].map(e => getComputedStyle(e).fill)"
    )
    page.context.close()
    assert len(inks) > 8
    assert set(inks) == {ink}


def test_imports_unfold_without_a_script_and_on_paper(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER, java_script_enabled=False)
    lines = page.locator(".imports .l")
    assert not lines.first.is_visible()
    page.click(".imports summary")
    assert lines.first.is_visible()
    page.click(".imports summary")
    assert not lines.first.is_visible()
    page.emulate_media(media="print")
    assert lines.last.is_visible()
    page.context.close()
