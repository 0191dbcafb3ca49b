r"""
# A look of one's own

What a project may say of itself and put in place of ours, and what it is told when that cannot be.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from site_builder.build import Builder
from site_builder.read.colours import COLOURS
from site_builder.read.settings import Settings

from .conftest import ROOT, Command, Tree

LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 10"><path d="M0 0h30v10z"/></svg>'
VERSIONS = 'versions = {"2.0" = "https://x.org/2", "1.0" = "https://x.org/1/"}'
PAGE = '"""## A part\n\nWords.\n"""\nx = 1\n'


def project(tree: Tree, settings: str, **files: str) -> Path:
    named = {name.replace("__", "/").replace("_dot_", "."): text for name, text in files.items()}
    return tree({"a.py": PAGE, "pyproject.toml": f"[tool.site_builder]\n{settings}\n", **named})


def built(root: Path) -> tuple[str, str, tuple[str, ...]]:
    """The front page, the page of `a.py`, and what was wrong."""
    report = Builder(root, root / "site").build()
    front, page = (root / "site" / name for name in ("index.html", "a.html"))
    return front.read_text(), page.read_text(), tuple(map(str, report.problems))


def test_an_introduction_in_markdown(tree: Tree) -> None:
    root = project(tree, 'intro = """\nOf *circles*, $r^2$,\nin [a file](a.py#a-part).\n"""')
    front, _, problems = built(root)
    assert problems == ()
    assert "<em>circles</em>" in front
    assert 'href="a.html#a-part"' in front
    assert 'class="katex"' in front
    assert "katex.min.css" in front
    project(tree, 'intro = "![a line](docs/line.svg)"', docs__line_dot_svg=LOGO)
    front, _, problems = built(root)
    assert problems == ()
    assert 'src="docs/line.svg"' in front
    assert (root / "site/docs/line.svg").is_file()
    wrong = "Of\n[a file](b.py).\n\n$\\\\frac$ <script>x</script>"
    front, _, problems = built(project(tree, f'title = "T"\nintro = """\n{wrong}"""'))
    assert [problem.split(": ")[0][-2:] for problem in problems] == [":5", ":7"]
    assert "there is no b.py" in problems[0]
    assert "<script>x" not in front
    _, _, problems = built(project(tree, 'intro = "One [line](c.py)."'))
    assert problems[0].startswith("pyproject.toml:2: ")


def test_the_language_of_the_prose(tree: Tree) -> None:
    front, page, problems = built(project(tree, 'language = "pt-BR"\nurl = "https://x.org"'))
    assert problems == ()
    for html in (front, page):
        assert '<html lang="pt-BR">' in html
        assert '"inLanguage": "pt-BR"' in html
        # What we say stays English, and says so.
        assert re.search(r'<nav class="site"[^>]* lang="en"', html)
    assert 'lang="en"' not in re.sub("<html[^>]*>", "", built(project(tree, ""))[0])


def test_a_logo(tree: Tree) -> None:
    root = project(tree, 'logo = "docs/our.svg"\nsources = ["a.py"]', docs__our_dot_svg=LOGO)
    front, page, problems = built(root)
    assert problems == ()
    for html in (front, page):
        assert re.search(r'<link rel="icon" type="image/svg\+xml" href="static/logo.svg\?', html)
        assert re.search(
            r'<img class="logo" src="static/logo.svg\?[^>]* width="30" height="10">', html
        )
    assert (root / "site/static/logo.svg").read_text() == LOGO


def test_colours(tree: Tree) -> None:
    root = project(tree, 'colours = {accent = "#05c", paper = ["#fff", "rgb(0 0 0)"]}')
    front, _, problems = built(root)
    assert problems == ()
    sheet = (root / "site/static/site.css").read_text()
    accent, paper = "light-dark(#05c, #05c)", "light-dark(#fff, rgb(0 0 0))"
    assert sheet.endswith(f":root {{\n  --accent: {accent};\n  --paper: {paper};\n}}\n")
    theme = re.compile(r'name="theme-color".*content="(.*)"')
    assert theme.findall(front) == ["#fff", "rgb(0 0 0)"]
    ours = (ROOT / "static/site.css").read_text()
    plain = theme.findall(built(project(tree, ""))[0])
    assert f"--paper: light-dark({', '.join(plain)});" in ours


def test_styles_by_name(tree: Tree) -> None:
    settings = 'colours = {ink = "#111"}\nstatic = "look"\nsources = ["a.py"]'
    root = project(tree, settings, look__own_dot_css=".hero { color: red }")
    built(root)
    sheet = (root / "site/static/site.css").read_text()
    assert sheet.startswith("/* Annotated Papers.")
    assert sheet.index("--ink: light-dark(#111, #111)") < sheet.index(".hero { color: red }")
    assert not (root / "site/static/own.css").exists()
    project(
        tree, settings, look__site_dot_css="b {}", look__icon_dot_svg=LOGO, look__f__x_dot_txt="x"
    )
    built(root)
    assert (root / "site/static/site.css").read_text().startswith("b {}\n:root")
    assert (root / "site/static/icon.svg").read_text() == LOGO
    assert (root / "site/static/f/x.txt").read_text() == "x"


BAR = '{% extends "ours/NAME.html" %}{% block bar %}<b>Lab</b>{{ super() }}{% endblock %}'
BASE, OPEN = BAR.replace("NAME", "base"), BAR.replace("NAME", "page")


def test_templates_by_name(tree: Tree) -> None:
    own = {"look__404_dot_html": "gone", "look__base_dot_html": BASE, "look__page_dot_html": OPEN}
    root = project(tree, 'templates = "look"', **own)
    builder = Builder(root, root / "site")
    assert builder.build().problems == ()
    front, page = ((root / "site" / name).read_text() for name in ("index.html", "a.html"))
    # Ours, of the front page, stands on theirs, which stands on ours.
    assert "<b>Lab</b>" in front
    assert "Topics" in front
    assert "<b>Lab</b>" in page
    assert "Words." in page
    assert (root / "site/404.html").read_text() == "gone"
    # A builder that goes on, as a server's does, sees the change too.
    (root / "look/page.html").write_text(OPEN.replace("Lab", "Laboratory"))
    assert "a.html" in builder.build().changed
    assert "<b>Laboratory</b>" in (root / "site/a.html").read_text()
    assert builder.build().changed == ()


def test_a_template_that_cannot_be_used(tree: Tree, command: Command) -> None:
    root = project(tree, 'templates = "look"', look__404_dot_html="\n{% if %}")
    _, _, problems = built(root)
    assert len(problems) == 1
    assert problems[0].startswith("look/404.html:2: ")
    assert "no page at this address" in (root / "site/404.html").read_text()
    for text in ("\n{{ site.nonsense.more }}", "\n{{ ''.__class__.__mro__ }}", "\n{{ 1 / 0 }}"):
        project(tree, 'templates = "look"', look__404_dot_html=text)
        for verb in ("build", "check"):
            done = command(verb, root)
            assert done.returncode == 1
            assert len(done.stderr.splitlines()) == 1, done.stderr
            assert "look/404.html:2: " in done.stderr


def test_nothing_outside_is_read(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "secret.html").write_text("secret")
    root = project(tree, 'templates = "look"\nstatic = "look"', look__own_dot_css="")
    (root / "look/404.html").symlink_to(tmp_path / "secret.html")
    _, _, problems = built(root)
    assert len(problems) == 1
    assert problems[0].startswith("look/404.html:1: cannot be read: it is a link out")
    assert not any("secret" in page.read_text() for page in (root / "site").rglob("*.html"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("intro = 3", "intro must be a string"),
        ('language = "German"', "language must be a tag such as en"),
        ('logo = "gone.svg"', "logo: no SVG, PNG, JPEG or WebP 'gone.svg'"),
        ('logo = "a.py"', "logo: no SVG, PNG, JPEG or WebP 'a.py'"),
        ('logo = "../x.svg"', "logo: no SVG, PNG, JPEG or WebP '../x.svg'"),
        ('static = "gone"', "static: no folder 'gone'"),
        ('static = "a.py"', "static: no folder 'a.py'"),
        ('templates = "../"', "templates: no folder '../'"),
        ("templates = []", "templates must be a string"),
        ('colours = "red"', "colours must be a table"),
        ('colours = {acent = "#05c"}', "colours: there is no 'acent'; there are paper,"),
        ('colours = {accent = "#05c; }"}', "colours: accent must be a colour"),
        ('colours = {accent = "url(x)"}', "colours: accent must be a colour"),
        ('colours = {accent = ["#05c", "#05c", "#05c"]}', "colours: accent must be a colour"),
        ("[tool.site_builder.colours]\naccent = 3", "colours: accent must be a colour"),
        ("version = 2", "version must be a string"),
        ('versions = ["1.0"]', "versions must be a table such as"),
        ('versions = {"1.0" = "docs"}', "versions: 1.0 must have an address such as"),
        (VERSIONS, "versions: no address of this one"),
    ],
)
def test_each_mistake_is_one_line(tree: Tree, setting: str, said: str) -> None:
    _, _, problems = built(project(tree, f'title = "T"\n{setting}'))
    assert len(problems) == 1
    assert problems[0].startswith(f"pyproject.toml:3: {said}")


def test_pages_of_a_release(tree: Tree) -> None:
    root = project(tree, 'url = "https://x.org/2/"', b_dot_py=PAGE)
    _, page, _ = built(root)
    assert 'class="release"' not in page
    package = '\n[project]\nname = "p"\nversion = "2.0"'
    _, page, problems = built(project(tree, 'url = "https://x.org/2/"' + package))
    assert problems == ()
    assert '<li class="release">Version 2.0</li>' in page
    # The newest: others are a step away, and nothing else changes.
    _, page, problems = built(project(tree, f'url = "https://x.org/2/"\n{VERSIONS}{package}'))
    assert problems == ()
    other = '<a href="https://x.org/1/a.html">1.0</a>'
    assert f'<li class="release">Version 2.0, {other}</li>' in page
    assert '<link rel="canonical" href="https://x.org/2/a.html">' in page
    assert 'class="older"' not in page


def test_pages_of_an_old_release(tree: Tree) -> None:
    settings = f'url = "https://x.org/1/"\nversion = "1.0"\n{VERSIONS}'
    front, page, problems = built(project(tree, settings))
    assert problems == ()
    assert '<link rel="canonical" href="https://x.org/2/a.html">' in page
    assert '<link rel="canonical" href="https://x.org/2/">' in front
    assert 'This describes version 1.0. <a href="https://x.org/2/a.html">Version 2.0</a>' in page
    assert 'Version 1.0, <a href="https://x.org/2/">2.0</a>' in front
    # Nobody has to say where it stands itself.
    _, page, _ = built(project(tree, f'version = "1.0"\n{VERSIONS}'))
    assert '<link rel="canonical" href="https://x.org/2/a.html">' in page


def test_every_setting_is_told_where_people_look(command: Command) -> None:
    names = {field.name for field in fields(Settings)} - {"root", "lines"}
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \|", readme[readme.index("| setting |") :], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == names
    said = command("--help").stdout
    told = re.findall(r"^  ([\w, ]+): ", said[said.index("[tool.site_builder]") :], re.MULTILINE)
    assert {name for line in told for name in line.split(", ")} == names
    assert all(f"`{colour}`" in readme for colour in COLOURS)


def test_the_readme_s_own_example(tree: Tree) -> None:
    text = (ROOT / "README.md").read_text()
    settings = text.partition("```toml\n[tool.site_builder]\n")[2].partition("```")[0]
    scripts = {f"{topic}__a_dot_py": PAGE for topic in ("waves", "heat", "noise")}
    root = project(tree, settings, docs__logo_dot_svg=LOGO, waves__string_dot_py=PAGE, **scripts)
    report = Builder(root, root / "site").build()
    assert (report.pages, report.problems) == (4, ())
    assert 'href="waves/string.html"' in (root / "site/index.html").read_text()
