"""A page in another language, as its readers have it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.web.test_pages import AXE, visit
from tests.web.test_search import found, look_for

pytestmark = pytest.mark.browser

OURS, THEIRS = "papers/optimizers/adam.html", "zh/papers/optimizers/adam.html"


def test_a_switch_leads_from_each_language_to_the_other(browser: Browser, address: str) -> None:
    page = visit(browser, address + OURS + "#the-update")
    links = page.locator("link[hreflang]")
    assert [link.get_attribute("hreflang") for link in links.all()] == ["en", "x-default", "zh"]
    page.get_by_role("link", name="中文").click()
    page.wait_for_url(f"**/{THEIRS}")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    assert [link.get_attribute("hreflang") for link in links.all()] == ["en", "x-default", "zh"]
    expect(page.locator("#the-update h3")).to_have_text("更新")
    expect(page.locator("button.theme")).to_have_text("配色：跟随系统")
    # The letters of a table of sizes are alive, though its head is in Chinese.
    expect(page.locator("[data-size]")).to_have_text(["B"])
    page.get_by_role("link", name="English").click()
    page.wait_for_url(f"**/{OURS}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_a_translation_is_for_everybody(
    browser: Browser, address: str, width: int, scheme: str
) -> None:
    page = browser.new_page(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.goto(address + THEIRS)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then(r => r.violations.map(v => v.id + v.nodes[0].html))")
    assert found == []


def test_words_of_a_language_without_blanks_are_found(browser: Browser, address: str) -> None:
    page = visit(browser, address + THEIRS)
    look_for(page, "偏差修正")
    ((title, sections),) = found(page)
    assert title == "Adam"
    assert "偏差修正" in sections
    page = visit(browser, address + THEIRS)
    # Its signs stand on the page, and nowhere beside each other.
    look_for(page, "习修")
    assert found(page) == []
    page = visit(browser, address + THEIRS)
    look_for(page, "rotary")
    assert found(page)[0][0] == "Rotary positions", "what is not translated is found too"
    page = visit(browser, address + OURS)
    look_for(page, "偏差")
    assert found(page) == [], "what is in another language is for its readers"
