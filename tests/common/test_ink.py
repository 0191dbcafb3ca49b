"""Drawings of a pen: recipes, lines, pixels and files."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import torch

from papers.common.data import doodles
from papers.common.data.doodles import KINDS
from papers.common.data.ink import END, lines, picture, small, svg
from papers.tools.shapes import check_shapes

# A line down, a movement through the air, a line to the right, and what is no line any more.
TWO = torch.tensor([[0.0, 4, 0, 1, 0], [0, -4, 1, 0, 0], [2, 0, 0, 1, 0], [9, 9, 0, 0, 1], [*END]])


def test_a_line_is_drawn_where_the_pen_was_down() -> None:
    start, end = lines(TWO)
    assert start.tolist() == [[0, 0], [0, 0]]
    assert end.tolist() == [[0, 4], [2, 0]]


def test_ink_is_where_the_lines_are() -> None:
    seen = picture(TWO, 24)
    assert seen.shape == (24, 24)
    # Four units high, sixteen pixels of twenty-four, in the middle of both sides.
    ink = (seen < 0.5).nonzero()
    assert ink.amin(0).tolist() == [3, 7]
    assert ink.amax(0).tolist() == [20, 16]
    assert (seen[4:20, 7:9] < 0.6).all()
    assert (seen[3:5, 8:16] < 0.6).all()
    assert (seen[8:, 12:] == 1).all()
    assert (picture(torch.tensor([[*END]]), 24) == 1).all()
    assert small(TWO[None]).shape == (1, 256)


def test_a_file_has_the_same_lines() -> None:
    tree = ElementTree.fromstring(svg(TWO))
    (path,) = tree
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", path.attrib["d"])]
    assert numbers == [0, 0, 0, 4, 0, 0, 2, 0]
    left, top, wide, high = map(float, tree.attrib["viewBox"].split())
    assert left < 0
    assert top < 0
    assert left + wide > 2
    assert top + high > 4
    empty = ElementTree.fromstring(svg(torch.tensor([[*END]])))
    assert float(empty.attrib["viewBox"].split()[2]) > 0


def test_doodles_are_alike_and_never_the_same() -> None:
    first, again, other = doodles(200), doodles(200), doodles(200, seed=1)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(first, other, strict=False))
    lengths = {len(each) for each in first}
    assert min(lengths) >= 4
    assert max(lengths) <= 20
    for each in first:
        assert each.shape[1] == 3
        # The last movement ends with the pen in the air, and all but it are zero or one.
        assert each[-1, 2] == 1
        assert set(each[:, 2].tolist()) <= {0.0, 1.0}
    assert len(KINDS) == 8


@pytest.mark.parametrize(("kind", "parts"), [("circle", 1), ("letter", 2), ("face", 4)])
def test_a_kind_has_its_lines(kind: str, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    others = set(KINDS) - {kind}
    for other in others:
        monkeypatch.delitem(KINDS, other)
    for each in doodles(20):
        assert each[:, 2].sum() == parts
        if kind == "circle":
            assert each[:, :2].sum(0).norm() < 0.4


def test_shape_comments() -> None:
    for file in ("ink", "doodles"):
        with check_shapes(f"papers/common/data/{file}.py"):
            more = torch.cat([TWO[:2], TWO[1:2], TWO[2:]])
            small(torch.stack([more, more, more]))
            svg(more)
            doodles(3)
