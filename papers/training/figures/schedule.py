"""The learning rate over the steps, by the page's own functions."""

from __future__ import annotations

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.sheet import Box, Sheet
from papers.training.schedule import cosine, learning_rate, since_restart

STEPS, WARMUP, FIRST, GROWTH = 280, 30, 40, 2


def restarted(step: int) -> float:
    return cosine(*since_restart(step, FIRST, GROWTH), 1.0)


def draw() -> Sheet:
    sheet = Sheet(428)
    for top, link, name in (
        (34, "both-as-a-function-of-the-step", "learning_rate"),
        (246, "warm-restarts", "since_restart"),
    ):
        with sheet.link(link):
            sheet.text(name, (16, top - 20), "name", "start")
        axes = Axes(Box(16, top, 328, 150), (0, STEPS), (0, 1.12))
        axes.draw(sheet, "step")
        steps = range(STEPS + (link != "warm-restarts"))
        if link == "warm-restarts":
            axes.curve(sheet, [(float(s), restarted(s)) for s in steps], "attention")
            for number in range(3):
                period = FIRST * GROWTH**number
                begins = FIRST * (GROWTH**number - 1)
                at = axes.place(begins + period / 2, -0.1)
                sheet.text(str(period), at, "size")
        else:
            rates = [(float(s), learning_rate(s, STEPS, 1.0, WARMUP)) for s in steps]
            axes.curve(sheet, rates[: WARMUP + 1], "idea")
            axes.curve(sheet, rates[WARMUP:], "attention")
            with sheet.link("warm-up"):
                sheet.text("warm_up", axes.place(WARMUP * 1.1, 0.3), "name", "start")
            with sheet.link("cosine-decay"):
                sheet.text("cosine", axes.place(STEPS * 0.62, 0.62), "name", "start")
    return sheet
