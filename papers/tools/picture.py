r"""
---
title: The curve of a run, as a picture
summary: What a notebook ends with, the loss of the run above, drawn from the run's own result.
---

# The curve of a run, as a picture

A notebook shows what its last line gives, so

    from papers.tools.picture import picture

    picture()

draws the loss of the run that was the last to end. The picture is an SVG and needs nothing but what
draws our figures. Its colours are its own: a notebook shows it in whatever theme it has.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import drawsvg

from papers.common.errors import UserError
from site_builder.results.axes import HEIGHT, WIDTH, Frame
from site_builder.results.lines import apart, course
from site_builder.results.numbers import number

LEFT, TOP, RIGHT, BOTTOM = 56, 40, 128, 32
GROUND, INK, QUIET = "#fff", "#26241f", "#ddd9d0"
COLOURS = ("#1b4f8f", "#a83622", "#2f6b3c", "#6a4ba3", "#8a5a00")
LETTER = 13

Points = list[tuple[float, float]]


def picture(folder: Path | str | None = None) -> drawsvg.Drawing:
    r"""
    ## The picture

    Of the run whose result lies in the folder; without one, of the last below `runs/`. It shows the
    loss, or the first value of a run that logs none. Values such as `loss/adam` and `loss/sgd` are
    lines of one picture.
    """
    place = Path(folder) if folder else last(Path("runs"))
    name, lines = read(place)
    sheet = drawsvg.Drawing(LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM, font_family="sans-serif")
    sheet.append(drawsvg.Rectangle(0, 0, sheet.width, sheet.height, fill=GROUND))
    told = f"{name} over the steps of {place}" if lines else f"{place} has logged no value by step"
    inside = drawsvg.Group(transform=f"translate({LEFT} {TOP})", fill=INK)
    inside.append(drawsvg.Text(told, LETTER, 0, -18))
    if lines:
        draw(lines, inside)
    sheet.append(inside)
    return sheet


def last(runs: Path) -> Path:
    found = sorted(runs.glob("*/*/result.json"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise UserError(f"{runs}: no run has ended there; train one, or name the folder of one")
    return found[-1].parent


def read(folder: Path) -> tuple[str, dict[str, Points]]:
    r"""
    ## What it shows

    The name of what is drawn, and the points of each line. What was no number is left out.
    """
    series = json.loads((folder / "result.json").read_text(encoding="utf-8"))["series"]
    groups = sorted({name.partition("/")[0] for name in series}, key=lambda name: name != "loss")
    shown = {name: curve for name, curve in series.items() if name.partition("/")[0] in groups[:1]}
    lines = {
        name: [
            (x, y) for x, y in zip(curve["steps"], curve["values"], strict=True) if y is not None
        ]
        for name, curve in shown.items()
    }
    return "".join(groups[:1]), {name: points for name, points in lines.items() if points}


def draw(lines: dict[str, Points], sheet: drawsvg.Group) -> None:
    r"""
    ## Lines and axes

    As on the pages: a course through the noise, which is behind it in a lighter tone, and at its
    end what it ends at.
    """
    steps, values = zip(*itertools.chain(*lines.values()), strict=True)
    frame = Frame(max(steps) or 1.0, min(values), max(values), False)
    for tick in frame.up():
        sheet.append(drawsvg.Line(0, tick.at, WIDTH, tick.at, stroke=QUIET))
        sheet.append(drawsvg.Text(tick.label, LETTER, -8, tick.at + 4, text_anchor="end"))
    for tick in frame.across():
        sheet.append(drawsvg.Text(tick.label, LETTER, tick.at, HEIGHT + 20, text_anchor="middle"))
    means = [course([y for _, y in points]) for points in lines.values()]
    ends = apart([frame.height(mean[-1]) for mean in means], LETTER + 3, HEIGHT)
    for (name, points), mean, end, colour in zip(
        lines.items(), means, ends, itertools.cycle(COLOURS), strict=False
    ):
        across = [x for x, _ in points]
        for drawn, tone in (([y for _, y in points], 0.3), (mean, 1.0)):
            places = itertools.chain(*map(frame.place, across, drawn))
            sheet.append(drawsvg.Lines(*places, fill="none", stroke=colour, stroke_opacity=tone))
        label = f"{number(mean[-1])} {name.partition('/')[2]}".strip()
        right, height = frame.place(across[-1], mean[-1])
        sheet.append(drawsvg.Circle(right, height, 3, fill=colour))
        sheet.append(drawsvg.Text(label, LETTER, right + 8, end + 4, fill=colour))
