"""The figures of the papers are what their scripts draw, and fit a phone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from papers.tools.drawing.parts import block, sign, tensor
from papers.tools.drawing.sheet import ADVANCE, Sheet
from papers.tools.drawing.wires import arrow, skip
from papers.tools.figures import drawn, main, script_of
from site_builder.read.drawing import is_ours, read_drawing

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(ROOT.glob("papers/**/figures/*.py"))
PAPERS = [script.relative_to(ROOT).parent.parent / script.name for script in SCRIPTS]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def parted(svg: str) -> tuple[list[str], list[float]]:
    """Its words, and its numbers, the last digit of which is the machine's."""
    number = r"-?\d+\.\d+|-?\b\d+\b"
    return re.split(number, svg), [float(found) for found in re.findall(number, svg)]


@pytest.mark.parametrize("paper", PAPERS, ids=str)
def test_it_is_what_its_script_draws(paper: Path) -> None:
    words, numbers = parted(script_of(paper).with_suffix(".svg").read_text(encoding="utf-8"))
    drawn_words, drawn_numbers = parted(drawn(paper))
    told = f"draw it again: python -m papers.tools.figures {paper}"
    assert words == drawn_words, told
    assert numbers == pytest.approx(drawn_numbers, abs=0.0101), told


@pytest.mark.parametrize("paper", PAPERS, ids=str)
def test_it_can_be_read_on_a_phone(paper: Path) -> None:
    """Its words are 12 px where it is 340 px wide, and none leaves the sheet."""
    data = script_of(paper).with_suffix(".svg").read_bytes()
    root = ElementTree.fromstring(data)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for text in root.iter(f"{SVG}text"):
        words, size = text.text or "", float(text.get("font-size", 0))
        assert size * min(1, 340 / width) > 11.75, words
        long = len(words) * size * ADVANCE
        share = {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "start")]
        left = float(text.get("x", 0)) - share * long
        assert left > -1, words
        assert left + long < width + 1, words
        assert size / 2 < float(text.get("y", 0)) < height, words


@pytest.mark.parametrize("paper", PAPERS, ids=str)
def test_it_leads_to_sections(paper: Path) -> None:
    data = script_of(paper).with_suffix(".svg").read_bytes()
    assert is_ours(data)
    drawing = read_drawing(data)
    assert drawing.mistakes == ()
    assert drawing.links
    # A link without words is silence to who does not see the picture.
    links = re.findall(r"<a href.*?</a>", drawing.html, re.DOTALL)
    assert [link for link in links if "</text>" not in link] == []


def test_the_weights_of_attention_are_weights() -> None:
    """What a row of the picture shows sums to one, and nothing later than the query is seen."""
    svg = (ROOT / "papers/transformers/figures/attention.svg").read_text()
    cells = re.findall(r'fill-opacity="([\d.]+)" x="([\d.]+)" y="([\d.]+)"', svg)
    rows: dict[str, list[tuple[float, float]]] = {}
    for opacity, x, y in cells:
        rows.setdefault(y, []).append((float(x), float(opacity)))
    assert len(rows) == 5
    for number, row in enumerate(rows.values(), 1):
        assert len(row) == number
        assert sum(opacity for _, opacity in row) == pytest.approx(1, abs=0.03)
        # This head looks at the position before.
        assert max(row, key=lambda cell: cell[1]) == sorted(row)[max(number - 2, 0)]


def svg_of(sheet: Sheet) -> str:
    return sheet.svg("a{}", "Sums & <more>", "a < b", data_drawn_from="a.py=1")


def test_what_is_drawn_is_escaped_and_ours() -> None:
    sheet = Sheet(90)
    block(sheet, "norm", "a < b & c", (180, 45), link="x", depth=2)
    svg = svg_of(sheet)
    assert "<title>Sums &amp; &lt;more&gt;</title>" in svg
    assert "<desc>a &lt; b</desc>" in svg
    drawing = read_drawing(svg.encode())
    assert drawing.mistakes == ()
    assert "a &lt; b &amp; c</text>" in drawing.html
    assert [link.anchor for link in drawing.links] == ["x"]
    assert drawing.html.count('class="face"') == 2
    assert drawing.drawn_from == {"a.py": "1"}


def test_a_cell_is_as_dark_as_its_value() -> None:
    sheet = Sheet(90)
    box = tensor(sheet, "plain", (10, 20), [[0.25, 0, None], [1.0, 0.5, None]], 10)
    assert (box.width, box.height, box.bottom) == (30, 20, (25, 40))
    svg = svg_of(sheet)
    cells = re.findall(r'fill-opacity="([\d.]+)" x="([\d.]+)" y="([\d.]+)"', svg)
    assert cells == [("0.25", "10", "20"), ("1", "10", "30"), ("0.5", "20", "30")]
    assert svg.count('class="hidden"') == 2


def test_an_arrow_turns_at_its_corners_and_ends_where_it_should() -> None:
    sheet = Sheet(90)
    arrow(sheet, (10, 10), (50, 10), (50, 60))
    skip(sheet, (100, 10), (100, 60), 30)
    line, head, around, into = re.findall(r' d="([^"]*)"', svg_of(sheet))
    assert line == "M 10 10 L 42 10 Q 50 10 50 18 L 50 54"
    assert head == "M 53.5 53 L 50 60 L 46.5 53 z"
    assert "Q 130 10" in around
    assert "L 100 60 L" in into


@pytest.mark.parametrize(("kind", "strokes"), [("+", 1), ("-", 1), ("*", 1), ("@", 0)])
def test_a_sign_is_that_of_the_code(kind: str, strokes: int) -> None:
    sheet = Sheet(90)
    sign(sheet, kind, (20, 20))
    svg = svg_of(sheet)
    assert svg.count('class="glyph"') == strokes
    assert svg.count(">@</text>") == 1 - strokes


PAPER = '"""\n---\ntitle: T\nsummary: s\n{}---\n"""\n'
FIGURE = "figure: {file: figures/p.svg, alt: a, caption: c}\n"
DRAW = "from papers.tools.drawing.sheet import Sheet\n\ndef draw():\n    return Sheet(10)\n"


@pytest.mark.parametrize(
    ("paper", "script", "told"),
    [
        (PAPER.format(""), DRAW, "{}/p.py:1: no figure in the front matter; name its file"),
        (PAPER.format("titel: x\n"), DRAW, "{}/p.py:5: unknown key 'titel'"),
        (PAPER.format(FIGURE), None, "{}/figures/p.py: cannot be read: No such file"),
        (PAPER.format(FIGURE), "x = 1\n", "{}/figures/p.py:1: has no draw() that returns a sheet"),
        (None, DRAW, "{}/p.py: cannot be read: No such file"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    paper: str | None,
    script: str | None,
    told: str,
) -> None:
    (tmp_path / "figures").mkdir()
    for name, text in [("p.py", paper), ("figures/p.py", script)]:
        if text is not None:
            (tmp_path / name).write_text(text)
    assert main([str(tmp_path / "p.py")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(told.format(tmp_path))
    assert said.err.count("\n") == 1
    assert not (tmp_path / "figures" / "p.svg").exists()


def test_without_a_file_all_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ("a", "b"):
        folder = tmp_path / "papers" / name / "figures"
        folder.mkdir(parents=True)
        (folder.parent / "p.py").write_text(PAPER.format(FIGURE))
        (folder / "p.py").write_text(DRAW)
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    assert capsys.readouterr().out == "papers/a/figures/p.svg\npapers/b/figures/p.svg\n"
    svg = (folder / "p.svg").read_text()
    assert re.search(r'data-drawn-from="papers/b/figures/p.py=\w{16}"', svg)
