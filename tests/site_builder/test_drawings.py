"""The picture beside an abstract: whose it is, what of it a page shows, and what is said of it."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from site_builder.assets import STATIC
from site_builder.build import Builder
from site_builder.read.blocks import parse
from site_builder.read.fingerprint import fingerprint
from site_builder.read.pictures import size_of

from .conftest import Tree

FIGURE = 'figure:\n  file: figures/a.{}\n  alt: A "big" <sum>\n  caption: The `sum` of $x$\n'
PAGE = '"""\n---\ntitle: Sums\nsummary: They add.\n{}---\n\n# Sums\n\nWords.\n"""\n\n\n'
PAGE += 'def add():\n    """\n    ## Adding up\n    """\n'
SETTINGS = '[tool.site_builder]\nwithout_page = ["figures/*.py"]\n'
OURS = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" width="360" height="90" viewBox="0 0 360 90" {mark}>
<style>.face {{ fill: red }}</style>
<title>Sums</title>
{inside}
</svg>
"""
SCRIPT = "x = 1\n"
MARK = f'data-drawn-from="a.py={{}} figures/a.py={fingerprint(parse(SCRIPT))}"'
# The first bytes of pictures of 300 by 7 pixels, as Pillow writes them.
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xdb\x00\x05abc"
FRAME = b"\x00\x11\x08\x00\x07\x01\x2c\x03"
PICTURES = {
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (300).to_bytes(4) + (7).to_bytes(4),
    "jpg": JPEG + b"\xff\xc0" + FRAME,
    "jpeg": JPEG + b"\xff\xc4\x00\x03a\xff\xc2" + FRAME,
    "webp": base64.b64decode("UklGRkwAAABXRUJQVlA4IEAAAADQAwCdASosAQcAP83m8A=="),
    "WEBP": base64.b64decode("UklGRiQAAABXRUJQVlA4TBcAAAAvK4EBAAdQjyIXpf8BIA=="),
    "Webp": base64.b64decode("UklGRkIAAABXRUJQVlA4WAoAAAAIAAAAKwEABgAAVlA4TA=="),
    "svg": b"<!-- <b> --><svg width='300px' viewBox='0 0 9 9'\n height='7.1'>",
    "SVG": b'<svg viewBox="-3, 0 300.2 7"><script>alert(1)</script></svg>',
}


def page(kind: str) -> str:
    return PAGE.format(FIGURE.format(kind))


def drawing(inside: str, kind: str = "svg", mark: str | None = None) -> str:
    now = MARK.format(fingerprint(parse(page(kind))))
    return OURS.format(inside=inside, mark=now if mark is None else mark)


def built(root: Path) -> tuple[list[str], str]:
    """What `check` says, and the page that a build makes."""
    said = [str(problem) for problem in Builder(root, None).build().problems]
    Builder(root, root / "site").build()
    return said, (root / "site" / "a.html").read_text()


def shown(tree: Tree, inside: str, mark: str | None = None) -> tuple[list[str], str]:
    files = {"a.py": page("svg"), "figures/a.svg": drawing(inside, mark=mark)}
    return built(tree({**files, "figures/a.py": SCRIPT, "pyproject.toml": SETTINGS}))


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_of_any_kind_is_shown_as_it_is(tree: Tree, kind: str) -> None:
    root = tree({"a.py": page(kind), f"figures/a.{kind}": PICTURES[kind]})
    said, html = built(root)
    assert said == []
    assert (
        f'<img src="figures/a.{kind}" alt="A &#34;big&#34; &lt;sum&gt;" width="300" height="7">'
        in html
    )
    assert "<figcaption>The <code>sum</code> of <span" in html
    assert (root / "site" / "figures" / f"a.{kind}").read_bytes() == PICTURES[kind]


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG", JPEG, JPEG + b"no", b"RIFFxxxxWEBP", b"<svg>", b"<svg width='1.2.3'"]
)
def test_what_says_no_size_has_none(tree: Tree, data: bytes) -> None:
    assert size_of(data) is None
    said, html = built(tree({"a.py": page("svg"), "figures/a.svg": data}))
    assert said == []
    assert '<img src="figures/a.svg" alt="A &#34;big&#34; &lt;sum&gt;">' in html


def test_one_of_ours_is_a_part_of_the_page(tree: Tree) -> None:
    inside = '<g class="norm"><path class="face" d="M1 2"/><text x="3">a &lt; b</text></g>'
    said, html = shown(tree, inside)
    assert said == []
    figure = re.search(r'<figure class="drawn">(.*?)</figure>', html, re.DOTALL)
    assert figure
    assert (
        'viewBox="0 0 360 90" width="360" height="90" role="img" aria-label="A &#34;big'
        in figure[1]
    )
    assert (
        '<g class="norm"><path class="face" d="M1 2"></path><text x="3">a &lt; b</text></g>' in html
    )
    assert "Sums" not in figure[1]
    assert "fill: red" not in html
    assert "<img" not in html
    assert "static/figures.css" in html
    assert html.index("Words.") < html.index("figure class") < html.index('id="adding-up"')


def test_its_links_are_reached(tree: Tree) -> None:
    """What has the role of an image hides what is inside."""
    said, html = shown(tree, '<a href="#adding-up"><text>add</text></a>')
    assert said == []
    assert '<a href="#adding-up"><text>add</text></a>' in html
    assert 'role="group" aria-label="A &#34;big' in html


def test_a_link_to_no_section_is_said_of_its_line(tree: Tree) -> None:
    said, _ = shown(tree, '\n<a href="#adding"><text>add</text></a>')
    assert said == [
        "figures/a.svg:6: leads nowhere: a.py has no anchor #adding; draw it again",
    ]


def test_a_stale_figure_is_said_by_check_alone(tree: Tree) -> None:
    root = tree({"figures/a.svg": drawing("<g/>"), "pyproject.toml": SETTINGS})
    prose, code = page("svg").replace("Adding up", "Sums up"), page("svg") + "    return 0\n"
    for text, script, changed in [
        (prose, "# One.\nx = 1\n", ""),
        (code, SCRIPT, "a.py"),
        (prose, "x = 2\n", "figures/a.py"),
        (code, "x = 2\n", "a.py, figures/a.py"),
    ]:
        tree({"a.py": text, "figures/a.py": script})
        told = f"figures/a.svg:1: drawn before {changed} changed; draw it again"
        assert built(root)[0] == [told] * bool(changed)
        assert Builder(root, root / "other").build().problems == ()
    tree({"a.py": prose})
    (root / "figures" / "a.py").unlink()
    assert built(root)[0] == ["figures/a.svg:1: drawn before figures/a.py changed; draw it again"]


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("<script>alert(1)</script>", "<script> is not for a page to show"),
        ("<g><image href='x.png'/></g>", "<image> is not for a page to show"),
        ('<path onclick="a()" d=""/>', "onclick of <path> is not for a page to show"),
        ('<path style="fill: red"/>', "style of <path> is not for a page to show"),
        ('<g id="L1"/>', "id of <g> is not for a page to show"),
        ('<g href="#adding-up"/>', "href of <g> is not for a page to show"),
        ('<a href="https://a.org">x</a>', "a link to https://a.org is not for a page to show"),
        ("<a>x</a>", "a link to nowhere is not for a page to show"),
        ("<svg/>", "<svg> is not for a page to show"),
        ("<g>", "is not XML: mismatched tag"),
    ],
)
def test_what_no_page_may_show_is_refused(tree: Tree, inside: str, message: str) -> None:
    said, html = shown(tree, f"\n{inside}")
    line = 7 if inside == "<g>" else 6
    assert said == [f"figures/a.svg:{line}: {message}; draw it again"]
    assert "<figure" not in html
    assert "Words." in html


def test_an_entity_is_refused(tree: Tree) -> None:
    bomb = '<!DOCTYPE svg [<!ENTITY a "aaaa">]>' + drawing("<text>&a;</text>").partition("?>")[2]
    root = tree({"a.py": page("svg"), "figures/a.svg": bomb})
    assert "figures/a.svg:1: an entity is not for a page to show; draw it again" in built(root)[0]


def test_a_picture_out_of_the_folder_is_not_published(tree: Tree, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(PICTURES["png"])
    root = tree({"a.py": page("png"), "figures/b": ""})
    (root / "figures" / "a.png").symlink_to(secret)
    said, html = built(root)
    assert said == ["figures/a.png:1: cannot be read: it is a link out of the folder; mend or "
                    "remove it"]  # fmt: skip
    assert "<figure" not in html
    assert not (root / "site" / "figures").exists()


def test_a_file_of_another_kind_is_no_figure(tree: Tree) -> None:
    root = tree({"a.py": page("pdf"), "figures/a.pdf": "%PDF"})
    told = "a.py:6: figure: figures/a.pdf must be one of .svg, .png, .jpg, .jpeg, .webp"
    assert built(root)[0] == [told]


def test_a_page_of_nothing_but_a_title_shows_its_figure(tree: Tree) -> None:
    text = page("png").partition("\nWords.")[0] + '"""\n'
    said, html = built(tree({"a.py": text, "figures/a.png": PICTURES["png"]}))
    assert said == []
    assert html.count("<figure") == 1


def test_a_file_without_a_page_has_none(tree: Tree) -> None:
    root = tree({"a.py": page("svg"), "figures/a.svg": drawing("<g/>"), "figures/a.py": SCRIPT})
    tree({"pyproject.toml": SETTINGS})
    Builder(root, root / "site").build()
    assert sorted(p.name for p in (root / "site").rglob("*.html")) == [
        "404.html", "a.html", "index.html",
    ]  # fmt: skip


IMPORTS = "from __future__ import annotations\n\nimport a.b, c\nfrom a import d\nfrom . import e\n"


def folded(html: str) -> list[int]:
    inside = re.findall(r'<details class="imports">(.*?)</details>', html, re.DOTALL)
    return [int(number) for part in inside for number in re.findall(r'id="L(\d+)"', part)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f'"""One."""\n\n{IMPORTS}\nx = 1\n', [3, 4, 5, 6, 7]),
        (IMPORTS, [1, 2, 3, 4, 5]),
        ("import a\n\nx = 1\n", []),
        ("import (\na)\n", []),
        ("x = 1\nimport a\nimport b\n", []),
        ("import a\nimport b; x = 1\n", []),
        ("import a\nimport b\nimport c; x = 1\n", [1, 2]),
        ("from a import (\n    b,\n)\n", [1, 2, 3]),
        ("import a\n# Why.\nimport b\n", []),
        ("import a\nimport b\n# Why.\nimport c\n", [1, 2]),
        ("try:\n    import a\n    import b\nexcept E:\n    pass\n", []),
    ],
)
def test_opening_imports_fold_to_a_line(tree: Tree, text: str, lines: list[int]) -> None:
    root = tree({"a.py": text})
    Builder(root, root / "site").build()
    html = (root / "site" / "a.html").read_text()
    assert folded(html) == lines
    numbers = [int(number) for number in re.findall(r'id="L(\d+)"', html)]
    assert numbers == sorted(set(numbers))
    code = [n for n, line in enumerate(text.splitlines(), 1) if line and line[0] not in '"#']
    assert set(code) <= set(numbers)


def test_the_line_names_the_modules(tree: Tree) -> None:
    root = tree({"p/__init__.py": "", "p/a.py": IMPORTS})
    Builder(root, root / "site").build()
    html = (root / "site" / "p" / "a.html").read_text()
    assert "<summary>import <span>c, a, .</span></summary>" in html


def test_a_drawing_has_classes_of_its_own() -> None:
    """The page's rules must not hide what goes past a block because a link is called `skip`."""
    drawn, page = (
        set(re.findall(r"\.([a-z][\w-]*)(?=[^{}]*\{)", (STATIC / name).read_text()))
        for name in ("figures.css", "site.css")
    )
    assert len(drawn) > 20
    assert drawn & page == set()
