"""Records on the page: figures, tables, and the word when a record is stale."""

from __future__ import annotations

import json
import re
from pathlib import Path

from site_builder.build import Builder
from site_builder.curves import HEIGHT, WIDTH, figures
from site_builder.records import RecordedRun, fingerprint, number
from site_builder.source import Source

FILE = '''r"""
---
title: Line
summary: Fits a line.
topic: toy
runs: {fitted: "", flat: --slope 0}
claims:
  - {what: a slope helps, paper: "yes, table 1", run: fitted, metric: loss}
  - {what: more data helps, paper: "10 % better", note: not run here}
---

# Line
"""
x = 1
'''
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + (6).to_bytes(4) + (4).to_bytes(4)


def entry(label: str, **changed: object) -> dict[str, object]:
    return {
        "label": label, "command": f"python toy/line.py {label}", "recorded": "2026-01-02",
        "device": "a CPU", "seconds": 12.3, "processor_seconds": 4.4, "steps": 30, "seed": 0,
        "versions": {"torch": "2.9"}, "images": [], "metrics": {"loss": 0.0123456},
        "series": {"loss": {"steps": [0, 10, 20], "values": [4, 2, 1]}},
    } | changed  # fmt: skip


def project(root: Path, runs: list[dict[str, object]], code: str | None = None) -> Path:
    (root / "toy" / "records").mkdir(parents=True, exist_ok=True)
    (root / "toy" / "line.py").write_text(FILE)
    now = fingerprint(Source("toy/line.py", FILE, "utf-8"))
    record = {"code": {"toy/line.py": code or now}, "runs": runs}
    (root / "toy" / "records" / "line.json").write_text(json.dumps(record))
    (root / "toy" / "records" / "line.png").write_bytes(PNG)
    return root


def run_of(label: str, name: str, points: list[tuple[float, float]]) -> RecordedRun:
    return RecordedRun(label, "", "", "", 0, 0, 0, 0, (), (), ((name, tuple(points)),), ())


def test_a_curve_goes_from_corner_to_corner() -> None:
    (figure,) = figures((run_of("a", "loss", [(0, 4.0), (5, 3.0), (10, 2.0)]),))
    assert figure.lines[0].path == f"M0 0L{WIDTH // 2} {HEIGHT // 2}L{WIDTH} {HEIGHT}"
    assert [tick.label for tick in figure.up] == ["2", "2.5", "3", "3.5", "4"]
    assert [(t.at, t.label) for t in figure.across][-1] == (WIDTH, "10")
    assert not figure.log


def test_orders_of_magnitude_get_a_logarithmic_axis() -> None:
    (figure,) = figures((run_of("a", "loss", [(0, 10.0), (1, 0.1), (2, 0.001)]),))
    assert figure.log
    assert figure.lines[0].path == f"M0 0L{WIDTH // 2} {HEIGHT // 2}L{WIDTH} {HEIGHT}"
    assert figure.up[0].label == "10⁻³"


def test_runs_share_a_figure_and_lines_of_one_run_have_their_own() -> None:
    curve = [(0.0, 1.0), (1.0, 2.0)]
    shared = figures((run_of("a", "loss", curve), run_of("b", "loss", curve)))
    assert [[line.label for line in figure.lines] for figure in shared] == [["a", "b"]]
    apart = figures((run_of("a", "loss/adam", curve), run_of("b", "loss/adam", curve)))
    assert [figure.name for figure in apart] == ["loss, a", "loss, b"]


def test_constant_and_single_values_draw() -> None:
    (figure,) = figures((run_of("a", "loss", [(0, 0.0), (1, 0.0)]),))
    assert "nan" not in figure.lines[0].path
    assert figures((run_of("a", "loss", [(0, 1.0)]),)) == ()


def test_numbers_have_four_digits() -> None:
    told = [number(v) for v in (0.98765, 12.3456, 1.2e-5, 600, None, 0.0)]
    assert told == ["0.9877", "12.35", "1.200e-05", "600", "–", "0"]


def test_the_page_shows_what_was_recorded(tmp_path: Path) -> None:
    root = project(
        tmp_path, [entry("fitted", images=["line.png"]), entry("flat", metrics={"loss": 9})]
    )
    report = Builder(root, tmp_path / "site").build()
    html = (tmp_path / "site" / "toy" / "line.html").read_text()
    assert report.problems == ()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    for words in ["a slope helps yes, table 1 loss 0.01235 fitted", "not run here",
                  "loss 0.01235 9",
                  "python toy/line.py flat", "12 s, 4 s of processor", "torch 2.9"]:  # fmt: skip
        assert words in text, words
    assert 'src="records/line.png" alt="line, fitted" width="6" height="4"' in html
    assert (tmp_path / "site" / "toy" / "records" / "line.png").read_bytes() == PNG
    assert "stale" not in text


def test_a_stale_record_is_shown_as_such_and_reported_by_check(tmp_path: Path) -> None:
    root = project(tmp_path, [entry("fitted")], code="0" * 16)
    assert Builder(root, tmp_path / "site").build().problems == ()
    assert "This record is stale" in (tmp_path / "site" / "toy" / "line.html").read_text()
    told = [str(problem) for problem in Builder(root, None).build().problems]
    assert told == ["toy/records/line.json:1: recorded before toy/line.py changed; record it again"]


def test_a_record_that_is_none_and_a_picture_that_is_gone(tmp_path: Path) -> None:
    root = project(tmp_path, [entry("fitted", images=["gone.png"])])
    told = [str(problem) for problem in Builder(root, tmp_path / "site").build().problems]
    assert told == ["toy/records/line.json:1: gone.png is missing; record the paper again"]
    (root / "toy" / "records" / "line.json").write_text('{"code": {}, "runs": [{}]}')
    told = [str(problem) for problem in Builder(root, tmp_path / "site").build().problems]
    assert told == [
        "toy/records/line.json:1: not a record (KeyError('series')); record the paper again"
    ]


def test_a_heading_may_begin_with_a_digit(tmp_path: Path) -> None:
    """Footnotes are told apart by the section's anchor, which is then no part of a pattern."""
    text = 'r"""\n# Title\n"""\n\n# ## 1. First\n#\n# Said[^a].\n#\n# [^a]: A note.\nx = 1\n'
    (tmp_path / "a.py").write_text(text)
    assert Builder(tmp_path, tmp_path / "site").build().problems == ()
    html = (tmp_path / "site" / "a.html").read_text()
    assert 'id="1-first-fn-a"' in html
    assert 'href="#1-first-fn-a"' in html
