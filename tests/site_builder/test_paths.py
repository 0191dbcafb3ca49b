"""Ways through the pages: what is built upon what, drawn; paths, and where Next leads."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from site_builder.build import Builder
from site_builder.link.map import ACROSS, DOWN, HIGH, WIDE, draw
from site_builder.read.routes import Route, read_routes

from .conftest import Tree

PAPER = '''r"""
---
title: {name}
summary: Says {name}.
paper: The paper of {name}
authors: [Ann Other]
year: {year}
url: https://example.org/{name}
{more}---
"""
{code}
'''
SETTINGS = """[tool.site_builder]
sources = ["papers"]

[[tool.site_builder.paths]]
title = "First way"
summary = "A summary."
pages = [
    "papers/b/four.py",
    "papers/a/one.py",
    "papers/a/three.py",
]

[[tool.site_builder.paths]]
title = "Second way"
pages = ["papers/a/one.py", "papers/b/five.py"]
"""


def paper(name: str, year: int, more: str = "", code: str = "x = 1") -> str:
    return PAPER.format(name=name, year=year, more=more, code=code)


FILES = {
    "pyproject.toml": SETTINGS,
    "papers/__init__.py": '"""\n---\ntitle: All\nsummary: S.\n---\n"""\n',
    "papers/a/__init__.py": '"""\n---\ntitle: Topic A\nsummary: S.\n---\n"""\n',
    "papers/a/one.py": paper("One", 2001),
    "papers/a/two.py": paper("Two", 2002, code="from papers.a.one import x\n"
                             "from papers.b import four\n"),
    "papers/a/three.py": paper("Three", 2003, "needs: [a/two]\n", "from papers.a.one import x\n"),
    "papers/b/__init__.py": '"""\n---\ntitle: Topic B\nsummary: S.\n---\n"""\n',
    "papers/b/four.py": paper("Four", 2004, code="from papers.a.one import x\n"),
    "papers/b/five.py": paper("Five", 2005, code="from papers.b import four\n"
                              "from papers.a.one import x\nfrom papers.b.other import y\n"),
    "papers/b/other.py": "y = 1\n",
}  # fmt: skip


@pytest.fixture
def built(tree: Tree) -> Path:
    root = tree(dict(FILES))
    assert Builder(root, root / "site").build().problems == ()
    return root / "site"


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def said(out: Path, page: str, name: str) -> str:
    html = (out / page).read_text()
    found = re.search(rf"<dt>{name}</dt><dd>(.*?)</dd>", html, re.DOTALL)
    return words(found[1]) if found else ""


def onward(out: Path, page: str) -> list[tuple[str, str]]:
    """What a page leads to: what it says, and to which address."""
    html = (out / page).read_text()
    turn = html.partition('<nav class="turn"')[2].partition("</nav>")[0]
    links = re.findall(r'<a rel="next" href="([^"]+)"[^>]*>(.*?)</a>', turn)
    return [(words(text), address) for address, text in links]


def test_what_is_needed_is_named_or_else_imported(built: Path) -> None:
    assert said(built, "papers/a/one.html", "Read before") == ""
    # By way of Four it builds upon One too; what is no paper is not read before one.
    assert said(built, "papers/a/two.html", "Read before") == "Four"
    assert said(built, "papers/b/five.html", "Read before") == "Four"
    # Front matter knows better than the code.
    assert said(built, "papers/a/three.html", "Read before") == "Two"
    assert said(built, "papers/a/one.html", "Leads to") == "Four"
    assert said(built, "papers/b/four.html", "Leads to") == "Two , Five"


def test_papers_that_import_each_other(tree: Tree) -> None:
    files = FILES | {
        "papers/a/one.py": paper("One", 2001, code="from papers.b.four import x\n"),
        "pyproject.toml": SETTINGS,
    }
    root = tree(dict(files))
    assert Builder(root, root / "site").build().problems == ()
    assert said(root / "site", "papers/b/five.html", "Read before") == "One , Four"


def test_next_follows_the_paths_and_no_index(built: Path) -> None:
    assert onward(built, "papers/b/four.html") == [
        ("Next on the path First way One", "../a/one.html")
    ]
    assert onward(built, "papers/a/one.html") == [
        ("Next on the path First way Three", "three.html"),
        ("Next on the path Second way Five", "../b/five.html"),
    ]
    # Behind the end of a path the order goes on, from topic to topic without their indexes.
    assert onward(built, "papers/a/three.html") == [("Next Four", "../b/four.html")]
    assert onward(built, "papers/a/two.html") == [("Next Three", "three.html")]
    html = (built / "papers/a/one.html").read_text()
    assert '<a rel="prev" href="../b/four.html">' in html
    assert said(built, "papers/a/one.html", "Paths") == "First way , 2 of 3; Second way , 1 of 2"
    assert said(built, "papers/b/four.html", "Path") == "First way , 1 of 3"
    # The first page of a path comes after none.
    assert 'rel="prev"' not in (built / "papers/b/four.html").read_text()


def test_without_paths_the_order_leads_past_indexes_both_ways(tree: Tree) -> None:
    root = tree({**FILES, "pyproject.toml": '[tool.site_builder]\nsources = ["papers"]\n'})
    assert Builder(root, root / "site").build().problems == ()
    html = (root / "site/papers/b/four.html").read_text()
    assert '<a rel="prev" href="../a/three.html">' in html
    assert onward(root / "site", "papers/a/three.html") == [("Next Four", "../b/four.html")]


def test_a_folder_in_a_folder_follows_it_wherever_it_is_linked(tree: Tree) -> None:
    files = {
        **FILES,
        "papers/a/__init__.py": '"""# A\n\nSee [deep](deep/__init__.py)."""\n',
        "papers/a/deep/__init__.py": '"""# Deep"""\n',
        "papers/a/deep/six.py": paper("Six", 1999),
        "pyproject.toml": '[tool.site_builder]\nsources = ["papers"]\n',
    }
    root = tree(files)
    assert Builder(root, root / "site").build().problems == ()
    assert onward(root / "site", "papers/a/three.html") == [("Next Six", "deep/six.html")]
    assert onward(root / "site", "papers/a/deep/six.html") == [("Next Four", "../../b/four.html")]


def test_two_paths_to_one_page_are_one_link(tree: Tree) -> None:
    settings = SETTINGS.replace('"papers/a/one.py", "papers/b/five.py"]',
                                '"papers/a/one.py", "papers/a/three.py"]')  # fmt: skip
    root = tree({**FILES, "pyproject.toml": settings})
    assert Builder(root, root / "site").build().problems == ()
    ways = onward(root / "site", "papers/a/one.html")
    assert ways == [("Next on the paths First way, Second way Three", "three.html")]


def test_a_package_with_code_is_more_than_an_index(tree: Tree) -> None:
    root = tree(
        {"a.py": "x = 1\n", "b/__init__.py": "def f():\n    return 1\n", "b/c.py": "y = 1\n"}
    )
    assert Builder(root, root / "site").build().problems == ()
    ways = {address for page in ("a", "b/index", "b/c")
            for _, address in onward(root / "site", f"{page}.html")}  # fmt: skip
    assert {"index.html", "b/index.html"} & ways
    assert not (root / "site" / "paths.html").exists()
    assert "paths.html" not in (root / "site" / "index.html").read_text()


def test_the_page_of_paths(built: Path) -> None:
    html = (built / "paths.html").read_text()
    first, second = re.findall(r'<section class="path".*?</section>', html, re.DOTALL)
    assert words(first).startswith("First way A summary. 3 pages, 3 minutes to read. Four Says")
    assert re.findall(r'class="step" href="([^"]+)"', second) == [
        "papers/a/one.html",
        "papers/b/five.html",
    ]
    assert 'id="second-way"' in second
    drawn = re.search(r"<svg viewBox.*?</svg>", html, re.DOTALL)
    assert drawn
    boxes = re.findall(r'<a class="step" href="([^"]+)"', drawn[0])
    assert sorted(boxes) == [f"papers/{p}.html" for p in
                             ("a/one", "a/three", "a/two", "b/five", "b/four")]  # fmt: skip
    assert drawn[0].count('class="way"') == 4
    assert "Three : read Two before" in words(html)


def test_the_map_is_in_order_and_nothing_lies_on_another(tree: Tree) -> None:
    """A page stands right of all that it needs, boxes are apart, and lines begin and end at one."""
    names = [f"n{at}" for at in range(12)]
    needs = {"n3": ["n0", "n1"], "n4": ["n3", "n0"], "n5": ["n4", "n1"], "n6": ["n0"],
             "n7": ["n5", "n2", "n6"], "n8": ["n0"], "n9": ["n8"], "n10": ["n2"]}  # fmt: skip
    files = {f"p/{name}.py": paper(name.upper(), 2001,
             f"needs: [{', '.join(f'p/{n}' for n in needs[name])}]\n" if name in needs else "")
             for name in names}  # fmt: skip
    root = tree({**files, "pyproject.toml": '[tool.site_builder]\nsources = ["p"]\n'})
    assert Builder(root, root / "site").build().problems == ()
    html = (root / "site/paths.html").read_text()
    found = re.findall(r'href="p/(n\d+)\.html"><title>N\d+</title><rect x="(\d+)" y="(\d+)"', html)
    place = {name: (int(x), int(y)) for name, x, y in found}
    # What has nothing to do with the others is not on it.
    assert place.keys() == {*names} - {"n11"}
    for (x, y), (other_x, other_y) in combinations(place.values(), 2):
        assert abs(x - other_x) >= ACROSS or abs(y - other_y) >= DOWN
    assert all(place[name][0] > place[other][0] for name in needs for other in needs[name])
    lines = re.findall(r'class="way" d="M(\d+) (\d+)C.*?(\d+) (\d+)"', html)
    ends = {
        ((int(a) - WIDE, int(b) - HIGH // 2), (int(c), int(d) - HIGH // 2)) for a, b, c, d in lines
    }
    assert ends == {(place[other], place[name]) for name in needs for other in needs[name]}
    # A line passes each column between, where no box stands.
    for path in re.findall(r'class="way" d="(.*?)"', html):
        begin, *points = [
            (int(x), int(y)) for x, y in re.findall(r"(?:M| )(\d+) (\d+)(?=[CH]|$)", path)
        ]
        assert len(points) * ACROSS == points[-1][0] - begin[0] + WIDE
        assert not {(x, y - HIGH // 2) for x, y in points[:-1]} & {*place.values()}


def test_nothing_to_draw_is_no_map() -> None:
    assert draw({"a": []}, {}) is None


TABLES = """[tool.site_builder]
title = "a"
{paths}
[[tool.site_builder.paths]]
title = "A"
pages = ["x.py"]
[[tool.site_builder.paths]]
{second}
"""


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ('title = "B"', "7: paths: pages must be a list of files"),
        ('title = "B"\npages = "x.py"', "7: paths: pages must be a list of files"),
        ('title = "B"\npages = []', "7: paths: pages must be a list of files"),
        ('title = "B"\npages = ["x.py", "x.py"]', "7: paths: 'B' names a page twice"),
        ('pages = ["x.py"]', "7: paths: each needs a title of its own words"),
        ('title = "a!"\npages = ["x.py"]', "7: paths: each needs a title of its own words"),
        ('title = "B"\nsummary = 3\npages = ["x.py"]', "7: paths: summary must be a string"),
        ('title = "B"\npage = ["x.py"]\npages = ["x.py"]',
         "7: paths: unknown key 'page'; known: title, summary, pages"),
        ('title = "B"\npages = [\n"x.py",\n"gone.py",\n]', "11: paths: there is no 'gone.py'; "
         "name a file that is rendered"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_line(tree: Tree, second: str, told: str) -> None:
    settings = TABLES.format(paths="", second=second)
    root = tree({"pyproject.toml": settings, "x.py": "x = 1\n"})
    report = Builder(root, root / "site").build()
    assert [str(problem) for problem in report.problems] == [f"pyproject.toml:{told}"]
    # The other path is as good as before.
    assert 'id="a"' in (root / "site/paths.html").read_text()


@pytest.mark.parametrize("value", ['"x.py"', "[3]", "{title = 'a'}"])
def test_what_is_no_list_of_paths(tree: Tree, value: str) -> None:
    root = tree({"pyproject.toml": f"[tool.site_builder]\npaths = {value}\n", "x.py": ""})
    told = [str(problem) for problem in Builder(root, root / "site").build().problems]
    assert told == ["pyproject.toml:2: paths: must be a list of {title, pages}"]


def test_the_lines_of_pages_are_theirs() -> None:
    text = 'paths = [{title = "A", pages = ["x.py"]},\n{title = "B", pages = ["y.py",\n"x.py"]}]\n'
    given = [{"title": "A", "pages": ["x.py"]}, {"title": "B", "pages": ["y.py", "x.py"]}]
    routes, problems = read_routes(given, text)
    assert problems == []
    assert routes == (Route("A", "", ("x.py",), (1,)), Route("B", "", ("y.py", "x.py"), (2, 3)))
