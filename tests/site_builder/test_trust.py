"""What the head of a page says of how far it can be trusted: equal to what, by which test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from site_builder.build import Builder, Report

from .conftest import Tree

SETTINGS = '[tool.site_builder]\nsources = ["papers"]\ntests = "tests"\n'
REPOSITORY = 'repository = "https://example.org/x/"\nbranch = "next"\n'
TEST = '"""About test_same(."""\n\n\ndef test_same_too(): ...\n\n\ndef test_same(): ...\n'
HEAD = '"""\n---\ntitle: A & B\nsummary: S.\nequals: {equals}\n---\n"""\n'


def built(
    tree: Tree, equals: str, settings: str = SETTINGS, test: str = TEST
) -> tuple[Report, str]:
    files = {
        "pyproject.toml": settings,
        "papers/a/one.py": HEAD.format(equals=equals),
        "tests/a/test_one.py": test,
    }
    root = tree(dict(files))
    report = Builder(root, root / "site").build()
    html = (root / "site/papers/a/one.html").read_text()
    trust = re.search(r'<ul class="trust">.*?</ul>', html, re.DOTALL)
    return report, trust[0] if trust else ""


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", "", html).split())


@pytest.mark.parametrize(
    ("what", "within", "told"),
    [
        ("torch.nn.Linear", "1e-9", "Equal to torch.nn.Linear within 1e-9: test"),
        ("torch.nn.Linear", "2.5e-12", "Equal to torch.nn.Linear within 2.5e-12: test"),
        ("a run that never broke", "0", "Equal to a run that never broke to the last bit: test"),
        ("the formula with `sqrtm`", "0.01", "Equal to the formula with sqrtm within 0.01: test"),
    ],
)
def test_equal_to_what_and_by_how_much(tree: Tree, what: str, within: str, told: str) -> None:
    equals = f"{{what: {what}, within: {within}, test: test_same}}"
    report, trust = built(tree, equals, SETTINGS + REPOSITORY)
    assert report.problems == ()
    assert words(trust) == f"{told} Report a mistake"
    # The line where the function begins, and not where its name is said.
    assert 'href="https://example.org/x/blob/next/tests/a/test_one.py#L7"' in trust
    assert 'href="https://example.org/x/issues/new?title=A%20%26%20B:"' in trust
    assert ("<code>torch.nn.Linear</code>" in trust) == ("torch" in what)


def test_without_a_repository_nothing_leads_there(tree: Tree) -> None:
    report, trust = built(tree, "{what: a.b, within: 0, test: test_same}")
    assert report.problems == ()
    assert words(trust) == "Equal to a.b to the last bit: test_same"
    assert "href" not in trust


@pytest.mark.parametrize(
    ("equals", "told"),
    [
        ("{what: a.b, within: 0, test: test_sam}",
         "equals: test: tests/a/test_one.py has no test_sam; name a function of its test"),
        ("{what: a.b, within: -1, test: test_same}", "equals: within: must be 0 or more"),
        ("{what: a.b, within: near, test: test_same}", "equals: within: must be a number"),
        ("{what: a.b, test: test_same}", "equals: has no within"),
        ("{what: a.b, within: 0, tests: test_same}",
         "equals: unknown key 'tests'; the nearest known one is 'test'"),
        ("torch.nn.Linear", "equals: must be a mapping with what, within, test"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_line(tree: Tree, equals: str, told: str) -> None:
    report, trust = built(tree, equals)
    assert f"papers/a/one.py:5: {told}" in map(str, report.problems)
    assert trust == ""


def test_a_page_without_a_test_equals_nothing(tree: Tree) -> None:
    equals = "{what: a.b, within: 0, test: test_same}"
    report, _ = built(tree, equals, SETTINGS.replace('tests = "tests"\n', ""))
    assert [str(problem) for problem in report.problems] == [
        "papers/a/one.py:5: equals: test: this file has no test; name a function of its test"
    ]


def test_a_renamed_test_is_noticed_by_the_next_build(tree: Tree, tmp_path: Path) -> None:
    equals = "{what: a.b, within: 0, test: test_same}"
    report, _ = built(tree, equals)
    assert report.problems == ()
    report, _ = built(tree, equals, test=TEST.replace("test_same()", "test_other()"))
    assert len(report.problems) == 1
