"""All steps back, and the few that are taken, at times from the page's own rule; one of them."""

from __future__ import annotations

from papers.diffusion.ddim import spaced
from papers.tools.drawing.parts import block, frame, sign
from papers.tools.drawing.sheet import Box, Sheet, path
from papers.tools.drawing.wires import arrow, down

T, STEPS = 24, 4
LEFT, RIGHT = 16.0, 344.0


def place(t: int) -> float:
    """Noise is on the left, the image on the right."""
    return RIGHT - (RIGHT - LEFT) * t / T


def dots(sheet: Sheet, y: float, taken: list[int]) -> None:
    for t in range(T + 1):
        with sheet.group("idea" if t in (0, *taken) else "plain"):
            radius = 5.0 if t in (0, *taken) else 2.5
            sheet.add("circle", class_="dot", cx=place(t), cy=y, r=radius)


def hops(sheet: Sheet, y: float, times: list[int], look: str) -> None:
    for before, after in zip([0, *times], times, strict=False):
        start, end = place(after), place(before)
        height = min(12 + (end - start) * 0.35, 40)
        middle = (start + end) / 2
        with sheet.group(look):
            hop = path("M", start, y - 5, "Q", middle, y - height - 5, end, y - 5)
            sheet.add("path", class_="trace", d=hop)


def chains(sheet: Sheet) -> None:
    sheet.text("ddpm", (LEFT - 8, 12), "note", "start")
    sheet.text(f"{T} steps", (RIGHT + 8, 12), "note", "end")
    hops(sheet, 54, list(range(1, T + 1)), "plain")
    dots(sheet, 54, [])
    for number, spacing in enumerate(("linear", "quadratic")):
        y = 142.0 + 100 * number
        times = spaced(T, STEPS, "linear" if spacing == "linear" else "quadratic")
        with sheet.link("fewer-steps"):
            sheet.text(f'spaced({T}, {STEPS}, "{spacing}")', (LEFT - 8, y - 56), "name", "start")
        hops(sheet, y, times, "idea")
        dots(sheet, y, times)
        for t in times:
            sheet.text(str(t), (place(t), y + 18), "size")
    sheet.text("x, noise", (LEFT - 8, 290), "size", "start")
    sheet.text("image", (RIGHT + 8, 290), "size", "end")


def one_step(sheet: Sheet, top: float) -> None:
    with sheet.link("one-step"):
        frame(sheet, Box(8, top, 344, 150))
        sheet.text("move", (20, top + 16), "name", "start")
    sheet.text("x", (40, top + 52))
    model = block(sheet, "convolution", "model", (120, top + 52), 88)
    arrow(sheet, (50, top + 52), model.left)
    image = block(sheet, "plain", "x0", (250, top + 52), 56)
    arrow(sheet, model.right, image.left)
    sheet.text("noise", (192, top + 40), "size")
    plus = sign(sheet, "+", (250, top + 112))
    down(sheet, image, plus)
    arrow(sheet, (164, top + 52), (192, top + 52), (192, top + 112), plus.left)
    fresh = block(sheet, "noise", "z", (80, top + 112), 40, 26)
    sheet.text("eta", (124, top + 102), "size")
    arrow(sheet, fresh.right, plus.left, look="dashed", head=False)
    arrow(sheet, plus.right, (318, top + 112))
    sheet.text("x", (330, top + 112))


def draw() -> Sheet:
    sheet = Sheet(468)
    chains(sheet)
    one_step(sheet, 312)
    return sheet
