"""The figure beside an abstract and the imports below it, as readers meet them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import resvg_py
from PIL import Image, ImageChops
from playwright.sync_api import Browser

from site_builder.assets import STATIC
from site_builder.link.inks import plain
from site_builder.link.painting import FACE
from site_builder.read.drawing import read_drawing
from tests.web.conftest import ROOT
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


@pytest.mark.parametrize("figure", ["diffusion/figures/unet", "optimizers/figures/adamw"])
def test_a_painted_figure_is_that_of_the_browser(
    browser: Browser, tmp_path: Path, figure: str
) -> None:
    """Without its letters, which are in another font, and looked at from a little further away."""
    drawing = read_drawing((ROOT / f"papers/{figure}.svg").read_bytes())
    bare = re.sub(r"<text.*?</text>", "", drawing.html)
    width, height = (round(float(side)) for side in drawing.view.split()[2:])
    sheet = '<svg xmlns="http://www.w3.org/2000/svg" class="drawing" width="{0}" height="{1}" '
    sheet += (
        'viewBox="0 0 {0} {1}"><style>{2}</style><path d="M0 0h{0}v{1}H0" fill="#fff"/>{3}</svg>'
    )
    style = (STATIC / "figures.css").read_text()
    (tmp_path / "a.svg").write_text(sheet.format(width, height, style, bare))
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.goto((tmp_path / "a.svg").as_uri())
    theirs = page.screenshot()
    page.close()
    under = plain() + ".drawing .under { fill: #fff; }"
    ours = resvg_py.svg_to_bytes(
        sheet.format(width, height, under, FACE.sub(r"\1under\2\1face\2", bare)),
        skip_system_fonts=True,
    )
    seen = [Image.open(io.BytesIO(bytes(png))).convert("RGB").reduce(4) for png in (theirs, ours)]
    worst = max(high for _, high in ImageChops.difference(*seen).getextrema())
    assert worst < 16
    # It is no empty sheet: what is drawn is far from white.
    assert min(low for low, _ in seen[0].getextrema()) < 128
