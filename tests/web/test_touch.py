"""Symbols, names and definitions, as readers touch them: by mouse, by keyboard and by finger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.web.test_pages import AXE, PAPER, painted, visit

pytestmark = pytest.mark.browser

# What is lit in the code, as `name@line`, in the order of the page; and what is lit elsewhere.
LIT = """layer => [...(CSS.highlights.get(layer) || [])].map(
  range => range + '@' + range.startContainer.parentElement.closest('.l').dataset.n).sort()"""
NODES = "() => [...document.querySelectorAll('.lit')].map(node => node.className)"
CARD = """() => {
  const card = document.getElementById('-card')
  return card.matches(':popover-open') ? card.textContent : ''
}"""
CODE = "[...document.querySelectorAll('.l')].map(line => line.textContent)"
# Where in the window a word of a line stands.
PLACE = """([number, word, nth]) => {
  const line = document.getElementById('L' + number)
  line.scrollIntoView({block: 'center'})
  const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT)
  for (let text; (text = texts.nextNode());) {
    for (const found of text.data.matchAll(new RegExp('\\\\b' + word + '\\\\b', 'g'))) {
      if (nth--) continue
      const range = document.createRange()
      range.setStart(text, found.index)
      range.setEnd(text, found.index + word.length)
      const box = range.getBoundingClientRect()
      return [box.x + box.width / 2, box.y + box.height / 2]
    }
  }
}"""


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = visit(browser, address + PAPER)
    yield page
    page.context.close()


def lit(page: Page, layer: str = "near") -> list[str]:
    return list(page.evaluate(LIT, layer))


def line_of(page: Page, text: str) -> int:
    """The number of the line of code that holds a text."""
    find = "text => [...document.querySelectorAll('.l')].find(l => l.textContent.includes(text))"
    return int(page.evaluate(f"text => ({find})(text).dataset.n", text))


def place(page: Page, line: str, word: str, nth: int = 0) -> Any:
    return page.evaluate(PLACE, [line_of(page, line), word, nth])


def middle(what: Locator) -> tuple[float, float]:
    what.scroll_into_view_if_needed()
    box = what.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def nodes(page: Page, kind: str) -> int:
    return sum(kind in names.split() for names in page.evaluate(NODES))


def test_a_symbol_in_a_fraction_lights_all_that_it_is(page: Page) -> None:
    symbol = page.locator(".math .mfrac .sym-3").first
    page.mouse.move(*middle(symbol))
    assert nodes(page, "sym-3") == page.locator(".prose .sym-3").count() > 8
    assert nodes(page, "sym-4") == 0, "d_v is not d_k"
    assert nodes(page, "pair") == 1
    assert page.locator("td.lit").all_text_contents()[0] == "D"
    letters = lit(page)
    assert letters
    assert {word.split("@")[0] for word in letters} == {"D"}
    assert "features of one head" in page.evaluate(CARD)
    page.mouse.move(2, 300)
    assert nodes(page, "lit") == 0
    assert lit(page) == []
    assert page.evaluate(CARD) == ""


def test_a_letter_of_a_shape_lights_its_row(page: Page) -> None:
    line = "x = x.view(B, T, self.heads, C // self.heads)"
    page.mouse.move(*place(page, line, "D"))
    assert page.locator("td.lit").all_text_contents()[0] == "D"
    assert nodes(page, "pair") == 2, "d_k and d_v"
    page.mouse.move(*place(page, line, "C"))
    assert page.locator("td.lit").all_text_contents()[0] == "C"


def test_every_letter_of_every_shape_lights_something(
    browser: Browser, address: str, site: Path
) -> None:
    papers = [
        path.relative_to(site).as_posix()
        for path in sorted(site.glob("papers/**/*.html"))
        if 'class="chip"' in path.read_text() and "<th>size</th>" in path.read_text()
    ]
    assert len(papers) > 15
    page = visit(browser, address + papers[0])
    dead = []
    for name in papers:
        page.goto(address + name)
        letters = """() => [...document.querySelectorAll('.rows .chip')].flatMap((chip, at) =>
          [...chip.textContent.matchAll(/[^\\W\\d]\\w*/gu)].map(letter =>
            [chip.closest('.l').dataset.n, letter[0]]))"""
        tables = """() => [...document.querySelectorAll('[data-size]')].flatMap(
          code => code.dataset.size.split(' '))"""
        code = """() => [...document.querySelectorAll('.l')].map(line => {
          const copy = line.cloneNode(true)
          copy.querySelectorAll('.chip').forEach(chip => chip.remove())
          return copy.textContent }).join('\\n')"""
        known = set(page.evaluate(tables)) | set(re.findall(r"\w+", page.evaluate(code)))
        dead += [(name, *found) for found in page.evaluate(letters) if found[1] not in known]
    page.context.close()
    assert dead == []


def test_a_name_lights_its_symbol(page: Page) -> None:
    page.mouse.move(*place(page, "self.query = nn.Linear", "query"))
    assert nodes(page, "sym-7") == page.locator(".prose .sym-7").count() > 0
    assert set(lit(page)) >= {f"query@{line_of(page, 'self.query = nn.Linear')}"}
    page.mouse.move(*place(page, "self.query = nn.Linear", "bias"))
    assert nodes(page, "sym-7") == 0


def test_a_click_lights_the_uses_of_a_name_in_its_scope(page: Page) -> None:
    where = place(page, "scores = q @ k.transpose", "scores")
    page.mouse.move(*where)
    assert lit(page) == [], "pointing at a name that is no symbol does nothing"
    page.mouse.click(*where)
    scores = lit(page, "held")
    assert len(scores) == 4
    assert "(..., T, S)" in page.evaluate(CARD)
    page.keyboard.press("Escape")
    assert lit(page, "held") == []
    page.mouse.click(*place(page, "def split(self, x: Tensor)", "x"))
    split = {int(word.split("@")[1]) for word in lit(page, "held")}
    begin = line_of(page, "def split(self, x: Tensor)")
    assert split
    assert all(begin <= line < begin + 12 for line in split), "x of another method is another"
    page.mouse.click(*place(page, "def split(self, x: Tensor)", "x"))
    assert lit(page, "held") == [], "a second click lets go"


def test_a_click_on_a_symbol_holds_it(page: Page) -> None:
    page.mouse.click(*middle(page.locator(".math .sym-0").first))
    page.mouse.move(2, 300)
    assert nodes(page, "sym-0") > 3
    assert page.evaluate(CARD)
    page.mouse.click(2, 300)
    assert nodes(page, "lit") == 0
    assert page.evaluate(CARD) == ""


def test_by_keyboard_from_the_notation_and_the_table(page: Page) -> None:
    pair = page.locator(".notation .pair").nth(3)
    pair.focus()
    assert nodes(page, "sym-3") > 8
    assert pair.get_attribute("aria-describedby") == "-card"
    page.keyboard.press("Enter")
    assert pair.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Tab")
    page.locator("[data-size='S']").focus()
    assert nodes(page, "sym-3") > 8, "held"
    assert page.locator("td.lit").all_text_contents()[-2] == "S"
    page.keyboard.press("Escape")
    assert pair.get_attribute("aria-pressed") == "false"
    assert nodes(page, "lit") == 0


def test_by_keyboard_from_name_to_name(page: Page) -> None:
    stops = page.locator("[tabindex='0'], a, button").count()
    page.keyboard.press("j")
    page.wait_for_function("scrollY > 0")
    page.keyboard.press("u")
    name = "document.activeElement.getAttribute('aria-label')"
    seen = [page.evaluate(name)]
    for _ in range(80):
        page.keyboard.press("ArrowRight")
        seen.append(page.evaluate(name))
        if seen[-1].startswith("scores "):
            break
    assert "D" in seen, "symbols come first, as they stand in the prose"
    assert seen[-1] == "scores (..., T, S) 2×3×5×7, float32"
    assert len(lit(page)) == 4
    page.keyboard.press("Enter")
    assert len(lit(page, "held")) == 4
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(name) != "scores"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert len(lit(page, "held")) == 4
    page.keyboard.press("Escape")
    assert lit(page) + lit(page, "held") == []
    assert page.locator("#-cursor").is_hidden()
    assert page.locator("[tabindex='0'], a, button").count() <= stops + 40


def test_by_finger(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER, 380, has_touch=True, is_mobile=True)
    page.touchscreen.tap(*middle(page.locator(".math .sym-3").first))
    assert nodes(page, "sym-3") > 8
    assert "features of one head" in page.evaluate(CARD)
    box = page.locator("#-card").bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 380
    page.touchscreen.tap(*place(page, "scores = q @ k.transpose", "scores"))
    assert len(lit(page, "held")) == 4
    assert nodes(page, "sym-3") == 0
    page.context.close()


def test_a_browser_without_highlights_marks_the_names(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER)
    page.add_init_script("delete CSS.highlights; delete CSS.__proto__.highlights")
    page.reload()
    painted(page)
    assert page.evaluate("CSS.highlights === undefined")
    before = page.evaluate(CODE)
    page.mouse.click(*place(page, "scores = q @ k.transpose", "scores"))
    assert page.locator(".l .lit").all_inner_texts() == ["scores"] * 4
    page.keyboard.press("Escape")
    assert page.locator(".l .lit").count() == 0
    assert page.evaluate(CODE) == before
    page.context.close()


@pytest.mark.parametrize("colours", ["none", "active"])
def test_accessible_while_lit(browser: Browser, address: str, colours: str) -> None:
    options = {"bypass_csp": True, "forced_colors": colours}
    for theme in ("light", "dark"):
        page = visit(browser, address + PAPER, 1280, theme, **options)
        page.locator(".notation .pair").nth(3).focus()
        page.keyboard.press("Enter")
        page.add_script_tag(path=AXE)
        found = page.evaluate("axe.run().then(r => r.violations.map(v => v.nodes[0].html))")
        page.context.close()
        assert not found


def test_paper_shows_no_card(page: Page) -> None:
    page.locator(".notation .pair").first.focus()
    page.emulate_media(media="print")
    assert page.locator("#-card").is_hidden()


def test_nothing_moves_when_it_lights_up(page: Page) -> None:
    boxes = """() => [...document.querySelectorAll('.row, .row .katex, td, .l')].map(
      node => { const b = node.getBoundingClientRect(); return [b.x, b.y, b.width, b.height] })"""
    page.evaluate(
        "document.querySelectorAll('.row').forEach(r => r.style.contentVisibility = 'visible')"
    )
    before = page.evaluate(boxes)
    page.locator(".notation .pair").nth(3).focus()
    page.keyboard.press("Enter")
    assert nodes(page, "lit") > 8
    assert page.evaluate(boxes) == before


def test_a_link_says_where_it_leads(page: Page) -> None:
    link = page.locator(".code a.ref[href='#training']").first
    link.scroll_into_view_if_needed()
    page.mouse.move(*middle(link))
    assert "Every step draws new sequences" in page.evaluate(CARD)
    page.mouse.move(2, 300)
    assert page.evaluate(CARD) == ""
    page.keyboard.press("Tab")
    page.locator(".users a").first.scroll_into_view_if_needed()
    page.locator(".users a").first.focus()
    page.wait_for_timeout(200)
    assert page.evaluate(CARD)
    page.keyboard.press("Escape")
    assert page.evaluate(CARD) == ""
