"""What changed: which parts are counterparts, and how a page lays them beside each other."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from site_builder.build import Builder
from site_builder.read import proofs
from site_builder.read.counterparts import Pair, counterparts
from site_builder.read.document import Reading, read_document
from site_builder.read.parts import read_parts
from site_builder.read.source import Source, decode
from site_builder.render.marks import Hunk, compare, listing

from .conftest import Tree

EARLIER = '''"""
---
title: Old
summary: S.
---

# Old
"""
from dataclasses import dataclass


@dataclass
class Config:
    """
    ## Settings
    """

    width: int = 64
    "features"
    steps: int = 100
    "steps"
    plain: bool = True
    "nothing else"


def kept(x):
    return x + 1


class Narrow:
    """
    ## Narrow

    The old words.
    """

    def __init__(self, width):
        self.width, self.layers = width, [width * 2 for _ in range(3)]

    def forward(self, x):
        y = self.first(x).relu().view(2, 3).transpose(0, 1).softmax(dim=-1)
        return self.second(y).sum()

    def unchanged(self):
        return [self.width for _ in range(10)]


def lost():
    return 2


def used(x):
    return sorted(x, key=len)
'''
LATER = '''"""
---
title: New
summary: S.
changes: {{from: a/old, proof: {proof}}}
---

# New
"""
from dataclasses import dataclass

from papers.a.old import used


def kept(x):
    """Said in other words."""
    # And with a remark.
    return (
        x + 1
    )


@dataclass
class Config:
    """
    ## Settings
    """

    width: int = 128
    "features"
    steps: int = 100
    "steps"
    heads: int = 4
    "heads"


class Wide:
    """
    ## Wide

    The new words: $x^2$, [above](#settings).
    """

    def __init__(self, width):
        self.width, self.layers = width, [width * 4 for _ in range(3)]

    def forward(self, x):
        """Goes forward."""
        y = self.first(x).gelu().view(2, 3).transpose(0, 1).softmax(dim=-1)
        return self.second(y).sum()

    def unchanged(self):
        return [self.width for _ in range(10)]

    def added(self):
        return used(self.layers)


class Deep(Wide):
    pass
'''
TEST = "def test_equal():\n    assert 1 + 1 == 2\n"
HERE = '[tool.site_builder]\nsources = ["papers"]\n'
SETTINGS = HERE + 'tests = "tests"\nrepository = "https://example.org/r"\n'


def files(proof: str = "test_equal") -> dict[str, str | bytes]:
    return {
        "pyproject.toml": SETTINGS,
        "papers/a/old.py": EARLIER,
        "papers/a/new.py": LATER.format(proof=proof),
        "tests/a/test_new.py": TEST,
    }


def document(text: str) -> Reading:
    source = decode("some.py", text.encode())
    assert isinstance(source, Source)
    return read_document(source, frozenset(), False)


def pairs(before: str, after: str) -> dict[str, Pair]:
    """By the names of both."""
    old, new = document(before), document(after)
    found = counterparts(read_parts(old), read_parts(new), {}, ())
    return {
        f"{p.before.name if p.before else ''}>{p.after.name if p.after else ''}": p for p in found
    }


def page(root: Path) -> str:
    out = root.parent / "site"
    report = Builder(root, out).build()
    assert not report.problems, report.problems
    return (out / "papers/a/new.changes.html").read_text()


def part(text: str, anchor: str) -> str:
    found = re.search(rf'<section class="part[^>]*id="{anchor}">.*?</section>', text, re.DOTALL)
    assert found
    return found[0]


def words(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", text))


LONG = "    a = [n * 2 for n in range(x) if n % 3]\n    return sum(a) / max(len(a), 1) - min(a)\n"


def test_the_same_name_goes_before_what_is_built_alike() -> None:
    before = f"def f(x):\n{LONG}\ndef g(x):\n    return x\n"
    found = pairs(before, f"def g(x):\n{LONG}\ndef h(x):\n{LONG}")
    assert {key: pair.how for key, pair in found.items()} == {"g>g": "changed", "f>h": "same"}


def test_what_is_alike_is_found_under_another_name_and_other_names_inside() -> None:
    renamed = re.sub(r"\ba\b", "found", LONG)
    found = pairs(f"def f(x):\n{LONG}", f"def other(x):\n{renamed}")
    assert [*found] == ["f>other"]
    assert found["f>other"].renamed
    assert pairs(f"def f(x):\n{LONG}", f"def g(x):\n{LONG}")["f>g"].how == "same"


def test_what_is_short_or_of_another_kind_is_not_alike_by_chance() -> None:
    assert set(pairs("def f(x):\n    return x\n", "def g(x):\n    return x\n")) == {">g", "f>"}
    inside = "".join(f"    {line}\n" for line in f"def f(self, x):\n{LONG}".splitlines())
    assert set(pairs(f"class A:\n{inside}", f"def h(x):\n{LONG}")) == {">h", "A>"}


def test_a_method_may_become_a_function_of_its_name() -> None:
    inside = "".join(f"    {line}\n" for line in f"def f(self, x):\n{LONG}".splitlines())
    found = pairs(f"class A:\n{inside}", f"def f(x):\n{LONG}")
    assert set(found) == {"A.f>f", "A>"}


def test_moved_parts_and_other_words_are_no_change() -> None:
    one, two = f"def f(x):\n{LONG}", "class A:\n    def g(self):\n        return 1\n"
    said = two.replace("        return", '        """Says so."""\n        # Here.\n        return')
    found = pairs(f"{one}\n\n{two}", f"{said}\n\n{one}")
    assert [(key, pair.how) for key, pair in found.items()] == [("A>A", "same"), ("f>f", "same")]
    assert pairs(two, two.replace("1", "2"))["A>A"].how == "changed"
    assert pairs(two, two.replace("g(self)", "g(self, x)"))["A>A"].how == "changed"


def hunks(before: str, after: str) -> tuple[Hunk, ...]:
    files = [listing(document(text)) for text in (before, after)]
    old, new = ([n for n, line in file.text.items() if line] for file in files)
    return compare(files[0], old, files[1], new)


def test_words_that_differ_are_marked_and_no_others() -> None:
    (one,) = hunks("y = self.relu(x, 2)\n", "y = self.gelu(x, 2)\n")
    old, new = one.before[0], one.after[0]
    assert re.findall("<del>(.*?)</del>", old.html) == ["relu"]
    assert re.findall("<ins>(.*?)</ins>", new.html) == ["gelu"]
    assert (old.mark, new.mark) == ("some", "some")
    assert "<ins>" not in old.html
    assert "<del>" not in new.html


def test_a_comma_between_marked_words_is_marked_with_them() -> None:
    (one,) = hunks("y = f(a, b) + total * rate\n", "y = f(c, d) + total * rate\n")
    assert [words(run) for run in re.findall("<del>(.*?)</del>", one.before[0].html)] == ["a, b"]
    assert [words(run) for run in re.findall("<ins>(.*?)</ins>", one.after[0].html)] == ["c, d"]


def test_lines_that_have_nothing_in_common_are_marked_whole() -> None:
    (one,) = hunks("return x\n", "loss = criterion(logits, targets) / 3\n")
    assert one.before[0].mark == one.after[0].mark == "whole"
    assert words(one.after[0].html) == "loss = criterion(logits, targets) / 3"
    # A bracket on both sides is nothing in common.
    (one,) = hunks("assert x(1)\n", "for item in sorted(things, key=len):\n")
    assert re.findall("<del>(.*)</del>", one.before[0].html) == [str(one.before[0].html)[5:-6]]
    assert one.after[0].mark == "whole"
    first, second = hunks("a = 1\n", "a = 1\nb = 2\n")
    assert first.same
    assert not second.before
    assert second.after[0].mark == "whole"


def test_a_long_stretch_without_a_change_is_folded() -> None:
    same = "".join(f"x{n} = {n}\n" for n in range(12))
    found = hunks(f"{same}a = 1\n", f"{same}a = 2\n")
    assert [(h.same, h.folded, len(h.after)) for h in found] == [
        (True, False, 3), (True, True, 6), (True, False, 3), (False, False, 1),
    ]  # fmt: skip
    numbers = [line.number for hunk in found for line in hunk.after]
    assert numbers == [*range(1, 14)]


def test_every_line_of_a_string_keeps_its_text() -> None:
    text = 'x = """\n  a\n\n  b"""\ny = 1\n'
    (one,) = hunks(text, text)
    assert [words(line.html) for line in one.after] == ['x = """', "  a", '  b"""', "y = 1"]


def test_the_page_lays_both_side_by_side(tree: Tree) -> None:
    text = page(tree(files()))
    wide = part(text, "Wide")
    assert 'href="old.html#narrow">Narrow</a>' in wide
    assert 'href="new.html#wide">Wide</a>' in wide
    # The later words, with links as they lead from here, and the earlier.
    assert "The new words" in wide
    assert "The old words" in wide
    assert 'class="katex"' in wide
    # What a method says is said there, and not of its class.
    assert wide.count("Goes forward") == 1
    assert wide.index("The new words") < wide.index(">Wide.forward<") < wide.index("Goes forward")
    assert 'href="new.html#settings"' in wide
    assert re.findall("<del>(.*?)</del>", wide)
    assert "gelu" in words("".join(re.findall("<ins>.*?</ins>", wide)))
    assert "<code>Wide.unchanged</code> as it was, 2 lines" in wide
    assert 'href="new.html#Wide.forward">Wide.added</a> <small>new</small>' in wide
    assert "<code>kept</code> as it was, 4 lines" in text
    assert "<code>used</code> imported, 2 lines" in text
    assert "<code>lost</code> gone, 2 lines" in text
    assert "2 changed, 1 new, 1 unchanged, 1 imported, 1 only in Old." in text


def test_settings_that_differ_are_a_table(tree: Tree) -> None:
    config = part(page(tree(files())), "Config")
    rows = [
        re.findall("<t[hd].*?>(.*?)</t[hd]>", row) for row in re.findall("<tr>.*?</tr>", config)
    ]
    assert [[words(cell) for cell in row] for row in rows[1:]] == [
        ["width", "64", "128", "features"], ["heads", "–", "4", "heads"],
        ["plain", "True", "–", "nothing else"],
    ]  # fmt: skip


def test_what_is_inherited_is_not_gone(tree: Tree) -> None:
    base = "from papers.a.old import Narrow\n\n\nclass Base(Narrow):\n    x = 1\n"
    text = page(
        tree(files() | {"papers/a/new.py": LATER.format(proof="test_equal") + "\n\n" + base})
    )
    assert "<code>Narrow.forward</code> inherited, 3 lines" in part(text, "Base")
    assert "inherits from it" in part(text, "Base")


def test_both_pages_and_a_list_lead_there(tree: Tree) -> None:
    root = tree(files())
    text, site = page(root), root.parent / "site"
    assert 'href="https://example.org/r/blob/main/tests/a/test_new.py#L1"' in text
    assert "tests/a/test_new.py::test_equal" in text
    assert "1 + 1 == 2" in words(text)
    for name, told in (("new", "from Old"), ("old", "to New")):
        there = (site / f"papers/a/{name}.html").read_text()
        assert f'href="new.changes.html">{told}</a>' in there
    assert (
        'href="papers/a/new.changes.html">From Old to New</a>'
        in (site / "changes.html").read_text()
    )
    assert 'href="changes.html"' in (site / "index.html").read_text()


def test_a_site_without_an_edge_has_no_list(tree: Tree) -> None:
    root = tree({"a.py": "x = 1\n"})
    Builder(root, root.parent / "site").build()
    assert not (root.parent / "site/changes.html").exists()
    assert "changes.html" not in (root.parent / "site/index.html").read_text()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"papers/a/new.py": LATER.format(proof="test_equals")},
            "papers/a/new.py:5: changes: there is no test test_equals in tests/a/test_new.py; "
            "write it, or mend its name",
        ),
        (
            {"tests/a/test_new.py": "test_equal = 1\n"},
            "papers/a/new.py:5: changes: there is no test test_equal in tests/a/test_new.py; "
            "write it, or mend its name",
        ),
        (
            {"pyproject.toml": HERE},
            "papers/a/new.py:5: changes: has no tests: write tests/a/test_new.py, or say in "
            "[tool.site_builder] where tests lie",
        ),
        (
            {"papers/a/new.py": LATER.format(proof="test_equal").replace("a/old,", "a/odd,")},
            "papers/a/new.py:5: changes: there is no page 'a/odd'; the nearest is 'a/old'",
        ),
    ],
)
def test_what_is_not_there_is_one_line(
    tree: Tree, changed: dict[str, str | bytes], told: str
) -> None:
    root = tree(files() | changed)
    found = [str(problem) for problem in Builder(root, None).build().problems]
    assert told in found


def test_an_address_that_is_taken_is_one_line(tree: Tree) -> None:
    found = Builder(tree(files() | {"papers/a/new.changes.py": "x = 1\n"}), None).build().problems
    assert [p.message for p in found] == [
        "changes: its page would be papers/a/new.changes.html, which another file has; rename that"
    ]


def test_the_page_stays_until_both_files_are_good_again(tree: Tree) -> None:
    root = tree(files())
    good, builder = page(root), Builder(root, root.parent / "site")
    for name in ("old", "new"):
        file = root / f"papers/a/{name}.py"
        text = file.read_text()
        file.write_text(text + "\ndef broken(:\n")
        assert len(builder.build().problems) >= 1
        assert (root.parent / "site/papers/a/new.changes.html").read_text() == good
        file.write_text(text)
    (root / "papers/a/old.py").write_text(EARLIER.replace("width * 2", "width * 3"))
    assert not builder.build().problems
    assert (root.parent / "site/papers/a/new.changes.html").read_text() != good


def test_tests_lie_where_they_usually_do() -> None:
    there = {"tests/t/test_a.py", "tests/t/test_folder.py", "tests/test_top.py"}
    assert proofs.tests_of("papers/t/a.py", "tests", there) == "tests/t/test_a.py"
    assert proofs.tests_of("papers/t/folder/b.py", "tests", there) == "tests/t/test_folder.py"
    assert proofs.tests_of("papers/t/folder/a.py", "tests", there) == "tests/t/test_a.py"
    assert proofs.tests_of("papers/t/top.py", "tests", there) == ""
