"""What two laws have in common, and a step of four guesses of which two are kept."""

from __future__ import annotations

import torch

from papers.serving.speculative_decoding import beyond
from papers.tools.drawing.parts import block, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow

TOKENS = ("a", "e", "i", "o", "u")
P = torch.tensor([0.10, 0.40, 0.15, 0.30, 0.05])
Q = torch.tensor([0.25, 0.30, 0.25, 0.10, 0.10])
SCALE, FLOOR, BAR = 260.0, 150.0, 18.0


def laws(sheet: Sheet) -> None:
    rest = (1 - torch.minimum(P, Q).sum()) * beyond(P, Q)
    for number, token in enumerate(TOKENS):
        x = 40.0 + 66 * number
        for aside, law, kind in ((0, Q, "plain tensor"), (BAR + 3, P, "idea tensor")):
            high = SCALE * law[number].item()
            with sheet.group(kind):
                box = {"x": x + aside, "y": FLOOR - high, "width": BAR, "height": high}
                sheet.add("rect", class_="face", **box)
            name = "q" if kind.startswith("plain") else "p"
            sheet.text(name, (x + aside + BAR / 2, FLOOR - high - 8), "size")
        common = SCALE * min(P[number].item(), Q[number].item())
        with sheet.group("idea tensor"):
            for step in range(int(common // 9)):
                y = FLOOR - 4 - 9 * step
                sheet.add("path", class_="line", d=f"M{x + BAR + 6} {y}h{BAR - 6}")
        sheet.text(f"'{token}'", (x + BAR + 1, FLOOR + 14))
        if rest[number] > 0:
            sheet.text("beyond", (x + BAR + 44, FLOOR - SCALE * P[number].item() + 10), "size")
    sheet.text("lined: what both have in common is kept", (180, FLOOR + 38), "size")


def one_step(sheet: Sheet) -> None:
    top = 232.0
    draft = block(sheet, "linear", "draft", (52, top), link="a-step")
    target = block(sheet, "attention", "target", (52, top + 74), link="a-step")
    rows = [("t", 0.4), ("h", 0.4), ("i", 0.12), ("n", 0.0)]
    for number, (letter, full) in enumerate(rows):
        x = 116.0 + 64 * number
        box = tensor(sheet, "plain", (x, top - 13), [[full]], 26)
        sheet.text(letter, box.centre)
        arrow(sheet, box.bottom, (x + 13, top + 54))
        word = ("kept", "kept", "rejected", "dropped")[number]
        sheet.text(word, (x + 13, top + 68), "size")
    own = tensor(sheet, "idea", (244, top + 82), [[0.4]], 26)
    sheet.text("e", own.centre)
    with sheet.link("what-the-draft-leaves-out"):
        sheet.text("its own", (278, own.centre[1]), "size", "start")
    arrow(sheet, draft.right, (110, top))
    arrow(sheet, target.right, (110, top + 74))


def draw() -> Sheet:
    sheet = Sheet(352)
    laws(sheet)
    one_step(sheet)
    return sheet
