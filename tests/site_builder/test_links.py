"""Names and addresses: where they lead, in code and in prose, and where they do not."""

from __future__ import annotations

import re

import pytest

from site_builder.build import Builder
from site_builder.link.links import Targets, relative
from site_builder.problem import Problem
from site_builder.read.sections import Prose
from site_builder.render.context import Context
from site_builder.render.pieces import Link
from site_builder.render.prose import render

from .conftest import Tree

MODEL = '''r"""
# Model

Uses `Linear` and `make`, not `Nothing`; the `dict` of Python, `os.path`, `shapes.Linear.forward`.
See [the layer](shapes.py#the-layer), [line two](shapes.py#L2), [all](../lib/__init__.py),
[data](data.csv), [x](https://x.org), ![plot](plot.png) and ```Linear```.

    `Linear` in code
"""
import lib.shapes
import lib.shapes as s
import os.path
from lib import Linear, make as produce
from . import sibling
from .sibling import local, Outer as O
from lib.shapes import *


def build(Linear, x=produce):
    return Linear(x), lib.shapes.make, s.Linear.forward, produce(), O.Inner


def plain(x: Linear) -> None:
    """No `produce` here."""
    local()
    for sibling in x:
        sibling.local
    first = lambda produce: produce + build
    print(f"{Linear}", make=1)
    größe = "ä", Linear
    (lib
     .shapes
     .Linear)


class make:
    Linear = 1

    def go(self):
        return make, self.Linear
'''
FILES: dict[str, str | bytes] = {
    "lib/__init__.py": "from .shapes import Linear, make\nfrom lib.circle import around\n",
    "lib/circle.py": "from lib import around\n",
    "lib/shapes.py": '# One.\nclass Linear:\n    r"""\n    ## The layer\n    """\n\n'
    "    def forward(self):\n        pass\n\n\ndef make():\n    pass\n",
    "app/__init__.py": "",
    "app/sibling.py": "def local():\n    pass\n\n\nclass Outer:\n    class Inner:\n        pass\n",
    "app/model.py": MODEL.replace("shapes.py", "../lib/shapes.py"),
    "app/data.csv": "1,2",
    "app/plot.png": b"png",
    "app/unused.bin": b"x",
}


def built(tree: Tree, files: dict[str, str | bytes]) -> tuple[dict[str, str], tuple[Problem, ...]]:
    root = tree(files)
    problems = Builder(root, root / "site").build().problems
    pages = (root / "site").rglob("*.html")
    return {p.relative_to(root / "site").as_posix(): p.read_text() for p in pages}, problems


def code_links(html: str) -> list[tuple[int, str, str]]:
    """Line, address and text of each name in the code that leads somewhere."""
    found = []
    for number, line in re.findall(r'<span class="l" id="L(\d+)"[^>]*>(.*?)</span>\n', html):
        for address, text in re.findall(r'<a class="ref" href="([^"]*)">(.*?)</a>', line):
            found.append((int(number), address, re.sub("<[^>]*>", "", text)))
    return found


def test_names_in_code(tree: Tree) -> None:
    pages, problems = built(tree, FILES)
    assert problems == ()
    links = code_links(pages["app/model.html"])
    lines = FILES["app/model.py"]
    assert isinstance(lines, str)
    place = {line.strip(): number for number, line in enumerate(lines.splitlines(), 1)}
    layer, make = "../lib/shapes.html#the-layer", "../lib/shapes.html#make"

    def at(line: str) -> list[tuple[str, str]]:
        return [(address, text) for number, address, text in links if number == place[line]]

    # A name that the package re-exports leads to where it is defined.
    assert at("from lib import Linear, make as produce") == [(layer, "Linear"), (make, "make")]
    assert at("from .sibling import local, Outer as O") == [
        ("sibling.html#local", "local"), ("sibling.html#Outer", "Outer")]  # fmt: skip
    assert at("from . import sibling") == [("sibling.html", "sibling")]
    # An argument hides the module's name; a default is not yet inside.
    assert at("return Linear(x), lib.shapes.make, s.Linear.forward, produce(), O.Inner") == [
        ("../lib/index.html", "lib"), ("../lib/shapes.html", "shapes"), (make, "make"),
        ("../lib/shapes.html", "s"), (layer, "Linear"), (layer, "forward"),
        (make, "produce"), ("sibling.html#Outer", "O"), ("sibling.html#Outer", "Inner"),
    ]  # fmt: skip
    assert at("def build(Linear, x=produce):") == [(make, "produce")]
    assert at("def plain(x: Linear) -> None:") == [(layer, "Linear")]
    assert at("local()") == [("sibling.html#local", "local")]
    assert at("sibling.local") == [], "the loop binds the name"
    assert at("first = lambda produce: produce + build") == [("#build", "build")]
    # A keyword is no name; where the parts of an f-string are, not every Python says.
    assert at('print(f"{Linear}", make=1)') == []
    assert at('größe = "ä", Linear') == [(layer, "Linear")]
    assert at(".Linear)") == [(layer, "Linear")]
    assert at("return make, self.Linear") == [("#make", "make")]
    assert at("Linear = 1") == []


def test_names_and_addresses_in_prose(tree: Tree) -> None:
    pages, _ = built(tree, FILES)
    html = pages["app/model.html"]
    prose = html[
        html.index('<div class="prose') : html.index("</div>", html.index('<div class="prose'))
    ]
    links = re.findall(r'<a (?:class="ref" )?href="([^"]*)">(.*?)</a>', prose)
    layer = "../lib/shapes.html#the-layer"
    assert links == [
        (layer, "<code>Linear</code>"),
        ("#make", "<code>make</code>"),
        (layer, "the layer"),
        ("../lib/shapes.html#L2", "line two"),
        ("../lib/index.html", "all"),
        ("data.csv", "data"),
        ("https://x.org", "x"),
        (layer, "<code>Linear</code>"),
    ]
    assert '<img alt="plot" src="plot.png">' in prose or 'src="plot.png" alt="plot"' in prose
    for words in (
        "<code>Nothing</code>",
        "<code>dict</code>",
        "<code>os.path</code>",
        "`Linear` in code",
    ):
        assert words in prose


def test_what_a_page_shows_comes_along(tree: Tree) -> None:
    root = tree(FILES)
    Builder(root, root / "site").build()
    assert (root / "site/app/plot.png").read_bytes() == b"png"
    assert (root / "site/app/data.csv").read_bytes() == b"1,2"
    assert not (root / "site/app/unused.bin").exists()


def test_an_edit_elsewhere_moves_the_links(tree: Tree) -> None:
    root = tree(FILES)
    builder = Builder(root, root / "site")
    builder.build()
    tree({"lib/shapes.py": FILES["lib/shapes.py"].replace("The layer", "A layer")})  # type: ignore[arg-type,union-attr]
    report = builder.build()
    assert [str(p) for p in report.problems] == [
        "app/model.py:5: ../lib/shapes.py#the-layer leads nowhere: "
        "lib/shapes.py has no anchor #the-layer"
    ]
    # The page that was good stays, with its other links, until its own link is mended.
    model = FILES["app/model.py"]
    assert isinstance(model, str)
    tree({"app/model.py": model.replace("#the-layer", "#a-layer")})
    assert builder.build().problems == ()
    html = (root / "site/app/model.html").read_text()
    assert "#the-layer" not in html
    assert "#a-layer" in html
    # A builder that remembers, and one that does not, write the same.
    Builder(root, root.parent / "fresh").build()
    remembered, fresh = (
        {page.relative_to(out): page.read_bytes() for page in out.rglob("*.html")}
        for out in (root / "site", root.parent / "fresh")
    )
    assert remembered == fresh


def test_a_package_that_is_the_root(tree: Tree) -> None:
    """`site-builder build …/jinja2`: its modules import each other by the package's name."""
    pages, problems = built(tree, {
        "__init__.py": '"""About it."""\nfrom .core import thing\n',
        "core.py": "def thing():\n    pass\n",
        "use.py": "from project.core import thing\nfrom project import thing as other\n\nthing()\n",
    })  # fmt: skip
    assert problems == ()
    assert set(pages) == {
        "__init__.html",
        "core.html",
        "use.html",
        "index.html",
        "404.html",
    }
    assert "<h1>project</h1>" in pages["__init__.html"]
    assert {address for _, address, _ in code_links(pages["use.html"])} == {"core.html#thing"}
    assert {address for _, address, _ in code_links(pages["__init__.html"])} == {"core.html#thing"}


def test_relative_addresses() -> None:
    assert relative("a/b.html", "a/c.html") == "b.html"
    assert relative("a/b.html#x", "d/e/f.html") == "../../a/b.html#x"
    assert relative("a/b.html#x", "a/b.html") == "#x"
    assert relative("index.html", "a/b.html") == "../index.html"
    assert relative("a/b.html", "index.html") == "a/b.html"


def test_names_in_a_circle_lead_nowhere() -> None:
    targets = Targets({}, {"a.x": "b.x", "b.x": "a.x"}, {}, {}, frozenset())
    assert targets.name("a.x") == ""
    assert targets.name("a.x.y.z") == ""
    assert targets.name("") == ""


def test_an_address_of_the_site_is_good(tree: Tree) -> None:
    text = (
        "[p](bare.html), [q](sub/), [r](sub), [s](sub/index.html#f), [t](../index.html), "
        "[u](../lib/t%23h%3Fr.py), [v](bare.py?raw=1#%67), [w](odd%20name.csv#x)"
    )
    pages, problems = built(tree, {
        "app/one.py": f'"""{text}"""\n',
        "app/bare.py": "def g():\n    pass\n",
        "app/sub/__init__.py": "def f():\n    pass\n",
        "app/odd name.csv": "1",
        "lib/t#h?r.py": "x = 1\n",
    })  # fmt: skip
    assert problems == ()
    assert re.findall(r'<a href="([^"]*)">[p-w]</a>', pages["app/one.html"]) == [
        "bare.html", "sub/index.html", "sub/index.html", "sub/index.html#f", "../index.html",
        "../lib/t%23h%3Fr.html", "bare.html#%67", "odd%20name.csv#x",
    ]  # fmt: skip


def test_a_dead_link_is_on_its_line(tree: Tree) -> None:
    lines = [f"Line {n}." for n in range(1, 40)]
    lines[20] = r"[x](..\..\x)"
    lines[25] = "[y](gone.html), `gone.html`"
    lines[30] = "![z](https://x.org/z.png)"
    lines[35] = "[w](a.py#gone)"
    text = "\n".join(lines)
    _, problems = built(tree, {"a.py": f'r"""gone.html\n{text}"""\n'})
    assert [(problem.line, problem.message.split()[1]) for problem in problems] == [
        (22, "leads"), (27, "leads"), (32, "is"), (37, "leads")]  # fmt: skip


def test_contents_list_headings_and_what_has_none(tree: Tree) -> None:
    pages, _ = built(tree, {"a.py": (
        "class First:\n    pass\n\n\n"
        'class Second:\n    r"""\n    ## The second\n\n    ### Inside\n    """\n\n'
        '    def method(self):\n        """Documented."""\n\n\n'
        "def third():\n    pass\n"
    )})  # fmt: skip
    found = re.findall(r'<li class="level-(\d)"><a href="#([^"]*)">(.*?)</a>', pages["a.html"])
    assert found == [
        ("1", "-main", "a.py"), ("2", "First", "First"), ("2", "the-second", "The second"),
        ("4", "Second.method", "Second.method"), ("3", "third", "third"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (r"[a](..\..\x)", r"..\..\x"),
        (r"[a](..\_x\y)", r"..\_x\y"),
        ("[a]: ..\\..\\_x\n\n[a]", r"..\..\_x"),
        (r"[a](x\_y.py)", "x_y.py"),
    ],
)
def test_an_address_of_windows_stays_as_it_was_written(written: str, address: str) -> None:
    pieces = render(Prose(written, 1), "s", Context()).pieces
    assert [piece.address for piece in pieces if isinstance(piece, Link)] == [address]
