"""Paths back from noise with chance and without, by the page's own functions; the two steps."""

from __future__ import annotations

import itertools
from functools import partial

import torch
from torch import Tensor

from papers.diffusion.score_sde import EARLIEST, VP, Mixture, heun, moving, predict
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block, frame, sign
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow

COUNT, STEPS = 8, 120
DATA = Mixture(
    torch.tensor([0.3, 0.4, 0.3]), torch.tensor([[-1.6], [0.1], [1.7]]), torch.full((3,), 0.12)
)


def paths(chance: bool) -> list[Tensor]:
    """Of the same points, at times from 1 to nearly 0."""
    process, score = VP(), partial(DATA.score, VP())
    generator = torch.Generator().manual_seed(4)
    # Evenly over the Gaussian that the noise is.
    x = torch.special.ndtri((torch.arange(COUNT) + 0.5) / COUNT)[:, None]
    times, seen = torch.linspace(1, EARLIEST, STEPS + 1), [x]
    for t, to in itertools.pairwise(times):
        if chance:
            z = torch.randn(x.shape, generator=generator)
            now, then = t.expand(COUNT), to.expand(COUNT)
            x = predict(process, score(x, now), x, now, then, z)
        else:
            x = heun(partial(moving, process, score), x, torch.stack([t, to]))[0]
        seen.append(x)
    return list(torch.cat(seen, 1))


def panel(sheet: Sheet, top: float, name: str, link: str, chance: bool) -> None:
    with sheet.link(link):
        sheet.text(name, (16, top), "name", "start")
    axes = Axes(Box(16, top + 14, 328, 100), (0, 1), (-2.9, 2.9))
    times = torch.linspace(1, EARLIEST, STEPS + 1).tolist()
    for path in paths(chance):
        axes.curve(sheet, list(zip(times, path.tolist(), strict=True)), "idea")
    sheet.text("data, t = 0", (16, top + 126), "size", "start")
    sheet.text("noise, t = 1", (344, top + 126), "size", "end")


def steps(sheet: Sheet, top: float) -> None:
    frame(sheet, Box(8, top, 344, 116))
    for number, (name, words) in enumerate((("predict", "t to earlier"), ("correct", "t stays"))):
        y = top + 34 + 52 * number
        sheet.text("x", (24, y))
        score = block(sheet, "feed-forward", "score", (86, y), 76)
        plus = sign(sheet, "+", (160, y))
        arrow(sheet, (32, y), score.left)
        arrow(sheet, score.right, plus.left)
        fresh = block(sheet, "noise", "z", (204, y), 34, 24)
        arrow(sheet, fresh.left, plus.right)
        with sheet.link("samplers" if name == "predict" else "the-corrector"):
            sheet.text(name, (236, y - 8), "name", "start")
        sheet.text(words, (236, y + 9), "note", "start")


def draw() -> Sheet:
    sheet = Sheet(432)
    panel(sheet, 12, "predict: with noise", "samplers", True)
    panel(sheet, 162, "flow: without", "without-chance", False)
    steps(sheet, 308)
    return sheet
