"""What front matter says of claims: each mistake has its line and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from site_builder.build import Builder
from site_builder.read.front_matter import read_front_matter

Tree = Callable[[dict[str, str | bytes]], Path]

HEAD = """---
title: x
summary: y
runs: {with: "", without: --no-idea}
metrics: {loss: {name: loss, better: lower}, seen: {name: tokens seen}}
claims:
  - {what: said, paper: table 1, note: not run here}
"""
ONE = "compare with one thing: control, against (a metric), or than (a number)"
RUN = "what: helps, paper: table 1, run: with, metric: loss"


def said(more: str) -> list[tuple[int, str]]:
    """Line and message of all that is wrong; the first line of `more` is the eighth."""
    _, _, _, problems = read_front_matter("a.py", f"{HEAD}{more}\n---\n", 1, True)
    return [(problem.line, problem.message) for problem in problems]


@pytest.mark.parametrize(
    "claim",
    [
        f"{RUN}, control: without, margin: 0.1",
        f"{RUN}, control: without, margin: 0",
        f"{RUN}, control: without, within: 0.1, note: a remark",
        f"{RUN}, than: -2.5, margin: 0",
        f"{RUN}, against: seen, margin: 0",
        "what: helps, paper: table 1, run: with, metric: seen, than: 1e6, within: 1",
        "what: helps, paper: table 1, note: hours",
    ],
)
def test_a_claim_that_can_be_judged(claim: str) -> None:
    assert said(f"  - {{{claim}}}") == []


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (RUN, ONE),
        (f"{RUN}, margin: 1", ONE),
        (f"{RUN}, control: without, than: 1, margin: 1", ONE),
        (f"{RUN}, against: seen, than: 0, margin: 1", ONE),
        (f"{RUN}, against: gone, margin: 1", "against: there is no 'gone'; name one of loss, seen"),
        (f"{RUN}, against: loss, margin: 1", "nothing is a control of itself; name another"),
        (
            f"{RUN}, control: without",
            "say what counts: the least difference (margin), or the largest (within)",
        ),
        (
            f"{RUN}, control: without, margin: 1, within: 1",
            "say what counts: the least difference (margin), or the largest (within)",
        ),
        (f"{RUN}, control: without, margin: -1", "margin is 0 or more, and within more than 0"),
        (f"{RUN}, control: without, within: 0", "margin is 0 or more, and within more than 0"),
        (f"{RUN}, control: with, margin: 0", "nothing is a control of itself; name another"),
        (
            f"{RUN}, control: gone, margin: 0",
            "control: there is no 'gone'; name one of with, without",
        ),
        (
            "what: w, paper: p, run: gone, metric: loss, than: 1, margin: 0",
            "run: there is no 'gone'; name one of with, without",
        ),
        (
            "what: w, paper: p, run: with, metric: gone, than: 1, margin: 0",
            "metric: there is no 'gone'; name one of loss, seen",
        ),
        (
            "what: w, paper: p, run: with, than: 1, margin: 0",
            "metric: there is no ''; name one of loss, seen",
        ),
        (
            "what: w, paper: p, run: with, metric: seen, than: 1, margin: 0",
            "metrics: say of seen whether lower or higher is better",
        ),
        ("what: w, paper: p", "name a run and its control, or say in a note why it is not run"),
        (
            "what: w, paper: p, note: n, margin: 1",
            "names no run; name the one that is compared",
        ),
        (f"{RUN}, than: much, margin: 0", "than: must be a number"),
        (f"{RUN}, than: yes, margin: 0", "than: must be a number"),
        (f"{RUN}, than: .nan, margin: 0", "than: must be a number"),
        ("what: w, note: n", "has no paper"),
        ("what: 3, paper: p, note: n", "what: must be text"),
        (
            f"{RUN}, control: without, margn: 1",
            "unknown key 'margn'; the nearest known one is 'margin'",
        ),
    ],
)
def test_a_claim_that_cannot_is_named_by_its_own_line(claim: str, message: str) -> None:
    assert said(f"  - {{{claim}}}") == [(8, f"claims: {message}")]
    spread = "\n    ".join(claim.split(", "))
    assert said(f"  - {{what: w, paper: p, note: n}}\n  - {spread}") == [(9, f"claims: {message}")]


@pytest.mark.parametrize(
    ("more", "line", "message"),
    [
        ("metrix: {}", 8, "unknown key 'metrix'; the nearest known one is 'metrics'"),
        ("acronyms: GQA", 8, "acronyms: must be a list of names"),
        ("needs: [a, 3]", 8, "needs: must be text"),
        ("exercises:\n  - step\n  - [a]", 10, "exercises: must be text"),
        (
            "figure:\n  file: a.svg\n  alt: 3\n  caption: c",
            10,
            "figure: alt: must be text",
        ),
        ("figure: a.svg", 8, "figure: must be a mapping with file, alt, caption"),
        ("changes: {proof: test_x}", 8, "changes: has no from"),
        ("mistakes: [{what: x}]", 8, "mistakes: has no mutant, caught"),
        ("deviations:\n  - {what: x, paper: y, ours: z}", 9, "deviations: has no matters"),
        (
            "deviations:\n  - {what: x, paper: y, ours: z, matters: no}",
            9,
            "deviations: matters: must be text",
        ),
    ],
)
def test_every_other_key_is_checked_at_its_line(more: str, line: int, message: str) -> None:
    assert said(more) == [(line, message)]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("{name: loss, better: smaller}", "better: must be one of lower, higher"),
        ("{name: loss, scale: logarithmic}", "scale: must be one of log, linear"),
        ("{unit: nats}", "has no name"),
        ("loss", "must be a mapping with name, unit, better, scale"),
    ],
)
def test_a_metric_is_checked_at_its_own_line(key: str, message: str) -> None:
    text = f"---\ntitle: x\nsummary: y\nmetrics:\n  seen: {{name: seen}}\n  loss: {key}\n---\n"
    _, _, _, problems = read_front_matter("a.py", text, 1, True)
    assert [(p.line, p.message) for p in problems] == [(6, f"metrics: loss: {message}")]


@pytest.mark.parametrize("flags", ["--seed 1", "--lr 1 --seed=2", "--out /tmp/x"])
def test_what_the_recorder_sets_is_no_argument(flags: str) -> None:
    text = f"---\ntitle: x\nsummary: y\nruns:\n  a: ''\n  b: {flags}\n---\n"
    _, _, _, problems = read_front_matter("a.py", text, 1, True)
    message = "runs: b: leave out --seed and --out, which the recorder sets"
    assert [(p.line, p.message) for p in problems] == [(6, message)]


def test_a_key_that_is_wrong_makes_no_noise_about_the_claims() -> None:
    text = HEAD.replace('runs: {with: "", without: --no-idea}', "runs: [with]")
    more = f"  - {{{RUN}, control: without, margin: 0}}\n---\n"
    _, _, _, problems = read_front_matter("a.py", text + more, 1, True)
    assert [str(p) for p in problems] == ["a.py:4: runs: must be a mapping of labels to arguments"]


PAGE = '"""\n---\ntitle: {0}\nsummary: y\n{1}\n---\n"""\n\n\ndef step():\n    pass\n'


def test_what_front_matter_names_exists(tree: Tree) -> None:
    def problems(more: str) -> list[str]:
        root = tree(
            {
                "pyproject.toml": '[tool.site_builder]\nsources = ["pages"]\nfamilies = ["old"]\n',
                "pages/topic/__init__.py": PAGE.format("Topic", "family: old"),
                "pages/topic/first.py": PAGE.format("First", ""),
                "pages/topic/second.py": PAGE.format("Second", more),
                "pages/topic/figures/f.svg": "<svg/>",
            }
        )
        return [str(problem) for problem in Builder(root, None).build().problems]

    good = "needs: [topic/first, pages/topic/first, topic]\nexercises: [step]\n"
    good += "figure: {file: figures/f.svg, alt: a, caption: c}\nchanges: {from: topic/first}"
    assert problems(good) == []
    place = "pages/topic/second.py"
    for more, line, message in [
        ("needs:\n  - topic\n  - topic/frist", 7, "needs: there is no page 'topic/frist'; the "
            "nearest is 'topic/first'"),
        ("changes:\n  from: first", 6, "changes: there is no page 'first'; the nearest is "
            "'topic/first'"),
        ("family: odd", 5, "family: there is no family 'odd'; the nearest is 'old'"),
        ("exercises: [step, stop]", 5, "exercises: no stop is defined; name a class or function"),
        ("figure: {file: figures/g.svg, alt: a, caption: c}", 5, "figure: there is no "
            "pages/topic/figures/g.svg; draw it, or mend its name"),
    ]:  # fmt: skip
        assert problems(more) == [f"{place}:{line}: {message}"]


def test_a_page_leads_to_those_that_need_it(tree: Tree) -> None:
    root = tree(
        {
            "first.py": PAGE.format("First", ""),
            "second.py": PAGE.format("Second", "needs: [first]\nchanges: {from: first}"),
        }
    )
    assert Builder(root, root / "site").build().problems == ()
    first, second = ((root / "site" / f"{n}.html").read_text() for n in ("first", "second"))
    assert '<dt>Leads to</dt><dd><a href="second.html">Second</a></dd>' in first
    assert '<dt>Read before</dt><dd><a href="first.html">First</a></dd>' in second
    compared = '<dt>Changes</dt><dd><a href="second.changes.html">{}</a></dd>'
    assert compared.format("from First") in second
    assert compared.format("to Second") in first


def test_a_key_in_other_letters_is_not_also_missing() -> None:
    _, _, _, problems = read_front_matter("a.py", "---\ntitel: x\nsummary: y\n---\n", 1, True)
    message = "unknown key 'titel'; the nearest known one is 'title'"
    assert [str(problem) for problem in problems] == [f"a.py:2: {message}"]
