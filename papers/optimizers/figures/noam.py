"""The page's own schedule, for three lengths of the warm-up, and for two widths."""

from __future__ import annotations

from papers.optimizers.noam import noam, peak
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.sheet import Box, Point, Sheet

STEPS, WIDTH = 600, 64
WARMUPS, WIDTHS = (50, 100, 200), (64, 256)


def curve(width: int, W: int) -> list[Point]:
    return [(float(t), noam(t, width, W)) for t in range(1, STEPS + 1)]


def warm_ups(sheet: Sheet) -> None:
    top = 1.25 * peak(WIDTH, WARMUPS[0])
    axes = Axes(Box(16, 40, 326, 130), (0, STEPS), (0, top))
    axes.draw(sheet, "step")
    sheet.text("lr", (axes.box.x, axes.box.y - 9), "size", "start")
    # What the warm-ups cut off, as far as the sheet has room for it.
    tail = [(float(t), noam(t, WIDTH, 1)) for t in range(1, STEPS + 1)]
    axes.curve(sheet, [point for point in tail if point[1] < top], "plain", dashed=True)
    for W in WARMUPS:
        axes.curve(sheet, curve(WIDTH, W), "idea")
        x, y = axes.place(W, peak(WIDTH, W))
        sheet.add("circle", class_="dot", cx=x, cy=y, r=2.2)
        sheet.text(f"W = {W}", (x + 10, y - 7), "size", "start")
    with sheet.link("equation-3-with-a-factor"):
        sheet.text("noam", axes.place(STEPS * 0.75, 0.6 * top), "name", "start")


def widths(sheet: Sheet) -> None:
    axes = Axes(
        Box(16, 236, 326, 130), (0, STEPS), (0, 1.25 * peak(WIDTHS[0], WARMUPS[1]))
    )  # fmt: skip
    axes.draw(sheet, "step")
    sheet.text("lr", (axes.box.x, axes.box.y - 9), "size", "start")
    for width in WIDTHS:
        axes.curve(sheet, curve(width, WARMUPS[1]), "attention", dashed=width > WIDTHS[0])
        x, y = axes.place(STEPS, noam(STEPS, width, WARMUPS[1]))
        sheet.text(f"width {width}", (x, y - 11), "size", "end")
    x, y = axes.place(WARMUPS[1], peak(WIDTHS[0], WARMUPS[1]))
    with sheet.link("the-peak"):
        sheet.text("peak", (x - 8, y - 7), "name", "end")


def draw() -> Sheet:
    sheet = Sheet(386)
    sheet.text("three warm-ups, one tail", (180, 14), "note")
    warm_ups(sheet)
    sheet.text("two widths", (180, 210), "note")
    widths(sheet)
    return sheet
