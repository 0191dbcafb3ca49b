"""What lines made: read from a record, tied to the lines of a page, and said when it is stale."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from site_builder.build import Builder
from site_builder.read.blocks import parse
from site_builder.read.fingerprint import fingerprint, lines_of_code
from site_builder.results.fits import fits

from .conftest import Tree

FILE = '''"""
# Sums

Words.
"""

from torch import nn


def add(x):
    """
    ## Adding up
    """
    # Why we add.
    y = x.sum(
        -1,
    )  # (B,)

    return y
'''
MADE: list[dict[str, Any]] = [
    {"line": 2, "made": [
        {"name": "x", "dtype": "float32", "shape": "(B, T)", "sizes": [2, 4],
         "values": "1 0 -inf 4 5 6 7 8"},
        {"name": "n", "dtype": "int", "shape": "()", "sizes": [], "values": "3"},
    ]},
    {"line": 3, "last": 5, "made": [
        {"name": "y", "dtype": "float32", "shape": "(B,)", "sizes": [2], "values": "5 26"},
        {"name": "on", "dtype": "bool", "shape": "()", "sizes": [], "values": "0"},
    ]},
    {"line": 6, "made": [
        {"name": "return y", "dtype": "<b>", "parameters": 1234},
        {"name": "s", "dtype": "float32", "shape": "()", "sizes": [], "values": "1.5"},
        {"name": "wide", "dtype": "int64", "shape": "(B, 9)", "sizes": [2, 9]},
    ]},
]  # fmt: skip
GPT = {
    "name": "124M", "example": "a text", "parameters": 124_439_808,
    "modules": {"blocks": 85_054_464}, "flops": 291_648_307_200, "kept": 611_082_240,
    "cache": 18_874_368,
}  # fmt: skip


def text_of(data: dict[str, Any]) -> str:
    rows = ",\n".join(json.dumps(row) for row in data["lines"])
    rest = {key: value for key, value in data.items() if key != "lines"}
    return f'{json.dumps(rest)[:-1]},\n"lines": [\n{rows}\n]}}\n'


def built(tree: Tree, file: str = FILE, **changed: Any) -> tuple[list[str], str]:
    """What `check` says, and the page."""
    data = {"code": lines_of_code(parse(FILE)).fingerprint, "lines": MADE} | changed
    root = tree({"a.py": file, "records/a.shapes.json": text_of(data)})
    said = [str(problem) for problem in Builder(root, None).build().problems]
    Builder(root, root / "site").build()
    return said, (root / "site" / "a.html").read_text()


def shown(html: str) -> dict[str, str]:
    found = re.search(r'<script type="application/json" id="-shapes">(.*?)</script>', html)
    return json.loads(found[1]) if found else {}


def test_each_line_has_what_it_made(tree: Tree) -> None:
    said, html = built(tree)
    assert said == []
    assert '<button type="button" class="shapes scripted"' in html
    assert "<b>" not in re.search(r'id="-shapes">.*?</script>', html)[0]  # type: ignore[index]
    assert shown(html) == {
        "10": "x|(B, T)|2×4, float32|1 0 -inf 4 5 6 7 8\nn||= 3",
        "15-17": "y|(B,)|2, float32 = 5 26\non||= False",
        "19": "return y||<b>, 1,234 parameters\ns|()|float32 = 1.5\nwide|(B, 9)|2×9, int64",
    }


def test_prose_may_change_and_code_may_not(tree: Tree) -> None:
    longer = FILE.replace("Words.", "More\n\nwords.").replace("# Why", "# This is why")
    said, html = built(tree, longer)
    assert said == []
    assert list(shown(html)) == ["12", "17-19", "21"]
    for old, new in (("sum", "max"), ("# (B,)", "# (T,)"), ("return y", "return  y")):
        said, html = built(tree, FILE.replace(old, new), published=[GPT])
        assert said == [
            "records/a.shapes.json:1: recorded before a.py changed; "
            "record it again: python -m papers.tools.shapes a.py"
        ]
        assert shown(html) == {}
        assert 'class="shapes' not in html
        assert "What each line makes is not shown: a.py changed since it was recorded." in html
        assert "Does it fit" in html


@pytest.mark.parametrize(("line", "last"), [(7, 7), (0, 0), (5, 9), (5, 4)])
def test_a_line_that_does_not_exist_is_one_line_that_points(
    tree: Tree, line: int, last: int
) -> None:
    lines = [*MADE[:2], {"line": line, "last": last, "made": MADE[0]["made"]}]
    said, html = built(tree, lines=lines)
    assert said == [
        "records/a.shapes.json:5: a.py has 6 lines of code, and this is of line "
        f"{last}; record it again: python -m papers.tools.shapes a.py"
    ]
    assert shown(html) == {}


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"code": "1", "lines": [{"line": "one", "made": []}]}', '{"lines": []}']
)
def test_what_is_no_record_is_one_line(tree: Tree, text: str) -> None:
    root = tree({"a.py": FILE, "records/a.shapes.json": text})
    (said,) = map(str, Builder(root, None).build().problems)
    assert said.startswith("records/a.shapes.json:1: not a record of shapes (")
    assert said.endswith("; record it again: python -m papers.tools.shapes a.py")


def test_lines_of_code_are_without_prose_and_blank_lines() -> None:
    lines = lines_of_code(parse(FILE))
    assert lines.numbers == (7, 10, 15, 16, 17, 19)
    commented = FILE.replace("return y", "return y  # (B,)")
    assert lines_of_code(parse(commented)).fingerprint != lines.fingerprint
    assert fingerprint(parse(commented)) == fingerprint(parse(FILE))


def test_what_fits(tree: Tree) -> None:
    _, html = built(tree, published=[GPT])
    table = re.search(r'<table class="answers fits">.*?</table>', html, re.DOTALL)
    assert table
    cells = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", table[0])).strip()
    assert cells == (
        "Size Parameters Operations To run To train On 8 GB 24 GB 80 GB "
        "124M a text 124 M parts blocks 85,054,464 292 G 273 MB of it 36 MB keys, values "
        "1.85 GB + 583 MB each trains 10 at once trains 38 at once trains 130 at once"
    )
    assert '<a href="#does-it-fit">Does it fit</a>' in html


def test_what_fits_where_little_is_known() -> None:
    (big, small) = fits([{"name": "big", "parameters": 10**10}, {"name": "s", "parameters": 999}])
    # 20 and 160 billion bytes.
    assert (big.run, big.train, big.flops, big.kept) == ("18.6 GB", "149 GB", "", "")
    assert big.cards == ("no", "runs", "runs")
    assert (small.parameters, small.run, small.cards[0]) == ("999", "1.95 kB", "trains")
    # Just over what 24 GB have for weights and state, before a single example.
    (just,) = fits([{"name": "j", "parameters": 24 * 2**30 // 16, "kept": 1}])
    assert just.cards == ("runs", "runs", "trains, 60,000,000,000 at once")
