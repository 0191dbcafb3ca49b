"""The symbols of a page's notation: found in its formulas, which stay as they are."""

from __future__ import annotations

import re

import pytest

from site_builder.build import Builder
from site_builder.read.document import read_document
from site_builder.read.settings import read_settings
from site_builder.read.source import Source, find_pages
from site_builder.read.texts import read_page
from site_builder.render import reader
from site_builder.render.draft import draft
from site_builder.render.math import NO_MACROS, Formula, typeset

from .conftest import ROOT, Tree


def marked(tex: str, *symbols: str, display: bool = False) -> list[str]:
    """Which symbols are marked, in the order of the page."""
    html = typeset(tex, display, NO_MACROS, symbols).html
    return [symbols[int(n)] for n in re.findall(r"\bsym-(\d+)", html)]


def unmarked(html: str) -> str:
    html = re.sub(r'<span class="sym sym-\d+">([^<]*)</span>', r"\1", html)
    return re.sub(r" sym sym-\d+", "", html)


@pytest.mark.parametrize(
    ("tex", "symbols", "found"),
    [
        (r"\frac{Q K^\top}{\sqrt{d_k}} V", "Q K V d_k d_v", "d_k Q K V"),
        (r"\sum_{i=1}^{d_k} x", "d_k", "d_k"),
        (r"x^{d_k} + y_{d_k}", "d_k", "d_k d_k"),
        (r"d_k = d_v", "d_k", "d_k"),
        (r"d_k = d_v", "d d_k", "d_k d"),
        (r"d_{\text{model}} + d_{\mathrm{ff}} + d_{out}", "d", ""),
        (r"m_t + m_{t-1} + \hat m_t + \hat{m}", "m_t", "m_t"),
        (r"m_t + \hat m_t", r"m \hat{m}_t", r"m \hat{m}_t"),
        (r"\hat m", "m", ""),
        (r"W_i^Q + Q", "W^Q_i Q", "W^Q_i Q"),
        (r"q' + q", "q", "q"),
        (r"q' + q", "q'", "q'"),
        (r"abc", "b", "b"),
        (r"\text{b} + \mathrm{b} + \mathbf{b}", "b", ""),
        (r"\mathbf{b} + b", r"\mathbf{b}", r"\mathbf{b}"),
        (r"\begin{aligned} a &= Q \\ b &= \textcolor{red}{Q} \end{aligned}", "Q", "Q Q"),
        (r"\left( Q \right)", "Q", "Q"),
        (r"\alpha_t \bar\alpha_t", r"\bar\alpha_t", r"\bar\alpha_t"),
        (r"\newcommand\dk{d_k} \dk", "d_k", "d_k"),
        (r"x", r"\frac{", ""),
    ],
)
def test_where_a_symbol_stands(tex: str, symbols: str, found: str) -> None:
    assert marked(tex, *symbols.split()) == found.split()


def test_parts_that_stand_apart_are_marked_apart() -> None:
    """The square is no part of `d_k`; and what is more than one sign long is marked as such."""
    assert marked("d_k^2", "d_k") == ["d_k"] * 2
    assert marked("f(x) + x", "f(x)") == ["f(x)"] * 4


def test_authors_mark_nothing() -> None:
    for trick in (r"\htmlClass{sym}{x}", r"\htmlData{a=b}{x}", r"\htmlId{a}{x}"):
        assert 'class="sym' not in typeset(trick, False, NO_MACROS, ("y",)).html


def test_no_formula_of_ours_looks_different(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our marks, every byte is KaTeX's: nothing can have moved."""
    asked: list[tuple[str, bool, str, tuple[str, ...]]] = []

    def note(tex: str, display: bool, macros: str, symbols: tuple[str, ...]) -> Formula:
        asked.append((tex, display, macros, symbols))
        return typeset(tex, display, macros, symbols)

    monkeypatch.setattr(reader, "typeset", note)
    settings, _ = read_settings(ROOT)
    for path in find_pages(settings).pages:
        source = read_page(path, ROOT, "")
        assert isinstance(source, Source)
        draft(read_document(source, frozenset(), False))
    marks = 0
    for tex, display, macros, symbols in asked:
        html = typeset(tex, display, macros, symbols).html
        assert unmarked(html) == typeset(tex, display, macros).html, tex
        marks += html.count(" sym-")
    assert len(asked) > 400
    assert marks > 300


def test_a_numbered_formula() -> None:
    assert marked(r"Q \tag{1}", "Q", display=True) == ["Q"]


def test_a_changed_notation_is_noticed(tree: Tree) -> None:
    """Formulas are kept from build to build, but not with another page's marks."""
    page = """r\"\"\"\n---\nnotation: {{{}}}\n---\n$a + b$\n\"\"\"\na = b = 1\n"""
    for notation, there in (("a: a", 1), ("a: a, b: b", 2), ("b: b", 1)):
        root = tree({"x.py": page.format(notation)})
        assert Builder(root, root / "site").build().problems == ()
        assert (root / "site/x.html").read_text().count("mathnormal sym sym-") == there


def test_a_symbol_of_no_formula_is_named(tree: Tree) -> None:
    """Where front matter is required; to others a notation may be a list of names."""
    notation = r"notation: {'q': q, 'd_k': d, 'd': d, '\hat m': m, 'W_i': w}"
    page = 'r"""\n---\ntitle: T\n%s\n---\n# T\n\n$q + d_k$, $W_i^Q$\n"""\nq = d = m = w = 1\n'
    page += 'def f():\n    r"""\n    ## F\n\n    And $m$.\n    """\n'
    root = tree({"x.py": page % notation})
    assert Builder(root, None).build().problems == ()
    tree({"pyproject.toml": '[tool.site_builder]\nrequire_front_matter = ["x.py"]\n'})
    told = [str(problem) for problem in Builder(root, None).build().problems]
    named = [line.partition("no formula has ")[2].partition(";")[0] for line in told]
    assert [name for name in named if name] == [r"\hat m", "d"]
    assert all(line.startswith("x.py:4: notation: ") for line in told if "no formula" in line)
