"""The search, as readers use it: by keys and by mouse, wide and narrow, and where there is none."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.test_pages import AXE, MODES, PAPER, painted, visit

pytestmark = pytest.mark.browser


def look_for(page: Page, words: str, key: str = "/") -> None:
    """Opens the search by its key, types the words and waits for what the whole of them finds."""
    page.keyboard.press(key)
    page.keyboard.type(words)
    expect(page.locator("#-found")).to_have_attribute("data-answers", words)


def found(page: Page) -> list[tuple[str, list[str]]]:
    """Page by page: its title, and the titles of the sections below it."""
    return [
        (titles[0], titles[1:])
        for each in page.locator("#-found [role=group]").all()
        if (titles := each.locator("b").all_inner_texts())
    ]


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("resn", "vision/resnet"),
        ("ResNet", "vision/resnet"),
        ("DDPM", "diffusion/ddpm"),
        ("FID", "diffusion/frechet"),
        ("rota", "transformers/positions/rope"),
        ("rotary", "transformers/positions/rope"),
        ("shaoq", "vision/resnet"),
        ("kingma", "optimizers/adam"),
        ("padding_", "transformers/attention"),
        ("causal_m", "transformers/attention"),
        # The whole name of a page, with which that of another begins.
        ("adam", "optimizers/adam"),
        ("alpha_bar", "diffusion/ddpm"),
        ("llama", "transformers/llama"),
    ],
)
def test_under_ten_strokes_lead_to_the_page(
    browser: Browser, address: str, typed: str, place: str
) -> None:
    page = visit(browser, address)
    # With the key that opens, and Enter.
    assert len(typed) + 2 < 12
    page.keyboard.press("/")
    page.keyboard.type(typed)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/papers/{place}.html*")
    page.context.close()


def test_who_names_two_pages_finds_what_changed_between_them(
    browser: Browser, address: str
) -> None:
    page = visit(browser, address)
    look_for(page, "from gpt-2 to llama")
    best, *_ = found(page)
    look_for_more = page.get_by_role("combobox")
    look_for_more.fill("feed")
    expect(page.locator("#-found")).to_have_attribute("data-answers", "feed")
    later = [title for title, _ in found(page)]
    page.context.close()
    assert best[0] == "From GPT-2 to LLaMA"
    # Who names a part finds its page before what changed in it.
    changed = [at for at, title in enumerate(later) if title.startswith("From ")]
    assert not changed or changed[0] > 0


def test_a_name_of_two_words_is_found(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    look_for(page, "Kaiming He")
    titles = [title for title, _ in found(page)]
    page.context.close()
    # He is an author of all three.
    own = {"Deep residual learning", "Group normalization", "MeanFlow and consistency models"}
    assert set(titles[:3]) == own


def test_names_in_code_are_found_where_they_stand(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    look_for(page, "scaled_dot")
    shown = page.locator("#-found code").all_inner_texts()
    sections = dict(found(page))
    page.context.close()
    assert set(shown) == {"scaled_dot_product_attention"}
    assert "Scaled dot-product attention" in sections["Attention"]


def test_arrows_choose_and_enter_goes_to_the_section(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER)
    look_for(page, "grouped", key="Control+k")
    options = page.locator("#-found a").all_inner_texts()
    at = next(n for n, words in enumerate(options) if words.startswith("Grouped queries"))
    for _ in range(at):
        page.keyboard.press("ArrowDown")
    field = page.get_by_role("combobox")
    chosen = page.locator(f"#{field.get_attribute('aria-activedescendant')}")
    assert chosen.inner_text() == options[at]
    assert page.locator("#-found [aria-selected=true]").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_url("**/llama.html#grouped-queries")
    place = page.locator("#grouped-queries").bounding_box()
    page.context.close()
    assert place
    assert 0 <= place["y"] < 400


def test_arrows_go_round(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    look_for(page, "rotary")
    last = page.locator("#-found a").count() - 1
    page.keyboard.press("ArrowUp")
    expect(page.locator("#-found a").nth(last)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#-found a").first).to_have_attribute("aria-selected", "true")
    page.context.close()


@pytest.mark.parametrize("width", [1280, 380])
def test_by_mouse(browser: Browser, address: str, width: int) -> None:
    page = visit(browser, address + PAPER, width)
    page.click("button.search")
    page.keyboard.type("dropout")
    page.locator("#-found a[href*='transformer.html']").first.click()
    page.wait_for_url("**/transformer.html*")
    # A link to a place of the same page leaves no dialog over it.
    page.click("button.search")
    page.keyboard.type("label smoothing")
    inside = page.locator("#-found a[href*='transformer.html#']").first
    inside.click()
    expect(page.locator("#-search")).to_be_hidden()
    page.context.close()


def test_escape_gives_back_the_place(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER)
    link = page.locator(".crumbs a").first
    link.focus()
    look_for(page, "adam")
    page.keyboard.press("Escape")
    expect(page.locator("#-search")).to_be_hidden()
    expect(link).to_be_focused()
    # What was asked is still there, and the next letters replace it.
    page.keyboard.press("/")
    expect(page.get_by_role("combobox")).to_have_value("adam")
    page.keyboard.type("bert")
    expect(page.get_by_role("combobox")).to_have_value("bert")
    page.context.close()


def test_what_is_not_there_is_said(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    page.keyboard.press("/")
    page.keyboard.type("ъъъ")
    expect(page.locator("#-search .told")).to_contain_text("Nothing")
    assert page.locator("#-found a").count() == 0
    page.keyboard.press("Enter")
    assert page.url == address
    page.context.close()


def test_an_index_that_cannot_be_loaded_is_said(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    page.route("**/search/**", lambda route: route.abort())
    page.keyboard.press("/")
    page.keyboard.type("adam")
    expect(page.locator("#-search .told")).to_contain_text("could not be loaded")
    page.context.close()


def test_nothing_is_loaded_before_it_is_opened(browser: Browser, address: str, site: Path) -> None:
    page = visit(browser, "about:blank")
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(address)))
    page.on("console", lambda message: said.append(message.text))
    page.goto(address + PAPER)
    painted(page)
    before = len(asked)
    assert not [name for name in asked if "search" in name]
    look_for(page, "adam")
    page.context.close()
    assert len(asked) > before
    parts = ("search/", "static/search.js", "static/icon.svg")
    assert [name for name in asked[before:] if not name.startswith(parts)] == []
    assert said == []
    part = Path(__file__).parents[2] / "static/scripts/search.js"
    assert len(gzip.compress(part.read_bytes())) < 4_000


def test_the_single_key_can_be_switched_off(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER)
    page.keyboard.press("?")
    page.locator("#-shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#-search")).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(page.locator("#-search")).to_be_visible()
    page.context.close()


@pytest.mark.parametrize(("width", "theme"), MODES)
def test_accessible_when_open(browser: Browser, address: str, width: int, theme: str) -> None:
    page = visit(browser, address + PAPER, width, theme, bypass_csp=True)
    look_for(page, "attention")
    page.add_script_tag(path=AXE)
    violations = page.evaluate("axe.run().then(r => r.violations.map(v => v.id + v.nodes[0].html))")
    wide = page.evaluate("document.querySelector('#-search').scrollWidth")
    page.context.close()
    assert violations == []
    assert wide <= width


def test_no_button_that_cannot_work(browser: Browser, address: str, site: Path) -> None:
    page = visit(browser, (site / PAPER).as_uri())
    assert not page.locator("button.search").is_visible()
    page.keyboard.press("/")
    page.keyboard.press("Control+k")
    assert not page.locator("#-search").is_visible()
    page.context.close()
    page = visit(browser, address + PAPER, java_script_enabled=False)
    assert not page.locator("button.search").is_visible()
    page.context.close()
