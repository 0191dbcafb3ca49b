"""The front page: its promise in numbers, results, papers as cards, the rest in a line each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from site_builder.build import Builder
from site_builder.link.heights import text_lines
from site_builder.publish.check import check_files
from site_builder.read.blocks import parse
from site_builder.read.fingerprint import fingerprint
from site_builder.read.imports import imported_packages
from site_builder.read.references import read_references

from .conftest import Tree

PAPER = '''r"""
---
title: {name}
summary: Says {name}.
paper: The paper of {name}
authors: [Ann Other, Bo Third, Cy Fourth]
year: 2017
url: https://example.org/{name}
acronyms: [{name}, ABC]
metrics: {{loss: {{name: loss, better: lower}}}}
runs: {{ours: "", plain: --plain}}
claims:
  - {{what: it helps, paper: table 1, run: ours, control: plain, metric: loss, margin: 1}}
  - {{what: it is exact, paper: table 2, run: ours, than: 0.5, metric: loss, margin: 1}}
  - {{what: it scales, paper: table 3, note: too large}}
---

# {name}
"""
import numpy
x = 1
'''
SETTINGS = """[tool.site_builder]
title = "T"
sources = ["papers", "builder"]
tests = "tests"
paths = [{title = "A path", pages = ["papers/b/two.py", "papers/a/one.py"]}]
"""
RUNS = ("ours", "plain")
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + (500).to_bytes(4) + (200).to_bytes(4)


def run(label: str, loss: float, images: list[str]) -> dict[str, Any]:
    seeds = [
        {"seed": seed, "recorded": "2026-01-02", "device": "a CPU", "threads": 1, "seconds": 1.0,
         "processor_seconds": 1.0, "versions": {}, "metrics": {"loss": loss + seed / 100}}
        for seed in range(3)
    ]  # fmt: skip
    curve = {"steps": [*range(100)], "values": [loss + 1 / (at + 1) for at in range(100)]}
    return {"label": label, "arguments": "--plain" if label == "plain" else "", "steps": 100,
            "seeds": seeds, "images": images, "said": {}, "series": {"loss": curve}}  # fmt: skip


def record(root: Path, path: str, images: list[str], labels: tuple[str, ...] = RUNS) -> None:
    file = root / path
    folder = file.parent / "records"
    folder.mkdir(exist_ok=True)
    code = {path: fingerprint(parse(file.read_text()))}
    runs = [run(RUNS[0], 1.0, images), run(RUNS[1], 9.0, [])]
    runs = [each for each in runs if each["label"] in labels]
    (folder / f"{file.stem}.json").write_text(json.dumps({"code": code, "runs": runs}))
    for name in images:
        (folder / name).write_bytes(PNG)


@pytest.fixture
def built(tree: Tree) -> Path:
    root = tree(
        {
            "pyproject.toml": SETTINGS,
            "papers/__init__.py": '"""\n---\ntitle: All papers\nsummary: S.\n---\n"""\n',
            "papers/a/__init__.py": '"""\n---\ntitle: Topic A\nsummary: S.\n---\n"""\n',
            "papers/a/one.py": PAPER.format(name="One"),
            "papers/a/three.py": PAPER.format(name="Three"),
            "papers/b/two.py": PAPER.format(name="Two"),
            "papers/common/__init__.py": '"""\n---\ntitle: Around\nsummary: S.\n---\n"""\n',
            "papers/common/run.py": "y = 1\n",
            "builder/__init__.py": '"""# The builder"""\n',
            "builder/deep/step.py": "z = 1\n",
            "tests/a/test_one.py": "import pytest\nimport numpy\nfrom oracle.parts import X\n",
            "tests/b/test_two.py": '"""\nimport the rest\n"""\n'
            "    import oracle, json\nimport scipy.linalg as la\n",
            "tests/common/test_run.py": "import recorder\n",
        }
    )
    record(root, "papers/a/three.py", ["three.ours.maps.png"])
    record(root, "papers/b/two.py", [])
    assert Builder(root, root / "site").build().problems == ()
    return root / "site"


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def part(html: str, begin: str, end: str) -> str:
    return html.split(begin, 1)[1].split(end, 1)[0]


def test_the_promise_is_counted(built: Path) -> None:
    html = (built / "index.html").read_text()
    told = words(part(html, '<ul class="promise">', "</ul>"))
    # Two claims of each of two papers were measured; that ours is below the number does not hold.
    assert told == (
        "3 papers, each one file; 9 pages with all that is around them "
        "2 of 4 measured claims hold, by a rule, from runs on record "
        "2 libraries that tests compare our code with: oracle on 2 pages, scipy on 1 page"
    )


def test_results_come_from_several_topics_and_lead_to_theirs(built: Path) -> None:
    html = (built / "index.html").read_text()
    plates = part(html, 'class="plates"', "</section>").split('<li><a href="')[1:]
    assert [plate.split('"')[0] for plate in plates] == [
        "papers/a/three.html#results",
        "papers/b/two.html#results",
    ]
    assert 'src="papers/a/records/three.ours.maps.png"' in plates[0]
    assert 'width="500" height="200"' in plates[0]
    assert words(plates[1].partition(">")[2]) == (
        "Two Loss. Lowest after 100 steps: ours, at 1.01. Highest: plain, at 9.01, 8.9 times as "
        "much. ours 1.01 plain 9.01"
    )
    assert (built / "papers/a/records/three.ours.maps.png").read_bytes() == PNG


def test_a_lone_curve_is_no_result_to_show_first(built: Path) -> None:
    root = built.parent
    record(root, "papers/b/two.py", [], labels=("ours",))
    Builder(root, built).build()
    plates = part((built / "index.html").read_text(), 'class="plates"', "</section>")
    assert "papers/b/two.html" not in plates
    assert "papers/a/three.html" in plates


def test_a_card_has_the_paper_its_people_and_its_verdicts(built: Path) -> None:
    for page, picture in [("index.html", "papers/a/records/"), ("papers/a/index.html", "records/")]:
        html = (built / page).read_text()
        cards = part(html, '<ul class="cards pictured">', "</ul>").split("<li>")[1:]
        one, three = cards
        assert words(one).startswith("One ABC Says One. The paper of One Other et al., 2017")
        assert "claim" not in one
        assert words(three).endswith("2 claims: 1 holds, 1 does not hold here")
        verdicts = re.findall(r'data-verdict="([^"]+)"', three)
        assert verdicts == ["holds", "does not hold here"]
        assert f'class="thumb crop"><img src="{picture}three.ours.maps.png"' in three
        assert "thumb" not in one
    # Of a curve there are its lines, at a few points.
    two = (built / "papers/b/two.html").read_text()
    assert len(re.findall(r"L", part(two, 'class="sketch"', "</svg>"))) > 150
    front = (built / "index.html").read_text()
    assert 20 < len(re.findall(r"L", part(front, '<svg class="thumb"', "</svg>"))) < 70


def test_the_rest_is_a_line_each_and_two_clicks_away(built: Path) -> None:
    html = (built / "index.html").read_text()
    lines = [words(line) for line in re.findall(r'<p class="also">.*?</p>', html, re.S)]
    assert lines == [
        "All papers , Around 1",
        "The builder , builder.deep 1",
        "All 9 pages , folder by folder",
    ]
    assert [words(m) for m in re.findall(r"<h2 id=.*?</h2>", html)][-3:-1] == [
        "Topic A",
        "papers.b",
    ]
    every = (built / "all-pages.html").read_text()
    ours = {path.relative_to(built).as_posix() for path in built.rglob("*.html")}
    pages = ours - {"index.html", "404.html", "years.html", "all-pages.html"}
    links = {
        *re.findall(r'href="([^"#]+\.html)', html),
        *re.findall(r'href="([^"#]+\.html)', every),
    }
    assert pages <= links
    files = {p.relative_to(built).as_posix(): p.read_bytes for p in built.rglob("*") if p.is_file()}
    assert check_files(files) == []


def test_where_to_begin_is_in_the_order_of_the_settings(built: Path) -> None:
    path = part((built / "index.html").read_text(), 'class="path"', "</nav>")
    assert re.findall(r'href="([^"]+)"', path) == ["papers/b/two.html", "papers/a/one.html"]


def test_a_foreign_tree_shows_all_that_it_has(tree: Tree) -> None:
    root = tree({"a.py": "x = 1\n", "deep/b.py": "y = 1\n", "README.md": "# Read me\n"})
    assert Builder(root, root / "site").build().problems == ()
    html = (root / "site" / "index.html").read_text()
    assert {'href="a.html"', 'href="deep/b.html"'} <= {*re.findall(r'href="[^"]+"', html)}
    assert words(part(html, '<ul class="promise">', "</ul>")) == "2 pages"
    for absent in ("Start here", 'class="plates"', 'class="also"', "claims", "all-pages"):
        assert absent not in html
    assert not (root / "site" / "all-pages.html").exists()


def test_a_change_of_tests_alone_is_a_change_of_the_site(built: Path) -> None:
    root = built.parent
    assert Builder(root, built).build().changed == ()
    (root / "tests/a/test_one.py").write_text("import numpy\n")
    assert "index.html" in Builder(root, built).build().changed
    assert "oracle on 1 page," in words((built / "index.html").read_text())


def test_a_reference_is_what_only_the_test_needs(tmp_path: Path) -> None:
    (tmp_path / "tests/a").mkdir(parents=True)
    text = (
        "import os, re\nfrom pytest import fixture\nimport hypothesis\nfrom papers.a import x\n"
        "from tests import y\nfrom numpy import z\nimport third.part\n"
    )
    (tmp_path / "tests/a/test_x.py").write_text(text)
    pages = [("papers/a/x.py", imported_packages("import numpy\n")), ("papers/b/x.py", set())]
    assert read_references(tmp_path, "tests", pages) == {"third": ("papers/a/x.py",)}
    assert read_references(tmp_path, "", pages) == {}


def test_the_height_of_prose_is_that_of_what_is_seen() -> None:
    assert text_lines("") == 0
    assert text_lines("<p>" + "a" * 600 + "</p>") == 11
    once = text_lines("<p>a</p>")
    assert text_lines("<p>a<math><mi>" + "b" * 600 + "</mi></math></p>") == once
    assert text_lines("<p>a" + "<b class='long long long long'></b>" * 50 + "</p>") == once
    assert text_lines('<p>a</p><span class="katex-display"></span>') > once + 1
