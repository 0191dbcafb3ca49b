"""Formulas: typeset once, whatever becomes of the cache, and a reason where it cannot be."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from site_builder.read.sections import Prose
from site_builder.render import math
from site_builder.render.context import Context
from site_builder.render.math import Formula, MathError, typeset
from site_builder.render.pieces import Rendered
from site_builder.render.prose import render

from .conftest import Command, Tree
from .invariants import html_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of our own, and no memory of formulas before."""
    monkeypatch.setenv("SITE_BUILDER_CACHE", str(tmp_path / "cache"))
    typeset.cache_clear()
    yield tmp_path / "cache"
    typeset.cache_clear()


def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The formulas that KaTeX is asked for from here on."""
    asked: list[str] = []
    engine = math._render

    def count(tex: str, display: bool, macros: str, symbols: tuple[str, ...]) -> Formula:
        asked.append(tex)
        return engine(tex, display, macros, symbols)

    monkeypatch.setattr(math, "_render", count)
    return asked


def forget() -> None:
    """As a new process would."""
    math.close_databases()
    typeset.cache_clear()


def database(folder: Path) -> Path:
    return next(folder.glob("katex-*.sqlite"))


def test_once_for_all_builds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = rendered(monkeypatch)
    first = typeset("x^2", False)
    typeset.cache_clear()
    assert typeset("x^2", False) == first
    assert typeset("x^2", True) != first
    assert asked == ["x^2", "x^2"], "one inline, one display"
    with contextlib.closing(sqlite3.connect(database(folder))) as cached:
        rows = cached.execute("SELECT COUNT(*) FROM math").fetchone()
    assert rows == (2,)


@pytest.mark.parametrize(
    "damage", [b"", b"not a database at all" * 1000, b"SQLite format 3\0" * 500]
)
def test_a_damaged_cache_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    first = typeset("x^3", False)
    forget()
    for file in folder.iterdir():
        file.write_bytes(damage)
    asked = rendered(monkeypatch)
    assert typeset("x^3", False) == first
    assert asked == ["x^3"]
    typeset.cache_clear()
    assert typeset("x^3", False) == first
    assert asked == ["x^3"], "the new cache works"


def test_a_cache_that_cannot_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file where the folder should be")
    first = typeset("x^4", False)
    typeset.cache_clear()
    assert typeset("x^4", False) == first
    shutil.rmtree(folder, ignore_errors=True)


def test_a_cache_that_goes_away_in_the_middle(folder: Path) -> None:
    first = typeset("x^5", False)
    shutil.rmtree(folder)
    typeset.cache_clear()
    assert typeset("x^5", False) == first
    assert typeset("x^6", False)


def test_many_builds_share_it(tree: Tree, command: Command, folder: Path) -> None:
    root = tree({f"p{n}.py": f'r"""$x_{{{n}}} + {n}$"""\n' + "x = 1\n" * 3000 for n in range(12)})
    for _ in range(2):
        done = command("build", root, SITE_BUILDER_CACHE=str(folder))
        assert (done.returncode, done.stderr) == (0, "")
    with contextlib.closing(sqlite3.connect(database(folder))) as cached:
        rows = cached.execute("SELECT COUNT(*) FROM math").fetchone()
    assert rows == (12,)


@pytest.mark.parametrize(
    ("tex", "reason"),
    [
        (r"\frac{", "Unexpected end of input"),
        (r"\nope", r"Undefined control sequence: \nope"),
        (r"a & b", "Expected 'EOF', got '&'"),
        (r"\begin{x}", "No such environment: x"),
        (r"\def\a{\a\a}\a", "Too many expansions"),
        ("{" * 10_000 + "}" * 10_000, "make the formula simpler"),
        (r"\def\a#1{\a{#1#1}}\a{x}", ""),
    ],
)
def test_bad_formulas_have_reasons(folder: Path, tex: str, reason: str) -> None:
    begin = time.monotonic()
    with pytest.raises(MathError) as caught:
        typeset(tex, True)
    assert reason in str(caught.value)
    assert "\u0332" not in str(caught.value)
    assert time.monotonic() - begin < 90
    # The engine is none the worse for it.
    assert "katex" in typeset(r"\sum_i^n x", True).html


def test_nothing_is_trusted(folder: Path) -> None:
    html = typeset(r"\href{https://x.org}{x} \htmlId{main}{y} \url{https://x.org}", False).html
    assert "<a " not in html
    assert 'id="' not in html


def prose(text: str, context: Context | None = None) -> Rendered:
    return render(Prose(text, 1), "s", context or Context())


def shown(text: str) -> str:
    done = prose(text)
    assert done.mistakes == ()
    return html_of(done.pieces)


@pytest.mark.parametrize(
    "text",
    [
        "- One:\n\n    $$\n    x^2\n    $$\n\n- Two",
        "- One:\n  $$\n  x^2\n  $$",
        "1. One:\n\n    Text\n    $$ x^2 $$",
        "Text:\n\\begin{align}\nx &= y \\\\\ny &= z\n\\end{align}\nand more.",
        "\\begin{equation*}x\\end{equation*}",
        "So\n\\[\n  x^2\n\\]",
    ],
)
def test_display_formulas(folder: Path, text: str) -> None:
    assert shown(text).count('class="katex-display"') == 1


def test_inline_formulas(folder: Path) -> None:
    html = shown(r"A \(x^2\), a $y$ and (\(z\)).")
    assert html.count('class="katex"') == 3
    assert "katex-display" not in html
    for text in (
        r"A regex '\(x\)' or \(a\)b, and f\(x\).",
        "    price = $x + $y$\n",
        "Text.\n\n    $$\n    never closed\n",
        "x = prices['$a'] + prices['$b']\nif x == '$':",
        "`$x$` and ```$y$```",
        "![$x$](a.png)",
    ):
        assert "katex" not in shown(text), text


def test_what_a_formula_defines_holds_for_those_after_it(folder: Path) -> None:
    context = Context()
    first = r"$\newcommand{\ours}[1]{\mathbf{#1}}$, $\gdef\other{q}$ and $\let\third\ours$"
    assert prose(first, context).mistakes == ()
    assert "mathbf" in html_of(prose(r"$\ours{x}$", context).pieces)
    html = html_of(prose(r"$\ours{x} + \other + \third{y}$", context).pieces)
    assert html.count("mathbf") == 2
    # Nothing is left of the formula's own numbers, and nothing goes into another file.
    assert prose(r"$$x \tag{1}$$ and $$y \tag{2}$$", context).mistakes == ()
    ((_, message),) = prose(r"$\ours{x}$").mistakes
    assert r"Undefined control sequence: \ours" in message
    # The cache knows which macros a formula was typeset with.
    again = Context()
    prose(r"$\newcommand{\ours}[1]{\mathit{#1}}$", again)
    assert "mathbf" not in html_of(prose(r"$\ours{x}$", again).pieces)
    forget()
    cached = Context()
    prose(first, cached)
    assert cached.macros == context.macros


def test_a_macro_is_not_trusted_either(folder: Path) -> None:
    context = Context()
    prose(r"$\newcommand{\ours}{\htmlClass{rows}{x}\href{https://x.org}{y}}$", context)
    html = html_of(prose(r"$\ours$", context).pieces)
    assert 'class="enclosing rows"' not in html
    assert "<a " not in html


@pytest.mark.parametrize(
    "tex", [r"t \bmod 101", r"a \pmod{b}", r"\lim_x f", r"\operatorname*{arg\,max}_x f", r"\Pr x"]
)
def test_an_operator_that_is_a_word_is_one_word(tex: str) -> None:
    """MathML has text in `mo` and nothing else, and a base and one script in `munder`."""
    found = re.search("<math.*</math>", typeset(tex, True, "{}", ()).html)
    assert found
    elements = [*ElementTree.fromstring(found[0]).iter()]
    named = [(element.tag.rpartition("}")[2], element) for element in elements]
    assert not [found[0] for name, element in named if name == "mo" and len(element)]
    assert not [found[0] for name, element in named if name == "munder" and len(element) != 2]
    assert "bmod" not in tex or "mod" in [element.text for element in elements]


def test_no_height_is_below_zero() -> None:
    """The exponent or index of a bracket that is taller than it hangs lower than its foot."""
    tex = r"\Bigl( H^{-1} - \frac{1}{[H^{-1}]_{qq}} H^{-1}_{:,q} H^{-1}_{q,:} \Bigr)_{-q}"
    html = typeset(tex, True, "{}", ()).html
    assert 'class="vlist"' in html
    assert "height:-" not in html
