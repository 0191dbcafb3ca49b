"""The paths, as readers walk them: with Next alone, by keys, by mouse; and what is remembered."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from site_builder.read.settings import read_settings
from tests.web.conftest import ROOT
from tests.web.test_pages import painted, visit

pytestmark = pytest.mark.browser

ROUTES = read_settings(ROOT)[0].paths
NEWCOMER = [page.removesuffix(".py") + ".html" for page in ROUTES[0].pages]


def to_the_end(page: Page) -> None:
    page.locator(".turn").scroll_into_view_if_needed()
    for _ in range(100):
        if page.evaluate("(localStorage.read ?? '').includes(location.pathname)"):
            return
        page.wait_for_timeout(50)
    raise AssertionError("the end of the page was not seen")


def test_the_newcomer_gets_to_the_end_with_next_alone(browser: Browser, address: str) -> None:
    page = visit(browser, address, 380)
    page.click(".path .step >> nth=0")
    seen = []
    for _ in NEWCOMER:
        page.wait_for_load_state()
        seen.append(page.url.removeprefix(address))
        page.click(".turn [rel=next] >> nth=0")
    page.wait_for_load_state()
    beyond = page.url.removeprefix(address)
    page.context.close()
    assert seen == NEWCOMER
    # Behind the end it goes on, to a page of which there was none before, and to no index.
    assert beyond not in NEWCOMER
    assert not beyond.endswith("index.html")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.title)
def test_the_key_stays_on_the_path_that_was_chosen(
    browser: Browser, address: str, route: object
) -> None:
    at = ROUTES.index(route)  # type: ignore[arg-type]
    page = visit(browser, address + "paths.html")
    page.locator(".courses section").nth(at).locator(".step").first.click()
    seen = []
    for number in range(len(ROUTES[at].pages)):
        page.wait_for_load_state()
        seen.append(page.url.removeprefix(address))
        if number < len(ROUTES[at].pages) - 1:
            with page.expect_navigation():
                page.keyboard.press("n")
    page.context.close()
    assert seen == [name.removesuffix(".py") + ".html" for name in ROUTES[at].pages]


def test_what_was_read_is_shown_and_can_be_forgotten(browser: Browser, address: str) -> None:
    page = visit(browser, address + NEWCOMER[0])
    to_the_end(page)
    # What was opened and not read to its end does not count.
    page.goto(address + NEWCOMER[1])
    page.goto(address + "paths.html")
    read = page.locator(".courses section").first.locator(".read")
    expect(read).to_have_count(1)
    expect(read).to_have_attribute("href", NEWCOMER[0])
    drawn = page.locator(".map .read")
    expect(drawn).to_have_attribute("href", NEWCOMER[0])
    expect(drawn.locator(".tick")).to_be_visible()
    expect(page.locator(".progress")).to_contain_text("You have read 1 of these")
    page.goto(address)
    expect(page.locator(".path .read")).to_have_count(1)
    page.goto(address + "paths.html")
    painted(page)
    page.get_by_role("button", name="Forget").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".read")).to_have_count(0)
    expect(page.locator(".progress")).to_be_hidden()
    assert page.evaluate("[localStorage.read, localStorage.route]") == [None, None]
    page.context.close()


def test_the_map_is_gone_through_by_keys_and_lies_inside_its_frame(
    browser: Browser, address: str
) -> None:
    page = visit(browser, address + "paths.html", 380)
    boxes = page.locator(".map a")
    last = boxes.last
    last.focus()
    # What has the focus is brought into view, though the page itself does not move sideways.
    frame, box = page.locator(".map").bounding_box(), last.bounding_box()
    assert frame
    assert box
    assert frame["x"] <= box["x"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    address_of_it = last.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{address_of_it}")
    page.context.close()


def test_letters_fit_their_boxes(browser: Browser, address: str) -> None:
    page = visit(browser, address + "paths.html")
    wide = page.evaluate(
        """[...document.querySelectorAll('.map a')].map(a => [a.textContent,
           a.querySelector('rect').getBBox().width
           - Math.max(...[...a.querySelectorAll('text:not(.tick)')].map(t => t.getBBox().width))
           ])"""
    )
    page.context.close()
    assert len(wide) > 15
    assert [name for name, room in wide if room < 6] == []


def test_without_script_all_of_it_reads(browser: Browser, address: str) -> None:
    page = visit(browser, address + "paths.html", java_script_enabled=False)
    assert page.locator(".courses .step").count() == sum(len(route.pages) for route in ROUTES)
    assert not page.locator(".progress").is_visible()
    page.locator(".courses .step").first.click()
    page.click(".turn [rel=next] >> nth=0")
    assert page.url.endswith(NEWCOMER[1])
    page.context.close()
