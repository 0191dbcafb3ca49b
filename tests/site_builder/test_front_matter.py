"""Front matter: what is read, what the page says of it, and how the paper is cited."""

from __future__ import annotations

import pytest

from site_builder.read.citation import bibtex
from site_builder.read.claims import Changes, Claim, Deviation, Drawing, Metric, Mistake
from site_builder.read.document import read_document
from site_builder.read.front_matter import FrontMatter, read_front_matter
from site_builder.read.source import Source
from site_builder.render.draft import draft

FULL = r"""---
title: "Adam: a step of known length"
summary: Says it.
paper: "Adam: A Method for Stochastic Optimization"
authors: [Diederik P. Kingma, Jimmy Ba]
year: 2014
arxiv: "1412.6980"
notation:
  '\beta_1': beta1
  m: m
runs: {default: "", slow: --lr 0.1, none: }
metrics: {loss: {name: training loss, unit: nats, better: lower, scale: log}}
claims:
  - {what: faster, paper: figure 1, run: default, metric: loss, control: slow, margin: 0.1}
  - what: as in the paper
    paper: figure 2
    run: slow
    metric: loss
    than: 2
    within: 0.5
  - {what: scales, paper: table 2, note: not run}
acronyms: [Adam, AMSGrad]
needs: [training/loop]
figure: {file: figures/adam.svg, alt: two paths, caption: Adam turns.}
deviations:
  - {what: epsilon, paper: eq. 1, ours: outside, others: "torch: outside", matters: "no",
     test: test_epsilon}
mistakes: [{what: no correction, mutant: uncorrected, caught: test_first_step}]
exercises: [step]
changes: {from: optimizers/sgd, proof: test_is_sgd}
---

# Adam

Text.
"""


def test_all_of_it() -> None:
    meta, rest, line, problems = read_front_matter("a.py", FULL, 2, True)
    assert problems == []
    assert rest == "# Adam\n\nText.\n"
    assert line == 2 + FULL[: FULL.index("# Adam")].count("\n")
    assert meta == FrontMatter(
        title="Adam: a step of known length",
        summary="Says it.",
        paper="Adam: A Method for Stochastic Optimization",
        authors=("Diederik P. Kingma", "Jimmy Ba"),
        year=2014,
        arxiv="1412.6980",
        notation={r"\beta_1": "beta1", "m": "m"},
        runs={"default": "", "slow": "--lr 0.1", "none": ""},
        metrics={"loss": Metric("training loss", "nats", "lower", "log")},
        claims=(
            Claim("faster", "figure 1", "default", "loss", "slow", margin=0.1),
            Claim("as in the paper", "figure 2", "slow", "loss", than=2, within=0.5),
            Claim("scales", "table 2", note="not run"),
        ),
        acronyms=("Adam", "AMSGrad"),
        needs=("training/loop",),
        figure=Drawing("figures/adam.svg", "two paths", "Adam turns."),
        deviations=(
            Deviation("epsilon", "eq. 1", "outside", "no", "torch: outside", "test_epsilon"),
        ),
        mistakes=(Mistake("no correction", "uncorrected", "test_first_step"),),
        exercises=("step",),
        changes=Changes("optimizers/sgd", "test_is_sgd"),
    )
    assert meta.link == ("arXiv:1412.6980", "https://arxiv.org/abs/1412.6980")
    assert bibtex(meta) == (
        "@misc{kingma2014adam,\n"
        "  title = {{Adam: A Method for Stochastic Optimization}},\n"
        "  author = {Diederik P. Kingma and Jimmy Ba},\n"
        "  year = {2014},\n"
        "  eprint = {1412.6980},\n"
        "  archivePrefix = {arXiv},\n"
        "  url = {https://arxiv.org/abs/1412.6980},\n"
        "}"
    )


@pytest.mark.parametrize(
    ("meta", "link"),
    [
        (FrontMatter(doi="10.1/x"), ("doi:10.1/x", "https://doi.org/10.1/x")),
        (FrontMatter(url="https://www.x.org/y/z"), ("x.org", "https://www.x.org/y/z")),
        (FrontMatter(), ("", "")),
    ],
)
def test_where_a_paper_is(meta: FrontMatter, link: tuple[str, str]) -> None:
    assert meta.link == link


@pytest.mark.parametrize("value", ["javascript:alert(1)", "ftp://x", "//x", "x.org", "https:// x"])
def test_an_address_that_is_none(value: str) -> None:
    text = FULL.replace('arxiv: "1412.6980"', f'url: "{value}"')
    _, _, _, problems = read_front_matter("a.py", text, 2, True)
    assert [p.line for p in problems] == [2 + 7 - 1]
    assert "url: must be an address" in problems[0].message


@pytest.mark.parametrize("value", ["math/0309136", "2104.09864", "0704.0001"])
def test_arxiv_numbers_of_all_ages(value: str) -> None:
    text = FULL.replace("1412.6980", value)
    meta, _, _, problems = read_front_matter("a.py", text, 2, True)
    assert (meta.arxiv, problems) == (value, [])


@pytest.mark.parametrize(
    ("text", "title", "summary"),
    [
        (
            '"""\n# The `title` of *it*\n\nFirst one. Second one.\n"""\n',
            "The title of it",
            "First one.",
        ),
        (
            '"""One sentence that ends e.g. here. And more."""\n',
            "c",
            "One sentence that ends e.g. here.",
        ),
        ('"""Title\n=====\n\nText.\n"""\n', "Title", "Text."),
        (
            '"""# T\n\nA [run](run.py#a) leaves, as [1] says, [one][two].\n\n[two]: a\n"""\n',
            "T",
            "A run leaves, as [1] says, one.",
        ),
        ("x = 1\n", "c", ""),
        ("", "c", ""),
        ('x = 1\n"""not a docstring"""\n', "c", ""),
        ('#!/usr/bin/env python\n# coding: utf-8\n"""Doc."""\n', "c", "Doc."),
        ('# A licence.\n\n"""Doc."""\n', "c", "Doc."),
        ('def f():\n    """Not the module\'s."""\n', "c", ""),
        ('"""See :class:`Foo` and ``bar``."""\n', "c", "See Foo and bar."),
        ("# Why.\nx = 1\n", "c", ""),
        ("# Why.\n'Doc.'\n", "c", "Doc."),
        (
            '"""f(*args), 2**3**4, a*b*c, A[T](B) a[i](j)."""',
            "c",
            "f(*args), 2**3**4, a*b*c, A[T](B) a[i](j).",
        ),
        ('"""Cost $5 for \'$B$\' and `$x`."""', "c", "Cost $5 for 'B' and $x."),
        ('"""<a id="Foo"></a>Hi<sup>2</sup> & <b>you</b>[^1].\n\n[^1]: No."""', "c", "Hi2 & you."),
        ('"""`Python <https://python.org>`_, Py_.\n\n.. _Py: x.py"""', "c", "Python, Py."),
        ('"""\nTitle\n=====\n\nSub\n---\n\nText."""', "Title", "Text."),
        ('"""\n=== ===\nA   B\n=== ===\n1   2\n=== ===\n\nText."""', "c", "Text."),
        ('"""- One,\n  two\n  - three"""', "c", "One, two"),
        ('""":param x: The x."""', "c", "param x: The x."),
    ],
)
def test_what_a_foreign_file_is_called(text: str, title: str, summary: str) -> None:
    made = draft(read_document(Source("a/b/c.py", text, "utf-8"), frozenset({"a"}), False)).document
    assert (made.title.removesuffix(".py"), made.summary) == (title, summary)
    assert made.problems == ()


def test_a_package_is_called_by_its_folder() -> None:
    assert read_document(Source("a/b/__init__.py", "", "utf-8"), frozenset(), False).title == "b"


def test_dashes_that_are_no_front_matter() -> None:
    text = '"""\nText.\n\n---\nnot: this\n---\n"""\n'
    made = read_document(Source("a.py", text, "utf-8"), frozenset(), False)
    assert made.meta == FrontMatter()
    assert made.problems == ()
