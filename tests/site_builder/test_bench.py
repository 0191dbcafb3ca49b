"""The benchmark's corpus: copies of our files that share no formula and have nothing wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from site_builder.read.blocks import parse
from site_builder.read.source import decode
from tests import bench_table
from tests.bench_peers import PEERS, asked, installed, machine, prepare, served, weigh
from tests.bench_site import PAGE, build, formulas, make_corpus

from .conftest import Command


def all_formulas(files: list[Path]) -> set[str]:
    blocks = (block for file in files for block in parse(file.read_text()).blocks)
    return {tex for block in blocks for tex in formulas(block.prose)}


def test_every_formula_of_every_copy_is_another(tmp_path: Path) -> None:
    one = make_corpus(tmp_path / "one", 1)
    two = make_corpus(tmp_path / "two", len(one) + 1)[len(one) :]
    assert len(one) == len(two)
    first, second = all_formulas(one), all_formulas(two)
    assert len(first) > 50
    assert not first & second
    assert abs(len(first) - len(second)) <= len(first) // 50
    assert all(parse(file.read_text()).tree for file in one + two)
    assert decode("a.py", two[0].read_bytes())


def test_the_corpus_builds(tmp_path: Path, command: Command) -> None:
    make_corpus(tmp_path / "corpus", 1)
    done = command("build", tmp_path / "corpus", "--out", tmp_path / "out")
    assert "Expected" not in done.stderr, "a formula was spoilt"
    assert "Undefined control sequence" not in done.stderr
    assert "leads nowhere: copy" not in done.stderr


def test_the_tables_are_what_was_recorded() -> None:
    """Nobody types a number: `python tests/bench_table.py` puts the record in."""
    for place, text in bench_table.texts().items():
        assert place.read_text() == text, place.name


def test_a_table_has_medians_and_the_ratios_of_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = {"requests": 7, "elsewhere": 2, "bytes": 123_456, "compressed": 34_567}
    measured = {
        "files": 5,
        "lines": 1234,
        "seconds": {"cold": [1.0, 2.0, 4.0], "docco": [3.0, 2.0, 40.0], "unchanged": [0.1] * 3},
        "pages": {"ours": {**weight, "requests": 9}, "docco": weight},
        "recorded": "2026-01-02",
        "machine": {"processor": "P", "cores": 2, "system": "S", "python": "3", "node": "4"},
        "versions": {"docco": "0.9"},
    }
    rows = bench_table.table(measured).splitlines()[2:]
    assert rows == [
        "| ours | 2.00 | 1.00 | 123 | 35 | 9 | 2 |",
        "| docco 0.9 | 3.00 | 3.00 | 123 | 35 | 7 | 2 |",
        "| ours, nothing changed | 0.10 | 0.05 |  |  |  |  |",
    ]
    told = bench_table.told(measured)
    assert "5 files with 1,234 lines, median of 3 rounds" in told
    assert "on 2 cores of P, S, Python 3, Node.js 4, 2026-01-02." in told
    # It takes the place of what was there, and of nothing else.
    (tmp_path / "record.json").write_text(json.dumps(measured))
    readme, page = tmp_path / "README.md", tmp_path / "page.py"
    readme.write_text("# A\n\n## How fast it is\n\nOld.\n\n## License\n\nB\n")
    page.write_text('r"""\n# A\n\n## How fast it is\n\n"""\n')
    monkeypatch.setattr(bench_table, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(bench_table, "WIDTHS", {readme: 132, page: 60})
    for _ in range(2):
        bench_table.put_in()
        section = bench_table.section(measured, 132)
        assert readme.read_text() == f"# A\n\n{section}\n## License\n\nB\n"
        assert page.read_text() == f'r"""\n# A\n\n{bench_table.section(measured, 60)}"""\n'
    (tmp_path / "record.json").unlink()
    bench_table.put_in()
    assert readme.read_text().count("Nothing is on record yet") == 1
    readme.write_text("# A\n")
    with pytest.raises(SystemExit, match=r"README\.md has 0 sections"):
        bench_table.put_in()


@pytest.mark.browser
def test_every_peer_makes_the_page_that_is_weighed(browser: Browser, tmp_path: Path) -> None:
    peers = installed()
    assert peers.keys() <= {*PEERS}
    corpus = tmp_path / "corpus"
    file = corpus / "copy000" / PAGE
    file.parent.mkdir(parents=True)
    shutil.copy(bench_table.ROOT / PAGE, file)
    build(corpus, tmp_path)
    for name in peers:
        subprocess.run(prepare(name, corpus, [file], tmp_path), check=True, capture_output=True)
    page = Path("copy000") / PAGE
    weights = {name: weigh(browser, name, tmp_path, page) for name in ("ours", *peers)}
    # Ours asks nobody else, whatever the others do.
    assert weights["ours"]["elsewhere"] == 0
    for weight in weights.values():
        assert weight["requests"] > weight["elsewhere"] >= 0
        assert weight["bytes"] > weight["compressed"] > 5_000
    assert re.fullmatch(r"[\d.]+", str(machine(peers)["machine"]["python"]))


@pytest.mark.browser
def test_what_a_page_asks_for_is_counted(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="a.css"><script src="https://elsewhere.example/a.js"></script>'
    )
    (tmp_path / "a.css").write_text("p { color: red }")
    with served(tmp_path) as here:
        found = asked(browser, f"{here}a.html", here)
    assert (found["requests"], found["elsewhere"]) == (3, 1)
    assert found["bytes"] == sum((tmp_path / name).stat().st_size for name in ("a.html", "a.css"))
