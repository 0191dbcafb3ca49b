"""What each line makes, as readers ask for it: by mouse, keyboard or finger, or of all at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.test_pages import AXE, MODES, PAPER, painted, visit
from tests.web.test_touch import CARD, line_of, place

pytestmark = pytest.mark.browser

LINE = "real = torch.arange(S"
# A row that is out of sight has no style yet.
SAID = """n => {
  const line = document.getElementById('L' + n)
  line.scrollIntoView({block: 'center'})
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
    done(getComputedStyle(line, '::after').content))))
}"""


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = visit(browser, address + PAPER)
    yield page
    page.context.close()


def cells(page: Page) -> list[str]:
    return page.locator("#-card .strip i").all_text_contents()


def test_the_pointer_that_rests_on_a_name_has_its_shape(page: Page) -> None:
    page.mouse.move(*place(page, LINE, "real"))
    card = page.locator("#-card")
    expect(card).to_be_visible()
    assert "(B, S)" in card.inner_text()
    assert "2×7, bool" in card.inner_text()
    assert cells(page) == ["1"] * 7
    # Where the name is used it is what it was made last.
    page.mouse.move(2, 300)
    expect(card).to_be_hidden()
    page.mouse.move(*place(page, "return real[", "real"))
    expect(card).to_be_visible()
    assert "2×7, bool" in card.inner_text()


def test_a_line_without_a_comment_has_it_and_so_has_what_it_returns(page: Page) -> None:
    page.mouse.move(*place(page, "return real[", "return"))
    expect(page.locator("#-card")).to_be_visible()
    assert "2×1×1×7, bool" in page.evaluate(CARD)
    page.mouse.move(2, 300)
    page.mouse.move(*place(page, "self.query = nn.Linear", "self"))
    page.mouse.move(*place(page, "self.query = nn.Linear", "query"))
    expect(page.locator("#-card")).to_contain_text("Linear, 144 parameters")


def test_the_numbers_are_stepped_by_mouse(page: Page) -> None:
    page.mouse.click(*place(page, LINE, "real"))
    strip = page.locator("#-card .strip")
    expect(strip).to_contain_text("real[0] of 2")
    assert cells(page) == ["1"] * 7
    page.locator("#-card button[aria-label=Next]").click()
    expect(strip).to_contain_text("real[1] of 2")
    assert cells(page) == ["1"] * 4 + ["0"] * 3
    expect(page.locator("#-status")).to_have_text("real[1] of 2: 1 1 1 1 0 0 0")
    page.locator("#-card button[aria-label=Next]").click()
    expect(strip).to_contain_text("real[0] of 2")
    page.keyboard.press("Escape")
    expect(strip).to_be_hidden()


def test_the_keyboard_reaches_lines_and_steps(page: Page) -> None:
    row = page.locator(".row", has=page.locator(f"#L{line_of(page, LINE)}")).first
    row.evaluate("row => { row.tabIndex = -1; row.focus() }")
    page.keyboard.press("u")
    cursor = page.locator("#-cursor")
    labels = []
    for _ in range(40):
        labels.append(cursor.get_attribute("aria-label") or "")
        if labels[-1].startswith("real (B, S) 2×7, bool"):
            break
        page.keyboard.press("ArrowRight")
    assert labels[-1].startswith("real (B, S) 2×7, bool"), labels
    page.keyboard.press(".")
    expect(page.locator("#-card .strip")).to_contain_text("real[1] of 2")
    page.keyboard.press(",")
    expect(page.locator("#-card .strip")).to_contain_text("real[0] of 2")
    # A line as a whole is a stop too: what it returns has no name.
    number = line_of(page, "return real[")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
        label = cursor.get_attribute("aria-label") or ""
        if label.startswith(f"line {number}"):
            break
    assert label == f"line {number}, return (B, 1, 1, S) 2×1×1×7, bool"


def test_a_finger_holds_the_card(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER, 380, has_touch=True)
    page.touchscreen.tap(*place(page, LINE, "real"))
    card = page.locator("#-card")
    expect(card).to_be_visible()
    box = card.bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 380
    page.locator("#-card button[aria-label=Next]").tap()
    expect(card).to_contain_text("real[1] of 2")
    page.context.close()


@pytest.mark.parametrize("by", ["mouse", "key"])
def test_one_switch_shows_all_lines_and_is_kept(page: Page, by: str) -> None:
    switch = page.locator("button.shapes")
    number = line_of(page, LINE)
    assert page.evaluate(SAID, number) == "none"
    text = page.locator(".rows .l").all_text_contents()
    turn = switch.click if by == "mouse" else lambda: page.keyboard.press("s")
    turn()
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(SAID, number) == '"real (B, S) 2×7, bool"'
    data = json.loads(page.locator("#-shapes").text_content() or "")
    shown = page.locator(".l[data-made]").count()
    assert shown == len(data) > 50
    assert page.locator(".rows .l").all_text_contents() == text, "what is copied is the code"
    page.reload()
    painted(page)
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert page.locator(".l[data-made]").count() == shown
    turn()
    expect(switch).to_have_attribute("aria-pressed", "false")
    assert page.evaluate(SAID, number) == "none"


def test_the_switch_stays_where_it_is_while_the_page_is_scrolled(page: Page) -> None:
    # A click is lost when its button moves between the press and the release.
    switch, place = page.locator("button.shapes"), page.locator("button.contents .place")
    before = switch.bounding_box()
    named = set()
    for name in ("scaled-dot-product-attention", "masks"):
        page.evaluate("id => document.getElementById(id).scrollIntoView()", name)
        expect(place).not_to_be_empty()
        painted(page)
        named.add(place.text_content())
        assert switch.bounding_box() == before
    assert len(named) == 2


@pytest.mark.parametrize(("width", "theme"), MODES)
def test_all_lines_are_accessible_and_fit(
    browser: Browser, address: str, width: int, theme: str
) -> None:
    page = visit(browser, address + PAPER, width, theme, bypass_csp=True)
    page.keyboard.press("s")
    page.mouse.click(*place(page, LINE, "real"))
    expect(page.locator("#-card .strip")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run().then(r => r.violations)")
    page.context.close()
    assert not found, [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]


def test_a_page_without_shapes_has_no_switch(browser: Browser, address: str) -> None:
    page = visit(browser, address + "site_builder/read/blocks.html")
    assert page.locator("button.shapes").count() == 0
    page.keyboard.press("s")
    assert page.locator(".l[data-made]").count() == 0
    page.context.close()


def test_without_script_the_page_reads_as_before(browser: Browser, site: Path) -> None:
    page = visit(browser, (site / PAPER).as_uri(), java_script_enabled=False)
    expect(page.locator("button.shapes")).to_be_hidden()
    expect(page.locator("#-shapes")).to_be_hidden()
    page.context.close()
