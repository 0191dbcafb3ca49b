"""Records on the page: claims with verdicts, figures, tables, and what is not on record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from site_builder.build import Builder
from site_builder.read.blocks import parse
from site_builder.read.claims import Metric
from site_builder.read.fingerprint import fingerprint
from site_builder.results.answers import Answer, Side
from site_builder.results.axes import HEIGHT, WIDTH
from site_builder.results.curves import plots
from site_builder.results.record import RecordedRun
from site_builder.results.tables import Results

FILE = '''r"""
---
title: Line
summary: Fits a line.
metrics:
  loss: {name: loss on held-out points, unit: nats, better: lower}
  share: {name: points on the line, unit: "%", better: higher}
  flat_loss: {name: loss of a flat line, unit: nats, better: lower}
runs: {fitted: "", flat: --slope 0}
claims:
  - {what: a slope helps, paper: "yes, table 1", run: fitted, metric: loss, control: flat,
     margin: 1}
  - {what: points lie on the line, paper: table 2, run: fitted, metric: share, than: 0.5, margin: 0}
  - {what: one run is enough, paper: table 3, run: fitted, metric: loss, against: flat_loss,
     within: 0.1, note: not quite}
  - {what: more data helps, paper: "10 % better", note: not run here}
deviations:
  - {what: slope, paper: eq. 1, ours: twice that, others: "torch: half", matters: "no: learned",
     test: test_slope}
---

# Line
"""
x = 1
'''
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + (6).to_bytes(4) + (4).to_bytes(4)
Pages = Callable[..., tuple[list[str], str]]


def seed(number: int, loss: float | None, **metrics: float) -> dict[str, Any]:
    return {
        "seed": number, "recorded": f"2026-01-0{number + 2}", "device": "a CPU", "threads": 2,
        "seconds": 12.3 + number, "processor_seconds": 4.4, "versions": {"torch": "2.9"},
        "metrics": {"loss": loss, "share": 0.9 + number / 100, "flat_loss": 1.0} | metrics,
    }  # fmt: skip


def run(label: str, *seeds: dict[str, Any], **changed: object) -> dict[str, Any]:
    return {
        "label": label, "arguments": "--slope 0" if label == "flat" else "", "steps": 30,
        "seeds": seeds, "images": [], "said": {},
        "series": {"loss": {"steps": [0, 10, 20], "values": [4, 2, 1]}},
    } | changed  # fmt: skip


def both() -> list[dict[str, Any]]:
    fitted = [seed(0, 0.01), seed(1, 0.02), seed(2, 0.03)]
    flat = [seed(0, 9.0), seed(1, 9.1), seed(2, 9.2)]
    return [run("fitted", *fitted), run("flat", *flat)]


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    """What `check` says of a file with a record, and the text of its page."""

    def build(
        runs: list[dict[str, Any]] | None, file: str = FILE, code: str | None = None
    ) -> tuple[list[str], str]:
        folder = tmp_path / "toy" / "records"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "toy" / "line.py").write_text(file)
        now = code or fingerprint(parse(file))
        record = folder / "line.json"
        record.unlink(missing_ok=True)
        if runs is not None:
            record.write_text(json.dumps({"code": {"toy/line.py": now}, "runs": runs}))
        (folder / "line.png").write_bytes(PNG)
        assert Builder(tmp_path, tmp_path / "site").build().problems == ()
        html = (tmp_path / "site" / "toy" / "line.html").read_text()
        told = [str(problem) for problem in Builder(tmp_path, None).build().problems]
        return told, html

    return build


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def rows(html: str, table: str) -> list[str]:
    (found,) = re.findall(rf'<table class="{table}">.*?</table>', html, re.DOTALL)
    return [words(row).strip() for row in re.findall(r"<tr>.*?</tr>", found, re.DOTALL)]


def test_a_claim_stands_beside_the_paper_ours_the_control_and_the_verdict(pages: Pages) -> None:
    told, html = pages(
        both(), FILE.replace("deviations:", "other:").split("other:")[0] + '---\n"""\n'
    )
    assert told == []
    assert rows(html, "answers") == [
        "Claim The paper Ours Control Verdict",
        "a slope helps loss on held-out points, nats, lower is better yes, table 1 "
        "0.020 ± 0.010 fitted, 3 seeds 9.10 ± 0.10 flat, 3 seeds "
        "holds 9.080 ± 0.058 better, margin 1",
        "points lie on the line points on the line, %, higher is better table 2 "
        "91.0 ± 1.0 fitted, 3 seeds 50 a number holds 41.00 ± 0.58 better",
        "one run is enough loss on held-out points, nats, lower is better table 3 "
        "0.020 ± 0.010 fitted, 3 seeds 1 loss of a flat line, 3 seeds "
        "does not hold here 0.9800 ± 0.0058 apart, of 0.1 allowed not quite",
        "more data helps 10 % better – – not run not run here",
    ]


def test_the_page_shows_what_was_recorded(pages: Pages, tmp_path: Path) -> None:
    runs = both()
    runs[0] |= {"images": ["line.png"], "said": {"a_line": "one <b>\ntwo"}}
    told, html = pages(runs)
    assert told == []
    assert rows(html, "metrics") == [
        "fitted flat",
        "loss on held-out points, nats lower is better 0.020 ± 0.010 9.10 ± 0.10",
        "points on the line, % higher is better 91.0 ± 1.0 91.0 ± 1.0",
        "loss of a flat line, nats lower is better 1 1",
        "time of one run, s 2 2",
    ]
    text = words(html)
    assert "Last ran on 2026-01-04 , in 2 s on a CPU with 2 threads: torch 2.9." in text
    repeat = r'<code id="([^"]+)">python toy/line.py --slope 0</code><button [^>]*data-copy="\1">'
    assert re.search(repeat, html)
    assert "30 steps; seed 0 on 2026-01-02, seed 1" in text
    numbers = "loss on held-out points 0.020 ± 0.010 nats", "points on the line 91.0 ± 1.0 %"
    alt = "; ".join(["line: fitted", *numbers])
    image = f'src="records/line.png" alt="{alt}" width="402" height="268" class="enlarged"'
    # Once large among the results, once small at the top, where it leads to them.
    assert html.count(image) == 2
    glimpse = html.split('<a class="glimpse" href="#results">')[1].split("</a>")[0]
    assert words(glimpse).strip() == "Results"
    trust = words(html.split('<ul class="trust">')[1].split("</ul>")[0]).split()
    assert " ".join(trust) == (
        "3 claims: 2 hold, 1 does not hold here Last ran 2026-01-04 , torch 2.9"
    )
    assert (tmp_path / "site" / "toy" / "records" / "line.png").read_bytes() == PNG
    assert "<strong>a line</strong>: fitted</figcaption><blockquote>one &lt;b&gt;\ntwo<" in html
    assert "slope eq. 1 twice that torch: half no: learned test_slope" in text
    assert "stale" not in text
    assert not re.search(
        r"\de[-+]?\d|[a-z]_[a-z]", words(html.split('id="results"')[1].split("</section>")[0])
    )


def test_one_seed_is_seen_once_and_no_record_is_not_recorded_yet(pages: Pages) -> None:
    told, html = pages([run("fitted", seed(0, 0.01)), run("flat", seed(0, 9.0))])
    assert told == []
    assert re.findall(r'data-verdict="([^"]+)"', html) == [*["seen once"] * 3, "not run"]
    assert "0.01 fitted, one seed" in words(html)
    told, html = pages(None)
    assert re.findall(r'data-verdict="([^"]+)"', html) == [*["not recorded yet"] * 3, "not run"]
    missing = "(as it is) is not on record; record it again"
    assert told == [
        f"toy/line.py:11: claims: the run 'fitted' {missing}",
        "toy/line.py:11: claims: the run 'flat' (--slope 0) is not on record; record it again",
        f"toy/line.py:13: claims: the run 'fitted' {missing}",
        f"toy/line.py:14: claims: the run 'fitted' {missing}",
    ]


def test_a_stale_record_is_shown_as_such_and_reported_by_check(pages: Pages) -> None:
    told, html = pages(both(), code="0" * 16)
    assert "This record is stale: line.py changed since it was made." in words(html)
    assert told == ["toy/records/line.json:1: recorded before toy/line.py changed; record it again"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("a.py", "a.py"),
        ("x/a.py x/b.py", "a.py and b.py"),
        ("x/a.py x/b.py x/c.py y/d.py", "a.py, b.py and 2 more"),
    ],
)
def test_what_made_a_record_stale_takes_one_line(changed: str, told: str) -> None:
    assert Results((), (), (), (), (), (), tuple(changed.split())).stale == told


def test_verdicts_in_a_line() -> None:
    def told(*verdicts: str) -> str:
        side = Side()
        found = tuple(Answer("", "", "", side, side, verdict, "", "") for verdict in verdicts)
        return Results((), found, (), (), (), (), ()).told

    assert told("holds", "not shown", "holds", "not run") == "3 claims: 2 hold, 1 not shown"
    assert told("seen once", "not recorded yet") == "1 claim: seen once"


def test_what_is_to_be_seen_is_said_and_what_no_run_shows_is_reported(pages: Pages) -> None:
    runs = both()
    runs[0] |= {"images": ["line.png"], "said": {"a_line": "one"}}
    shows = "shows: {line: a slope, a_line: in words, lime: nothing}\nclaims:"
    told, html = pages(runs, FILE.replace("claims:", shows))
    message = "shows: no run on record shows 'lime'; they show a_line, line"
    assert told == [f"toy/line.py:10: {message}"]
    assert "<strong>line</strong>: a slope</figcaption>" in html
    assert 'alt="a slope: fitted; loss on' in html
    assert "<strong>a line</strong>: fitted. in words</figcaption>" in html


def test_the_key_has_the_strokes_of_its_line(pages: Pages) -> None:
    _, html = pages(both())
    strokes = re.findall(r'<svg class="stroke"[^>]*><path class="(series series-\d)"', html)
    assert strokes == ["series series-1", "series series-2"]
    found = html.split('class="curve"')[1]
    assert [c for c in strokes if f'<path class="{c}" d="M0 0L' in found] == strokes
    assert "loss on held-out points, nats</text>" in found
    finding = "All at 1 nats after 30 steps."
    assert f'aria-label="loss on held-out points over the steps. {finding}"' in found
    assert f"<strong>loss on held-out points</strong>. {finding}</p>" in found


def test_flags_that_were_edited_are_named_at_the_claim(pages: Pages) -> None:
    told, html = pages(both(), FILE.replace("--slope 0", "--slope 0.1"))
    message = "the run 'flat' (--slope 0.1) is not on record; record it again"
    assert told == [f"toy/line.py:11: claims: {message}"]
    assert re.findall(r'data-verdict="([^"]+)"', html)[0] == "not recorded yet"
    assert "9.10" not in html
    # A run that no claim names has a line of its own.
    told, _ = pages(both(), FILE.replace("flat: --slope 0}", "flat: --slope 0, steep: --slope 9}"))
    message = "the run 'steep' (--slope 9) is not on record; record it again"
    assert told == [f"toy/line.py:9: runs: {message}"]


@pytest.mark.parametrize(("metric", "line"), [("loss", 11), ("share", 13), ("flat_loss", 14)])
def test_a_metric_that_the_record_lacks_is_named_at_the_claim(
    pages: Pages, metric: str, line: int
) -> None:
    runs = both()
    del runs[0]["seeds"][1]["metrics"][metric]
    told, _ = pages(runs)
    has = "loss, share, flat_loss"
    message = f"claims: the run 'fitted' did not record {metric}; it has {has}"
    assert told[0] == f"toy/line.py:{line}: {message}"


def test_a_record_that_is_none_and_a_picture_that_is_gone(pages: Pages, tmp_path: Path) -> None:
    pages(both())
    record = tmp_path / "toy" / "records" / "line.json"
    for runs, told in [
        ([run("fitted", seed(0, 1.0), images=["gone.png"]), both()[1]], "gone.png is missing"),
        ([{}], "not a record (KeyError('series'))"),
        ([run("fitted")], "not a record (ValueError('a run without a seed'))"),
    ]:
        code = {"toy/line.py": fingerprint(parse(FILE))}
        record.write_text(json.dumps({"code": code, "runs": runs}))
        problems = [str(problem) for problem in Builder(tmp_path, None).build().problems]
        assert problems == [f"toy/records/line.json:1: {told}; record the paper again"]


def test_what_cannot_change_a_result_does_not_change_the_fingerprint() -> None:
    def of(text: str) -> str:
        return fingerprint(parse(text))

    text = '"""Doc."""\nclass C:\n    x: int = 1\n\ndef f(a):\n    return f"{a!r:#x}"\n'
    for same in [
        text.replace("Doc.", "Other words.\n\nAnd more."),
        text.replace("x: int = 1", "x: int = 1  # (B, T)"),
        text.replace("x: int = 1", '# why\n    x: int = 1\n    "its help"'),
        text.replace("x: int = 1", "x: int = 1  # noqa: E501"),
        text.replace("x: int = 1", 'x: int = 1\n    """\n    help\n    """  # (T,)'),
        text.replace("def f(a):\n", 'def f(a):\n    """Says."""\n'),
        text.replace("\n", "\r\n"),
        text.replace("\n\n", "\n\n\n"),
        "# fmt: off\n" + text,
    ]:
        assert of(same) == of(text), same
    for other in [
        text.replace("1", "2"),
        text.replace("{a!r:#x}", "{a!r:#o}"),
        text.replace("x: int = 1", 'x: int = 1; "help"'),
        text.replace("x: int = 1", 'x: int = 1\n    y = "its help"'),
        text.replace("x: int = 1", "x: str = '# 1'"),
        text.replace("    return", "  return"),
    ]:
        assert of(other) != of(text), other
    assert of("x = '# one'") != of("x = '# two'")


def of_run(label: str, name: str, points: list[tuple[float, float]]) -> RecordedRun:
    return RecordedRun(label, "", 0, (), ((name, tuple(points)),), (), ())


def test_a_curve_goes_from_corner_to_corner() -> None:
    (figure,) = plots([of_run("a", "loss", [(0, 4.0), (5, 3.0), (10, 2.0)])], {})
    assert figure.lines[0].path == f"M0 0L{WIDTH // 2} {HEIGHT // 2}L{WIDTH} {HEIGHT}"
    assert [tick.label for tick in figure.up] == ["2", "2.5", "3", "3.5", "4"]
    assert [(t.at, t.label) for t in figure.across][-1] == (WIDTH, "10")


def test_an_axis_is_logarithmic_where_the_metric_says_so_and_nowhere_else() -> None:
    run = of_run("a", "loss", [(0, 10.0), (1, 0.1), (2, 0.001)])
    (plain,) = plots([run], {"loss": Metric("loss")})
    assert not plain.log
    assert plain.lines[0].path == f"M0 0L{WIDTH // 2} {0.99 * HEIGHT:g}L{WIDTH} {HEIGHT}"
    (figure,) = plots([run], {"loss": Metric("loss", scale="log")})
    assert figure.log
    assert figure.lines[0].path == f"M0 0L{WIDTH // 2} {HEIGHT // 2}L{WIDTH} {HEIGHT}"
    assert [tick.label for tick in figure.up] == ["10⁻³", "10⁻²", "10⁻¹", "10⁰", "10¹"]
    # Within a power of ten the ticks are plain numbers, in their places.
    (near,) = plots(
        [of_run("a", "loss", [(0, 4.0), (1, 2.0), (2, 1.0)])], {"loss": Metric("l", scale="log")}
    )
    ticks = {tick.label: tick.at for tick in near.up}
    assert (ticks["1"], ticks["2"], ticks["4"]) == (HEIGHT, HEIGHT / 2, 0)
    powers = {"x": Metric("x", scale="log")}
    for values in ([1.0, -1.0], [0.0, 0.0]):
        (linear,) = plots([of_run("a", "x", list(enumerate(values)))], powers)
        assert not linear.log
    # Zero is where the least that is more than zero is: at the lower edge.
    (zero,) = plots([of_run("a", "x", [(0, 1.0), (1, 0.0), (2, 0.01)])], powers)
    assert zero.log
    assert zero.lines[0].path.split("L")[1:] == ["280 260", "560 260"]


def test_runs_share_a_figure_and_lines_of_one_run_have_their_own() -> None:
    curve = [(0.0, 0.1), (1.0, 0.2)]
    metrics = {
        "loss": Metric("training loss", "nats"),
        "loss/adam": Metric("Adam"),
        "share": Metric("share", "%"),
    }
    shared = plots((of_run("a", "loss", curve), of_run("b", "loss", curve)), metrics)
    assert [[line.label for line in figure.lines] for figure in shared] == [["a", "b"]]
    assert [(figure.name, figure.unit, figure.run) for figure in shared] == [
        ("training loss", "nats", "")
    ]
    apart = plots((of_run("a", "loss/adam", curve), of_run("b", "loss/of_two", curve)), metrics)
    assert [(figure.name, figure.run) for figure in apart] == [
        ("training loss", "a"),
        ("training loss", "b"),
    ]
    assert [figure.lines[0].label for figure in apart] == ["Adam", "of two"]
    (percent,) = plots([of_run("a", "share", curve)], metrics)
    assert percent.lines[0].last == "20"
    assert percent.up[0].label == "10"


def test_runs_on_other_data_are_compared_with_nothing_but_each_other() -> None:
    curve = ((0.0, 0.1), (1.0, 0.2))
    arguments = {"a": "", "b": "--layers 1", "c": "--data mnist", "d": "--seeds 2 --data=mnist"}
    runs = [RecordedRun(k, v, 0, (), (("loss", curve),), (), ()) for k, v in arguments.items()]
    usual, other = plots(runs, {})
    assert (usual.run, [line.label for line in usual.lines]) == ("", ["a", "b"])
    assert (other.run, [line.label for line in other.lines]) == ("on mnist", ["c", "d"])


def test_a_text_that_runs_have_in_common_is_shown_once(pages: Pages) -> None:
    runs = both()
    runs[0] |= {"said": {"prompt": "Once", "next": "upon"}}
    runs[1] |= {"said": {"prompt": "Once", "next": "more"}}
    _, html = pages(runs)
    texts = html.split('<div class="texts">')[1].split("</div>")[0]
    assert words(texts).replace(" :", ":").split() == (
        ["prompt:", "fitted,", "flat", "Once", "next:", "fitted", "upon", "next:", "flat", "more"]
    )


def test_constant_and_single_values_draw() -> None:
    (figure,) = plots([of_run("a", "loss", [(0, 0.0), (1, 0.0)])], {})
    assert "nan" not in figure.lines[0].path
    assert plots([of_run("a", "loss", [(0, 1.0)])], {}) == ()


def test_a_heading_may_begin_with_a_digit(tmp_path: Path) -> None:
    """Footnotes are told apart by the section's anchor, which is then no part of a pattern."""
    text = 'r"""\n# Title\n"""\n\n# ## 1. First\n#\n# Said[^a].\n#\n# [^a]: A note.\nx = 1\n'
    (tmp_path / "a.py").write_text(text)
    assert Builder(tmp_path, tmp_path / "site").build().problems == ()
    html = (tmp_path / "site" / "a.html").read_text()
    assert 'id="1-first-fn-a"' in html
    assert 'href="#1-first-fn-a"' in html


def test_what_is_not_shown_wants_a_reason(pages: Pages) -> None:
    told, html = pages(both(), FILE.replace(", note: not quite", ""))
    verdict = re.findall(r'data-verdict="([^"]+)"', html)[2]
    assert verdict in ("not shown", "does not hold here")
    said = f"claims: 'one run is enough': {verdict}, says the record; say why in a note"
    assert told == [f"toy/line.py:14: {said}"]
