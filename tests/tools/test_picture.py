"""The curve that a notebook ends with: of which run, of which value, and where its lines go."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from papers.common import UserError
from papers.tools.picture import picture
from site_builder.results.axes import HEIGHT, WIDTH

SVG = "{http://www.w3.org/2000/svg}"
Series = dict[str, list[float | None]]


def write(folder: Path, at: int = 0, **series: list[float | None]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    curves = {
        name.replace("_of_", "/"): {"steps": [*range(len(values))], "values": values}
        for name, values in series.items()
    }
    file = folder / "result.json"
    file.write_text(json.dumps({"series": curves}))
    os.utime(file, (at, at))
    return folder


def parts(folder: Path | None = None) -> tuple[list[str], list[list[tuple[float, float]]]]:
    """What is written, and the points of each line."""
    svg = picture(folder)._repr_svg_()
    root = ElementTree.fromstring(svg)
    words = ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]
    lines = []
    for path in root.iter(f"{SVG}path"):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", path.attrib["d"])]
        lines.append([*zip(numbers[::2], numbers[1::2], strict=True)])
    return words, [
        line for line in lines if line[0][0] != line[-1][0] and line[0][1] != line[-1][1]
    ]


def test_a_loss_that_falls_goes_from_the_upper_left_to_the_lower_right(tmp_path: Path) -> None:
    words, lines = parts(write(tmp_path, lr=[9.0, 8.0], loss=[4.0, 2.0, 1.0, 0.5]))
    # Once pale, and once as its course, which is the same where nothing is noise.
    assert lines[0] == lines[1]
    assert (lines[0][0], lines[0][-1]) == ((0, 0), (WIDTH, HEIGHT))
    assert len(lines[0]) == 4
    assert f"loss over the steps of {tmp_path}" in words
    assert "0.5" in words
    assert not any("lr" in word for word in words)


def test_lines_of_one_value_share_their_axes(tmp_path: Path) -> None:
    folder = write(tmp_path, loss_of_adam=[4.0, 3.0, 1.0], loss_of_sgd=[4.0, None, 2.0])
    words, lines = parts(folder)
    assert {"1 adam", "2 sgd"} <= {*words}
    assert [len(line) for line in lines] == [3, 3, 2, 2]
    assert lines[0][0] == lines[2][0] == (0, 0)
    assert (lines[0][-1][1], lines[2][-1][1]) == (HEIGHT, pytest.approx(HEIGHT * 2 / 3, abs=0.1))


def test_without_a_folder_it_is_the_run_that_ended_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="runs: no run has ended there"):
        picture()
    write(Path("runs/a/new"), 20, accuracy=[0.1, 0.9])
    write(Path("runs/z/old"), 10, loss=[1.0, 0.5])
    words, _ = parts()
    assert f"accuracy over the steps of {Path('runs/a/new')}" in words


def test_without_points_it_says_so(tmp_path: Path) -> None:
    words, lines = parts(write(tmp_path))
    assert (words, lines) == ([f"{tmp_path} has logged no value by step"], [])
    words, lines = parts(write(tmp_path, loss=[None, None]))
    assert (words, lines) == ([f"{tmp_path} has logged no value by step"], [])
    words, lines = parts(write(tmp_path, loss=[3.0]))
    assert "3" in words
