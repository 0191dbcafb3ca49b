"""A text written in four steps, and the bound with and without its weight, by the page itself."""

from __future__ import annotations

import torch

from papers.diffusion.masked_language import bound, small_language, unmask, written
from papers.tools.drawing.parts import tensor
from papers.tools.drawing.sheet import Box, Sheet, path

T, STEPS, CELL = 12, 4, 25.0
LEFT = 44.0


def steps(sheet: Sheet) -> None:
    language = small_language()
    chance = torch.Generator().manual_seed(5)
    texts = unmask(language.denoise, 1, T, len(language.start), STEPS, chance)
    with sheet.link("writing"):
        sheet.text("unmask", (16, 12), "name", "start")
    for number, text in enumerate(texts):
        top = 26 + 36 * number
        word = written(text, len(language.start))
        shades = [[0.0 if letter == "_" else 0.25 for letter in word]]
        box = tensor(sheet, "idea" if number else "plain", (LEFT, top), shades, CELL)
        sheet.text(f"{number}", (LEFT - 18, box.centre[1]), "size")
        for place, letter in enumerate(word):
            if letter != "_":
                sheet.text(letter, (LEFT + CELL * (place + 0.5), box.centre[1]))


def bars(sheet: Sheet, top: float) -> None:
    language = small_language()
    chance = torch.Generator().manual_seed(0)
    x = language.draw(4000, T, chance)
    weighted, plain = (
        part.mean().item() for part in bound(language.denoise, x, len(language.start), chance)
    )
    truth = -language.log_likelihood(x).mean().item()
    with sheet.link("the-bound-as-a-number"):
        sheet.text("bound", (16, top), "name", "start")
    for number, (name, value, kind) in enumerate(
        (
            ("weighted", weighted, "idea"),
            ("likelihood", truth, "plain"),
            ("no weight", plain, "plain"),
        )
    ):
        y = top + 18 + 30 * number
        box = Box(116, y, 190 * value / max(weighted, truth), 20)
        with sheet.group(kind):
            sheet.add(
                "path",
                class_="face",
                d=path("M", box.x, y, "h", box.width, "v", 20, "h", -box.width, "z"),
            )
        sheet.text(name, (108, y + 10), "size", "end")
        sheet.text(f"{value:.2f}", (box.x + box.width + 8, y + 10), "size", "start")


def draw() -> Sheet:
    sheet = Sheet(326)
    steps(sheet)
    bars(sheet, 222)
    return sheet
